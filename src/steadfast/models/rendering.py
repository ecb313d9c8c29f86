"""Apply a chat template to turns and encode what it writes; `chat` finds out what is odd about the template."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any

from transformers import PreTrainedTokenizerBase

from steadfast.errors import ChatTemplateError
from steadfast.models.boundary import reason
from steadfast.thoughts import THINK, ThoughtMarks

Turn = tuple[str, str]
"""A turn is a role and its text."""

_DATE = re.compile(r"""\bstrftime_now\s*\(\s*(?:format\s*=\s*)?(["'])(.*?)\1\s*\)""")
"""This matches a template's call for today's date with its format as a literal."""

_OTHER_DATE = re.compile(r"\bstrftime_now\b(?!\s+is\s+(?:not\s+)?defined)")

_RESERVED_ARGUMENTS = frozenset(
    {
        "conversation",
        "messages",
        "tools",
        "documents",
        "chat_template",
        "add_generation_prompt",
        "continue_final_message",
        "tokenize",
        "padding",
        "truncation",
        "max_length",
        "return_tensors",
        "return_dict",
        "return_assistant_tokens_mask",
        "tokenizer_kwargs",
        "sanitize_control_tokens",
        "strftime_now",
    }
)
"""A recipe may not set these arguments of the renderer through `chat_template_kwargs`."""


@dataclass(frozen=True)
class RenderSettings:
    """These settings decide a rendering besides the tokenizer and its template.

    Attributes:
        origin: The model's folder, which messages name.
        kwargs: The arguments that are handed to the template.
        today: The date that a template may write, which stays the same for the whole run.
        vocabulary: The number of tokens that the model's embedding knows; None if it is unknown.
        context_length: The number of tokens that the model reads; None if it is unbounded or unknown.
        ends: The tokens that end a turn by the model's generation config.
        marks: The marks that stand around the thoughts in the model's replies.
    """

    origin: str = "this model"
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    today: date = field(default_factory=date.today)
    vocabulary: int | None = None
    context_length: int | None = None
    ends: tuple[int, ...] = ()
    marks: ThoughtMarks = THINK


class Renderer:
    """This is a tokenizer's chat template with the date in it frozen.

    Args:
        tokenizer: A tokenizer with a chat template.
        settings: What else decides the rendering.

    Attributes:
        template: The template's text.

    Raises:
        ChatTemplateError: There is no template, its date cannot be frozen, or the user sets an argument that is not
            hers to set.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, settings: RenderSettings) -> None:
        self.tokenizer, self.settings = tokenizer, settings
        if tokenizer.chat_template is None:
            raise ChatTemplateError(
                f"{settings.origin}: this model's tokenizer has no chat template: use an instruction-tuned model, "
                "or set one on the tokenizer"
            )
        if taken := sorted(_RESERVED_ARGUMENTS & settings.kwargs.keys()):
            raise ChatTemplateError(f"chat_template_kwargs may not set {', '.join(taken)}: Steadfast sets it itself")
        self.template = self._with_frozen_date()

    def apply(self, turns: Sequence[Turn], *, prompt: bool, parts: bool) -> str:
        """Return what the template writes.

        Args:
            turns: The turns of the conversation.
            prompt: Whether to ask for the beginning of the assistant's turn after them.
            parts: Whether to give each text as a list with one part.

        Raises:
            ChatTemplateError: The template raises an error.
        """
        messages: list[Any] = [
            {"role": role, "content": [{"type": "text", "text": text}] if parts else text} for role, text in turns
        ]
        try:
            text: Any = self.tokenizer.apply_chat_template(
                messages,
                chat_template=self.template,
                tokenize=False,
                add_generation_prompt=prompt,
                **self.settings.kwargs,
            )
        except Exception as error:  # a template is a program: it may raise anything
            roles = ", ".join(role for role, _ in turns)
            raise ChatTemplateError(
                self.fault(f"cannot render a conversation with turns of {roles} ({reason(error)})")
            ) from error
        if not isinstance(text, str):
            raise ChatTemplateError(self.fault("renders no text"))
        return text

    def tokens(self, text: str) -> list[int]:
        """Return the token ids of a rendered text."""
        # The template writes the special tokens itself: added once more, the first one would be doubled.
        encoded: Any = self.tokenizer(text, add_special_tokens=False, verbose=False)
        return list(encoded["input_ids"])

    def text(self, token_ids: Sequence[int]) -> str:
        """Return the text of token ids, without special tokens."""
        return str(self.tokenizer.decode(list(token_ids), skip_special_tokens=True))

    def name_of(self, token_id: int) -> str:
        """Return a token in quotes, for messages."""
        return repr(self.tokenizer.convert_ids_to_tokens(token_id))

    def fault(self, what: str) -> str:
        """Return a sentence on what the template does wrong."""
        return f"the chat template in {self.settings.origin} {what}; use another template or model"

    def check_known(self, ids: Sequence[int]) -> None:
        """Check that the model knows all tokens of a text.

        Raises:
            ChatTemplateError: The model does not know a token, which is named.
        """
        known = self.settings.vocabulary
        if known is not None and (highest := max(ids, default=0)) >= known:
            raise ChatTemplateError(
                f"{self.settings.origin}: the text has token {self.name_of(highest)} with id {highest}, but the "
                f"model's embedding has {known} rows: take that token out, or resize the embedding"
            )

    def is_control(self, token_id: int) -> bool:
        """Return whether a token lies outside the ordinary vocabulary."""
        return token_id in self.tokenizer.added_tokens_decoder or token_id in self.tokenizer.all_special_ids

    def knows(self, token_id: int) -> bool:
        """Return whether the model's embedding has a row for a token."""
        return token_id >= 0 and (self.settings.vocabulary is None or token_id < self.settings.vocabulary)

    def _with_frozen_date(self) -> str:
        """Return the template with the run's date in the place of each date that it would write today."""
        try:
            template: Any = self.tokenizer.get_chat_template()
        except Exception as error:  # several templates and none by default, or something that is no template
            raise ChatTemplateError(self.fault(f"cannot be chosen ({reason(error)})")) from error
        if not isinstance(template, str):
            raise ChatTemplateError(self.fault("is no text"))
        frozen = datetime.combine(self.settings.today, time())
        template = _DATE.sub(lambda call: json.dumps(frozen.strftime(call[2]), ensure_ascii=False), template)
        if _OTHER_DATE.search(template):
            raise ChatTemplateError(self.fault("writes today's date in a way that cannot be frozen for a run"))
        return template
