"""The chat message that every package shares, and what is done to text before people or judges read it."""

import re
import unicodedata
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Literal["system", "user", "assistant"]
    content: str = Field(min_length=1)


_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""C0 and C1 control characters other than the tab and the newline, and marks that turn the reading direction."""


def printable(text: str) -> str:
    r"""A text that is safe to print and can be written as UTF-8.

    A control character or a bidirectional override is shown as its escape (`\x1b`, `\u202e`), so that no model,
    provider or file can drive the reader's terminal or reorder what is read. Half a surrogate pair, which JSON lets
    through and files do not, becomes a question mark. Windows' line ends become newlines. Other text is kept.
    """
    encodable = text.encode("utf-8", "replace").decode("utf-8").replace("\r\n", "\n")
    return _UNSAFE.sub(lambda found: _escape(ord(found[0])), encodable)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def is_blank(text: str) -> bool:
    """Whether a text shows nothing: white space, control characters and characters of no width only."""
    return all(unicodedata.category(letter)[0] in "ZC" for letter in text)


def split_thoughts(text: str, open: str = "<think>", close: str = "</think>") -> tuple[str, str]:
    """A completion's thoughts and its answer.

    Thoughts stand between an opening and a closing tag, or before a closing tag that nothing opens, as where the chat
    template has written the opening tag into the prompt. After an opening tag that nothing closes all is thought: a
    model that spent its tokens on thinking has answered nothing.

    Args:
        text: the completion.
        open: the tag before thoughts.
        close: the tag after them.

    Returns:
        The thoughts without their tags, a blank line between two of them, and the answer without white space at its
        ends. A text without either tag is the answer as it is.
    """
    if open not in text and close not in text:
        return "", text
    thoughts: list[str] = []
    said: list[str] = []
    here = 0
    while here < len(text):
        start, end = text.find(open, here), text.find(close, here)
        if end >= 0 and not 0 <= start < end:
            thoughts += [*said, text[here:end]]
            said = []
            here = end + len(close)
        elif start >= 0:
            said.append(text[here:start])
            thoughts.append(text[start + len(open) : end if end >= 0 else len(text)])
            here = end + len(close) if end >= 0 else len(text)
        else:
            said.append(text[here:])
            break
    return "\n\n".join(kept for t in thoughts if (kept := t.strip())), "".join(said).strip()
