"""A checkpoint answers one prompt, for a person to look at."""

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
    """Sample `count` answers, each with its text, its thoughts and whether it ended within the limit.

    Args:
        loaded: The model.
        prompt: What the user says.
        adapter: A folder or a hub name of an adapter to apply; None asks the model without one.
        count: The number of answers to sample.
        temperature: The temperature of the sampling; 0 takes the likeliest token.
        max_new_tokens: The limit of an answer in tokens.
        style: An instruction on form, which is put into the system turn.
        seed: The seed of the sampling.

    Raises:
        ModelNotFoundError: There is no such adapter, or it does not fit.
        ChatTemplateError: The prompt cannot be rendered rightly, or exceeds the model's context with its answer.
        UnsupportedModelError: The model cannot be sampled from rightly.
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
