"""The faults of a call to a language model are told in one line that is safe to keep and to print."""

import re

from inspect_ai.model import ModelOutput

from steadfast.messages import is_blank, printable
from steadfast.redaction import redacted

LONGEST_REPLY = 200_000
"""A longer reply, in characters, is not read, and is cut when kept; verdicts on a rubric take a few thousand."""

_LONGEST_ERROR = 1000
_MARKUP = re.compile(r"\[/?(?:bold|italic|blue|green|yellow|red)\]")


def plain(error: BaseException) -> str:
    """Tell an error in one line, without keys and without Inspect's markup for terminals.

    A long one is cut in its middle, because Inspect puts the whole request before the provider's own words.
    """
    message = _MARKUP.sub("", str(getattr(error, "message", error))).removeprefix("ERROR: ")
    line = printable(redacted(" ".join(message.split()))) or type(error).__name__
    half = _LONGEST_ERROR // 2
    return line if len(line) <= _LONGEST_ERROR else f"{line[:half]} ... {line[-half:]}"


def cause(error: BaseException) -> BaseException:
    """Find the error of the last attempt, where a retry hides it in an error of its own."""
    attempt = getattr(error, "last_attempt", None)
    return error if attempt is None else attempt.exception() or error


def withheld(output: ModelOutput) -> str | None:
    """Say why a reply holds no verdicts and asking again is no use; None if it may hold some."""
    if output.empty:
        return "the provider sent a reply without any choice in it"
    choice = output.choices[0]
    details = choice.stop_details
    said = f": {_excerpt(details.explanation)}" if details and details.explanation else ""
    if choice.stop_reason == "content_filter":
        return f"the provider withheld the reply (stop reason content_filter){said}"
    if details and details.type == "refusal":
        return f"the provider refused to reply{said}"
    if choice.stop_reason == "model_length":
        return "the request and its reply are longer than the model reads (stop reason model_length)"
    if choice.stop_reason == "max_tokens" and is_blank(output.completion):
        return (
            "the reply was empty when its tokens were used up, thinking included (stop reason max_tokens); "
            "give the judge more max_output_tokens"
        )
    if len(output.completion) > LONGEST_REPLY:
        return f"the reply has {len(output.completion):,} characters; more than {LONGEST_REPLY:,} are not read"
    return None


def kept(reply: str) -> str:
    """Prepare a reply to be kept with the grade: without keys, printable, and cut with a mark if it is too long."""
    if len(reply) <= LONGEST_REPLY:
        return printable(redacted(reply))
    return f"{printable(redacted(reply[:LONGEST_REPLY]))} [cut here: {len(reply):,} characters in all]"


def _excerpt(text: str) -> str:
    line = printable(redacted(" ".join(text.split())))
    return line if len(line) <= 200 else f"{line[:200]}..."
