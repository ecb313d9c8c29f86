"""The chat message, the one type that every package shares."""

import unicodedata
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


def is_blank(text: str) -> bool:
    """Whether a text shows nothing: white space, control and invisible characters alone."""
    return not any(not c.isspace() and unicodedata.category(c) not in ("Cc", "Cf") for c in text)


def _text_of_part(part: Any) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict):
        fields = cast("dict[str, Any]", part)
        if fields.get("type") == "text" and isinstance(fields.get("text"), str):
            return fields["text"]
        raise ValueError(f"a content part of type {fields.get('type')!r} cannot be read; only text can")
    raise ValueError("a content part must be a text or an object with type and text")
