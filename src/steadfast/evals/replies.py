"""Log-likelihoods of a file's replies, for a user to look at and to check the evals by."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from steadfast.errors import ChatTemplateError, DataError
from steadfast.messages import Message
from steadfast.models.chat import ChatTemplate
from steadfast.models.prepack import prepack_frozen_linears
from steadfast.models.pretrained import LoadedModel
from steadfast.models.scoring import CandidateScore, score_candidates
from steadfast.tasks.jsonl import read_jsonl_by_line


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


def score_replies(file: Path, asked: dict[int, Replies], loaded: LoadedModel) -> dict[int, list[CandidateScore]]:
    """The scores of each line's replies, by line.

    Args:
        file: Where the lines came from, for messages.
        asked: The lines, as `read_replies` gives them.
        loaded: The model, with an adapter applied if one is wanted.

    Raises:
        DataError: naming every line that cannot be rendered, or whose prompt and reply exceed the model's context.
        UnsupportedModelError: the model's likelihoods cannot be computed rightly.
    """
    requests = _encoded(file, asked, loaded.chat)
    prepack_frozen_linears(loaded.lm)
    return dict(zip(asked, score_candidates(loaded.lm, requests), strict=True))


def _encoded(file: Path, asked: dict[int, Replies], chat: ChatTemplate) -> list[tuple[list[int], list[list[int]]]]:
    requests: list[tuple[list[int], list[list[int]]]] = []
    problems: list[str] = []
    for number, line in asked.items():
        prompt: list[int] = []
        replies: list[list[int]] = []
        for place, reply in enumerate(line.replies):
            try:
                replies.append(chat.encode_reply(reply))
                prompt = chat.encode(line.messages, max_new_tokens=len(replies[-1]))
            except ChatTemplateError as error:
                problems.append(f"{file}:{number}: replies.{place}: {error}")
                continue
            if not replies[-1]:
                problems.append(f"{file}:{number}: replies.{place}: the tokenizer makes no token of it")
        requests.append((prompt, replies))
    if problems:
        raise DataError(problems)
    return requests
