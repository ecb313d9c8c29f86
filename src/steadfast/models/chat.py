"""Conversations become token ids by the model's own chat template, and nothing is lost on the way.

A template is a program that comes with the model. It may have no system role, want its content in parts, ignore what it
is asked, or write today's date. What it makes of a conversation is found out by rendering small ones when the model is
loaded; what can be mended is mended with a note, and what cannot be rendered rightly is refused.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from transformers import PreTrainedTokenizerBase

from steadfast.errors import ChatTemplateError
from steadfast.messages import Message
from steadfast.models.rendering import Renderer, RenderSettings, Turn
from steadfast.thoughts import split_thoughts

_SYSTEM, _USER, _ASSISTANT, _LAST = (
    "Words of the system, 4711.",
    "Words of the user, 4712.",
    "Words of the assistant, 4713.",
    "More words of the user, 4714.",
)
"""These texts are found again in what a template makes of them."""

_PARTS_AS_THEY_ARE = ("{'type': 'text', 'text': ", '{"type": "text", "text": ')
"""What a template writes that takes a list of content parts for a text."""

_EXAMPLE = (
    Message(role="system", content="Be brief."),
    Message(role="user", content="Hello!"),
    Message(role="assistant", content="Hi."),
    Message(role="user", content="How are you?"),
)


class ChatTemplate:
    """This is how one model's conversations become token ids, and its replies text again.

    Args:
        tokenizer: A tokenizer with a chat template.
        settings: What else decides the rendering.

    Attributes:
        notes: What the template does otherwise than it was asked, and what was done about it, in one sentence each.
        parts: Whether messages are given as lists of parts, since the template reads no plain text.
        folds_system: Whether a system turn is put before the next user turn's text, since the template has no place for
            it.
        opens_thoughts: Whether the prompt ends within the model's thoughts.

    Raises:
        ChatTemplateError: There is no template, or a user's words or the assistant's turn cannot be rendered with it.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, settings: RenderSettings | None = None) -> None:
        self.tokenizer = tokenizer
        self.settings = settings or RenderSettings()
        self.source = tokenizer.chat_template
        self._renderer = Renderer(tokenizer, self.settings)
        self.notes: list[str] = []
        self.parts = self._wants_parts()
        self.folds_system = self._has_no_system_turn()
        self._header, self.opens_thoughts = self._generation_prompt()
        self._end = self._written_end()
        self._note_unread_kwargs()

    def render(self, messages: Sequence[Message], style: str | None = None) -> str:
        """Render a conversation as text up to the point where the model speaks.

        Args:
            messages: The conversation, whose last turn is the user's.
            style: An instruction on form, such as a length limit. It is appended to the system turn, which is made if
                there is none.

        Raises:
            ChatTemplateError: The template raises an error, or drops or alters words of a turn.
        """
        turns = [(m.role, m.content) for m in messages]
        if style and turns and turns[0][0] == "system":
            turns[0] = ("system", f"{turns[0][1]}\n{style}")
        elif style:
            turns.insert(0, ("system", style))
        if self.folds_system:
            turns = self._folded(turns)
        text = self._apply(turns, prompt=True) + self._header
        self._check_nothing_lost(text, turns)
        return text

    def encode(self, messages: Sequence[Message], style: str | None = None, *, max_new_tokens: int = 0) -> list[int]:
        """Return the token ids of a conversation up to the point where the model speaks.

        Args:
            messages: The conversation, whose last turn is the user's.
            style: An instruction on form, as `render` takes it.
            max_new_tokens: The number of tokens that the answer may have; with the prompt they must fit the model's
                context.

        Raises:
            ChatTemplateError: The conversation cannot be rendered, as `render` says; or it has tokens that the model
                does not know, or too many for it.
        """
        ids = self._renderer.tokens(self.render(messages, style))
        bos = self.tokenizer.bos_token_id
        if bos is not None and ids[:2] == [bos, bos]:
            ids = ids[1:]
        self._renderer.check_known(ids)
        room = self.settings.context_length
        if room is not None and len(ids) + max_new_tokens > room:
            raise ChatTemplateError(
                f"a prompt of {len(ids)} tokens and an answer of up to {max_new_tokens} exceed the {room} tokens that "
                f"the model in {self.settings.origin} reads: shorten the prompt or lower max_new_tokens"
            )
        return ids

    def encode_reply(self, text: str) -> list[int]:
        """Return the token ids of an assistant's words, without an end-of-turn token.

        Raises:
            ChatTemplateError: The text has a token that the model does not know.
        """
        ids = self._renderer.tokens(text)
        self._renderer.check_known(ids)
        return ids

    @property
    def end_of_turn(self) -> int:
        """The id of the token that the template writes after an assistant's turn.

        Raises:
            ChatTemplateError: The template writes no such token, or one that the model cannot emit.
        """
        if self._end is None:
            raise ChatTemplateError(
                f"the chat template in {self.settings.origin} writes no end-of-turn token after an assistant's turn, "
                "so the model's answers have no end: write one into the template, such as {{ eos_token }}"
            )
        if not self._renderer.knows(self._end):
            token = self._renderer.name_of(self._end)
            raise ChatTemplateError(
                f"the chat template in {self.settings.origin} ends an assistant's turn with {token} (id {self._end}), "
                f"which the model cannot emit: it knows {self.settings.vocabulary} tokens"
            )
        return self._end

    def end_tokens(self, named: Iterable[Any] = ()) -> list[int]:
        """Return all tokens that end the model's turn: the template's, and control tokens that the configuration names.

        Args:
            named: Tokens that a generation config names besides those of the settings and the tokenizer.

        Raises:
            ChatTemplateError: There is no end of a turn, as `end_of_turn` says.
        """
        also = {*self._named_ends(), *(e for e in named if isinstance(e, int))}
        return sorted({self.end_of_turn, *(e for e in also if self._may_end(e))})

    def decode(self, token_ids: Sequence[int]) -> tuple[str, str]:
        """Return the thoughts and the answer of a completion, both without special tokens."""
        marks = self.settings.marks
        pieces: list[str] = []
        start = 0
        special = {
            i: mark
            for mark in (marks.begin, marks.end)
            if (i := self.tokenizer.convert_tokens_to_ids(mark)) in self.tokenizer.all_special_ids
        }
        for place, token in enumerate(token_ids):  # marks that are special tokens would be lost with the others
            if token in special:
                pieces += [self._renderer.text(token_ids[start:place]), special[token]]
                start = place + 1
        pieces.append(self._renderer.text(token_ids[start:]))
        thoughts, answer = split_thoughts("".join(pieces), marks, begun=self.opens_thoughts)
        return thoughts, answer.strip()

    def example(self) -> str:
        """Return a small conversation as the model is given it, for a person to read."""
        return self.render(_EXAMPLE)

    def encode_example(self) -> list[int]:
        """Return the token ids of the conversation that `example` renders."""
        return self.encode(_EXAMPLE)

    def faults(self) -> list[str]:
        """Return what of a longer conversation cannot be rendered, in sentences; the list is empty if all can be."""
        found: list[str] = []
        probes: tuple[Callable[[], object], ...] = (self.encode_example, self.end_tokens)
        for probe in probes:
            try:
                probe()
            except ChatTemplateError as error:
                found.append(str(error))
        return found

    def end_notes(self) -> list[str]:
        """Return what is odd about the tokens that end a turn, in sentences."""
        named = self._named_ends()
        found = [
            f"the configured end-of-turn token {self._renderer.name_of(e)} (id {e}) is not used: "
            + ("the model cannot emit it" if not self._renderer.knows(e) else "it is an ordinary token")
            for e in named
            if not self._may_end(e)
        ]
        if self._end is not None and self._end not in named:
            token = self._renderer.name_of(self._end)
            found.append(
                f"the template ends a turn with {token} (id {self._end}), which the configuration does not name; "
                "it ends turns here"
            )
        return found

    # What the template does is found out by rendering.

    def _wants_parts(self) -> bool:
        self.parts = False
        plain, fault = self._try([("user", _USER)])
        if plain is not None and _USER in plain:
            return False
        self.parts = True
        parts, _ = self._try([("user", _USER)])
        if parts is None or _USER not in parts or "'type'" in parts or '"type"' in parts:
            raise ChatTemplateError(fault or self._renderer.fault("drops the user's words"))
        self.notes.append("The chat template reads content as lists of parts, so messages are given as such.")
        return True

    def _has_no_system_turn(self) -> bool:
        text, _ = self._try([("system", _SYSTEM), ("user", _USER)])
        if text is not None and _SYSTEM in text and _USER in text:
            self._note_moved_system_turn()
            return False
        self.notes.append(
            "The chat template has no place for a system turn, so its text is put before the first user turn's."
        )
        return True

    def _note_moved_system_turn(self) -> None:
        text, _ = self._try([("system", _SYSTEM), ("user", _USER), ("assistant", _ASSISTANT), ("user", _LAST)])
        if text is not None and _SYSTEM in text and _USER in text and text.index(_SYSTEM) > text.index(_USER):
            self.notes.append("The chat template puts the system turn's words after the first user turn.")

    def _generation_prompt(self) -> tuple[str, bool]:
        """Find what must be added for the assistant to speak next, and whether the prompt opens its thoughts."""
        user: list[Turn] = [("user", _USER)]
        plain, prompted = self._apply(user, prompt=False), self._apply(user, prompt=True)
        if _USER not in prompted:
            raise ChatTemplateError(self._renderer.fault("drops the user's words when the assistant is to speak next"))
        header = ""
        if plain == prompted:
            whole, fault = self._try([*user, ("assistant", _ASSISTANT)])
            if whole is None or _ASSISTANT not in whole or not whole.startswith(plain):
                raise ChatTemplateError(
                    fault
                    or self._renderer.fault(
                        "ignores add_generation_prompt, and how an assistant's turn begins is unclear"
                    )
                )
            header = whole[len(plain) : whole.rindex(_ASSISTANT)].rstrip(" ")
            if header.strip():
                self.notes.append(
                    f"The chat template ignores add_generation_prompt, so {header!r} is written after the user's turn."
                )
            else:
                header = ""
        tail = (prompted + header)[prompted.rindex(_USER) :]
        return header, tail.rfind(self.settings.marks.begin) > tail.rfind(self.settings.marks.end)

    def _written_end(self) -> int | None:
        """Find the control token that follows an assistant's words, at the end or before the next turn."""
        user: list[Turn] = [("user", _USER), ("assistant", _ASSISTANT)]
        whole, _ = self._try(user)
        if whole is not None and _ASSISTANT in whole:
            end = self._leading_control(whole[whole.rindex(_ASSISTANT) + len(_ASSISTANT) :])
            if end is not None:
                return end
        further, _ = self._try([*user, ("user", _LAST)])
        if further is None or _ASSISTANT not in further or _LAST not in further:
            return None
        between = further[further.index(_ASSISTANT) + len(_ASSISTANT) : further.index(_LAST)]
        following = self._leading_control(between)
        if following in self._named_ends():  # the user's mark ends the turn by the model's own configuration, as GLM's
            return following
        head = further[: further.index(_USER)]
        while between and head and between[-1] == head[-1]:  # what begins every user's turn ends no assistant's
            between, head = between[:-1], head[:-1]
        return self._leading_control(between)

    def _leading_control(self, text: str) -> int | None:
        ids = self._renderer.tokens(text.lstrip())
        return ids[0] if ids and self._renderer.is_control(ids[0]) else None

    def _note_unread_kwargs(self) -> None:
        for name in self.settings.kwargs:
            if name not in self._renderer.template:
                self.notes.append(f"The chat template does not read {name!r} of chat_template_kwargs.")

    def _apply(self, turns: Sequence[Turn], *, prompt: bool) -> str:
        return self._renderer.apply(turns, prompt=prompt, parts=self.parts)

    def _try(self, turns: Sequence[Turn]) -> tuple[str | None, str]:
        try:
            return self._apply(turns, prompt=False), ""
        except ChatTemplateError as error:
            return None, str(error)

    def _folded(self, turns: Sequence[Turn]) -> list[Turn]:
        folded: list[Turn] = []
        waiting: list[str] = []
        for role, text in turns:
            if role == "system":
                waiting.append(text)
            elif role == "user" and waiting:
                folded.append((role, "\n\n".join([*waiting, text])))
                waiting = []
            else:
                folded.append((role, text))
        if waiting:
            raise ChatTemplateError(
                self._renderer.fault("has no place for a system turn, and no user turn follows to take it")
            )
        return folded

    def _check_nothing_lost(self, rendered: str, turns: Sequence[Turn]) -> None:
        if self.parts and (
            raw := [p for p in _PARTS_AS_THEY_ARE if p in rendered and not any(p in t for _, t in turns)]
        ):
            raise ChatTemplateError(
                self._renderer.fault(f"reads content parts in some turns and writes {raw[0]!r} in others")
            )
        lost = self._lost(rendered, turns)
        if lost is not None and all(text.strip() in rendered for role, text in turns if role == "system"):
            # Some templates, such as Mistral's, put the system's words before the last of the user's.
            lost = self._lost(rendered, turns, but="system")
        if lost is not None:
            raise ChatTemplateError(
                self._renderer.fault(f"drops or alters the words of turn {lost + 1} ({turns[lost][0]})")
            )

    def _lost(self, rendered: str, turns: Sequence[Turn], but: str = "") -> int | None:
        """The place of the first turn, but for those of one role, whose words do not follow those before it."""
        place = 0
        for number, (role, text) in enumerate(turns):
            if role == but:
                continue
            # Templates of reasoning models leave the thoughts of earlier turns out, as those models were trained.
            words = (split_thoughts(text, self.settings.marks)[1] if role == "assistant" else text).strip()
            found = rendered.find(words, place)
            if found < 0:
                return number
            place = found + len(words)
        return None

    def _named_ends(self) -> list[int]:
        named = [*self.settings.ends, self.tokenizer.eos_token_id]
        return sorted({e for e in named if isinstance(e, int)})

    def _may_end(self, token_id: int) -> bool:
        return self._renderer.knows(token_id) and self._renderer.is_control(token_id)


_settings: WeakKeyDictionary[PreTrainedTokenizerBase, RenderSettings] = WeakKeyDictionary()

_EXAMINED = "_steadfast_chat_template"
"""A tokenizer keeps its examined template under this name: a table of the module would never let the two go."""


def set_rendering(tokenizer: PreTrainedTokenizerBase, settings: RenderSettings) -> None:
    """Say how conversations are to be rendered with a tokenizer; `load_model` does it for the models it loads."""
    _settings[tokenizer] = settings
    tokenizer.__dict__.pop(_EXAMINED, None)


def template_of(tokenizer: PreTrainedTokenizerBase) -> ChatTemplate:
    """Return the chat template of a tokenizer with the settings of its model; it is examined once.

    Raises:
        ChatTemplateError: The tokenizer has no template, or one that cannot render a conversation rightly.
    """
    known: ChatTemplate | None = tokenizer.__dict__.get(_EXAMINED)
    if known is None or known.tokenizer is not tokenizer or known.source != tokenizer.chat_template:
        known = ChatTemplate(tokenizer, _settings.get(tokenizer))
        tokenizer.__dict__[_EXAMINED] = known
    return known


def reads_the_date(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether a tokenizer's chat template may write today's date."""
    return "strftime_now" in str(tokenizer.chat_template)
