"""The chat message that every package shares, and the cleaning of text that people or judges are to read."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, field_validator


class Message(BaseModel):
    """One turn of a conversation.

    In a file the content may also be a list of parts, as chat APIs have it; parts of text are joined by line breaks,
    and a part of any other type is an error.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Literal["system", "user", "assistant"]
    content: str

    @field_validator("role", mode="before")
    @classmethod
    def _developer_is_system(cls, role: Any) -> Any:
        return "system" if role == "developer" else role

    @field_validator("content", mode="before")
    @classmethod
    def _parts_joined(cls, content: Any) -> Any:
        return "\n".join(map(_text_of_part, cast("list[Any]", content))) if isinstance(content, list) else content

    @field_validator("content")
    @classmethod
    def _not_blank(cls, content: str) -> str:
        if is_blank(content):
            raise ValueError("the message is blank; write what is said, or take the turn out")
        return content


def with_system(messages: Sequence[Message], text: str | None) -> tuple[Message, ...]:
    """Return a conversation whose system turn begins with a text; the turn is made if there is none.

    The conversation's own system text follows after a blank line, so that a task which depends on it can still be done.

    Args:
        messages: The conversation.
        text: The text; None leaves the conversation as it is.
    """
    if text is None:
        return tuple(messages)
    if messages and messages[0].role == "system":
        return (Message(role="system", content=f"{text}\n\n{messages[0].content}"), *messages[1:])
    return (Message(role="system", content=text), *messages)


def with_preface(messages: Sequence[Message], preface: Sequence[Message]) -> tuple[Message, ...]:
    """Return a conversation before whose first turn other turns stand, after its system turn if it has one."""
    first = 1 if messages and messages[0].role == "system" else 0
    return (*messages[:first], *preface, *messages[first:])


def check_alternation(messages: Sequence[Message]) -> None:
    """See that user and assistant take turns, the user first, after a system turn or none.

    Raises:
        ValueError: They do not.
    """
    roles = [m.role for m in messages]
    spoken = roles[1:] if roles[:1] == ["system"] else roles
    if spoken != [("user", "assistant")[i % 2] for i in range(len(spoken))]:
        raise ValueError("after an optional system turn, user and assistant must alternate, the user first")


_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters (C0 and C1) other than the tab and the newline, and marks that turn the reading direction."""


def printable(text: str) -> str:
    r"""Return the text in a form that is safe to print and can be written as UTF-8.

    A control character or a bidirectional override is shown as its escape (`\x1b`, `\u202e`), so that no model,
    provider or file can drive the reader's terminal or reorder what is read. Half a surrogate pair, which JSON lets
    through and files do not, becomes a question mark. Windows' line ends become newlines. Other text is kept.
    """
    encodable = text.encode("utf-8", "replace").decode("utf-8").replace("\r\n", "\n")
    return _UNSAFE.sub(lambda found: _escape(ord(found[0])), encodable)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def is_blank(text: str) -> bool:
    """Return whether a text shows nothing: it holds only white space, control characters and characters of no width."""
    return all(unicodedata.category(letter)[0] in "ZC" for letter in text)


def _text_of_part(part: Any) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict):
        fields = cast("dict[str, Any]", part)
        if fields.get("type") == "text" and isinstance(fields.get("text"), str):
            return fields["text"]
        raise ValueError(f"a content part of type {fields.get('type')!r} cannot be read; only text can")
    raise ValueError("a content part must be a text or an object with type and text")
