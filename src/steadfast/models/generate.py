"""Answers of a checkpoint to one prompt, for looking at it."""

from pathlib import Path
from typing import Any

from steadfast.messages import Message
from steadfast.models.chat import encode_chat
from steadfast.models.policy import eos_token_ids, load_adapter
from steadfast.models.prepack import prepack_frozen_linears
from steadfast.models.pretrained import DEFAULT_MODEL, load_model
from steadfast.models.sampling import sample_groups


def answer_prompt(
    prompt: str,
    *,
    model: str | None,
    adapter: Path | None,
    count: int,
    temperature: float,
    max_new_tokens: int,
    style: str | None,
    seed: int,
) -> list[dict[str, Any]]:
    """`count` sampled answers, each with its text and whether it ended within the limit.

    Raises:
        ModelNotFoundError: no such model or adapter.
    """
    loaded = load_model(model or DEFAULT_MODEL)
    lm = loaded.lm
    if adapter is not None:
        lm = load_adapter(lm, adapter)
    prepack_frozen_linears(lm.requires_grad_(False))
    ids = encode_chat(loaded.tokenizer, [Message(role="user", content=prompt)], style=style)
    group = sample_groups(
        lm,
        [ids],
        group_size=count,
        max_new_tokens=max_new_tokens,
        eos_token_ids=eos_token_ids(lm, loaded.tokenizer),
        temperature=temperature,
        seed=seed,
    )[0]
    return [
        {
            "answer": str(loaded.tokenizer.decode(c.token_ids, skip_special_tokens=True)).strip(),
            "finished": c.finished,
        }
        for c in group.completions
    ]
