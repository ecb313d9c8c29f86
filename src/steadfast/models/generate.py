"""Answers of a checkpoint to one prompt, for looking at it."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from steadfast.messages import Message
from steadfast.models.prepack import prepack_frozen_linears
from steadfast.models.pretrained import LoadedModel
from steadfast.models.sampling import sample_groups


def answer_prompt(
    loaded: LoadedModel,
    prompt: str,
    *,
    adapter: Path | str | None,
    count: int,
    temperature: float,
    max_new_tokens: int,
    style: str | None,
    seed: int,
) -> list[dict[str, Any]]:
    """`count` sampled answers, each with its text, its thoughts and whether it ended within the limit.

    Args:
        loaded: the model.
        prompt: what the user says.
        adapter: a folder or a hub name of an adapter to apply.
        count: answers to sample.
        temperature: 0 takes the likeliest token.
        max_new_tokens: the limit of an answer.
        style: an instruction on form, in the system turn.
        seed: of the sampling.

    Raises:
        ModelNotFoundError: no such adapter, or one that does not fit.
        ChatTemplateError: the prompt cannot be rendered rightly, or exceeds the model's context with its answer.
        UnsupportedModelError: the model cannot be sampled from rightly.
    """
    chat = loaded.chat
    message = Message(role="user", content=prompt)
    ids = chat.encode([message], style, max_new_tokens=max_new_tokens)
    with nullcontext(loaded.lm) if adapter is None else loaded.with_adapter(adapter) as lm:
        prepack_frozen_linears(lm)
        group = sample_groups(
            lm,
            [ids],
            group_size=count,
            max_new_tokens=max_new_tokens,
            eos_token_ids=chat.end_tokens(),
            temperature=temperature,
            seed=seed,
        )[0]
    answers: list[dict[str, Any]] = []
    for completion in group.completions:
        thoughts, answer = chat.decode(completion.token_ids)
        answers.append({"answer": answer, "thoughts": thoughts, "finished": completion.finished})
    return answers
