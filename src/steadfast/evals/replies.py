"""Log-likelihoods of a file's replies, for a user to look at and to check the evals by."""

from pathlib import Path
from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator

from steadfast.tasks.jsonl import read_jsonl_by_line
from steadfast.errors import DataError, ModelNotFoundError
from steadfast.messages import Message
from steadfast.models.chat import encode_chat
from steadfast.models.masks import text_config
from steadfast.models.policy import load_adapter
from steadfast.models.prepack import prepack_frozen_linears
from steadfast.models.pretrained import DEFAULT_MODEL, LoadedModel, load_model
from steadfast.models.scoring import CandidateScore, score_candidates


class Replies(BaseModel):
    """A conversation with replies to score.

    Attributes:
        messages: the conversation; its last turn is not the assistant's.
        replies: what the assistant might say next.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    messages: Annotated[tuple[Message, ...], Field(min_length=1)]
    replies: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]

    @field_validator("messages")
    @classmethod
    def _someone_else_spoke_last(cls, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        if messages[-1].role == "assistant":
            raise ValueError("the last turn is the assistant's own: the replies stand for it, so leave it out")
        return messages


def read_replies(file: Path) -> dict[int, Replies]:
    """The lines of a file by their number.

    Raises:
        DataError: naming every fault by line and field.
    """
    return read_jsonl_by_line(file, Replies)


def score_replies(
    file: Path,
    asked: dict[int, Replies],
    *,
    model: str | None = None,
    adapter: Path | None = None,
    dtype: str = "float32",
    device: str | None = None,
) -> dict[int, list[CandidateScore]]:
    """Scores of each line's replies, by line.

    Args:
        file: where the lines came from, for messages.
        asked: the lines, as `read_replies` gives them.
        model: a folder or a name on the hub; None takes the default model.
        adapter: the folder of an adapter to apply.
        dtype: of the weights.
        device: a name of torch's; None takes a GPU if there is one.

    Raises:
        DataError: naming every line whose prompt and reply exceed the model's context.
        ModelNotFoundError: no such model, adapter or device.
    """
    loaded = load_model(model or DEFAULT_MODEL, dtype=dtype, device=_known_device(device))
    lm = loaded.lm if adapter is None else load_adapter(loaded.lm, adapter)
    requests = _encoded(file, asked, loaded)
    prepack_frozen_linears(lm.requires_grad_(False))
    return dict(zip(asked, score_candidates(lm, requests), strict=True))


def _known_device(device: str | None) -> str | None:
    try:
        if device is not None:
            torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch's words for a name it does not know, or has no driver for
        reason = str(error).splitlines()[0]
        raise ModelNotFoundError(f"--device {device!r} cannot be used here: {reason}") from error
    return device


def _encoded(file: Path, asked: dict[int, Replies], loaded: LoadedModel) -> list[tuple[list[int], list[list[int]]]]:
    context = getattr(text_config(loaded.lm), "max_position_embeddings", None)
    requests: list[tuple[list[int], list[list[int]]]] = []
    problems: list[str] = []
    for number, line in asked.items():
        prompt = encode_chat(loaded.tokenizer, line.messages)
        replies = [list(loaded.tokenizer(reply, add_special_tokens=False)["input_ids"]) for reply in line.replies]
        requests.append((prompt, replies))
        for place, reply in enumerate(replies):
            if not reply:
                problems.append(f"{file}:{number}: replies.{place}: the tokenizer makes no token of it")
            elif isinstance(context, int) and len(prompt) + len(reply) > context:
                problems.append(
                    f"{file}:{number}: replies.{place}: {len(prompt)} tokens of prompt and {len(reply)} of reply "
                    f"exceed the model's context of {context}"
                )
    if problems:
        raise DataError(problems)
    return requests
