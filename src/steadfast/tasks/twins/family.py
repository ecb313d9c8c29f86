"""A family of twins: pairs of tasks that differ in the fewest words that reverse the right answer, as a template.

A family is one YAML document. Its texts hold `[one|other]` where the twins differ, `{slot}` where a domain's own words
go, `{a}`, `{name}` and the like where a value is drawn anew for each pair (see `values`), and `<one~ and ~other>` where
the order of two clauses is drawn, the same for both twins. So one document gives as many pairs as are asked for, in
every domain that it knows, in several formats and wordings, and the right answer of each is known by construction.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from steadfast.errors import DataError
from steadfast.strict_files import read_yaml
from steadfast.tasks.jsonl import faults
from steadfast.tasks.rubric import Text
from steadfast.tasks.twins.values import DRAWN, Range

Format = Literal["chat", "log", "form", "choice"]
FORMATS: tuple[Format, ...] = ("chat", "log", "form", "choice")
"""A message in prose; a list of entries; a form with a last line to fill in; options by letter."""

_TWINNED = re.compile(r"\[([^\[\]|]*)\|([^\[\]|]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")
_CLAUSES = re.compile(r"<([^<>~]+)~([^<>~]+)~([^<>~]+)>")
_TORN = re.compile(r"\[[^\]]*\||\|[^\[]*\]")
"""Half of what [one|other] is written with."""
_OWN_CHECK = re.compile(r"[\w.]+:\w+")


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Wording(_Data):
    """One way to tell a family's case.

    Attributes:
        lines: What the user tells, sentence by sentence.
        ask: What the user asks at the end of it.
        turns: What follows in a conversation: the assistant's reply, then the user's next turn, and so on; the last is
            the user's.
    """

    lines: tuple[Text, ...] = Field(min_length=1)
    ask: Text
    turns: tuple[Text, ...] = ()

    @field_validator("turns")
    @classmethod
    def _ends_with_the_user(cls, turns: tuple[str, ...]) -> tuple[str, ...]:
        if len(turns) % 2:
            raise ValueError("the turns are the assistant's and the user's in turn, and the last must be the user's")
        return turns

    @model_validator(mode="after")
    def _marked_rightly(self) -> "Wording":
        refuse_torn(self.texts)
        return self

    @property
    def texts(self) -> tuple[str, ...]:
        """All its texts."""
        return (*self.lines, self.ask, *self.turns)


class Family(_Data):
    """A family of twins.

    Attributes:
        name: Its name in recipes and reports.
        title: What differs between its twins, in a few words.
        trait: The id of the trait that it checks.
        group: Families of one group are near to one another, and far from all others.
        measures: A sentence that says what it measures.
        label: The name of the field that is answered, such as "Dose".
        reply: What is asked for where the answer may be something else than the field's value, such as "the {field} or
            those words"; the default is the field, by its label.
        answer: The right answers of the twins, as `[one|other]`.
        check: How an answer is checked: by equality with the right one, as a stated probability in percent, or by a
            program of the user's own, "module:function". It is called with the answer's text and a mapping that has
            `label`, `right` and `wrong`, and returns a score in [0, 1].
            Letters of multiple choice are always checked by equality.
        options: Whether the two possible answers are shown in every format; they always are in multiple choice.
        wordings: The ways to tell it; training uses some, and the others measure.
        domains: For each domain, the words for the slots, one mapping for each case.
    """

    name: Text = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    title: Text
    trait: Text
    group: Text
    measures: Text
    label: Text
    reply: Text | None = None
    answer: Text
    check: str = "equality"
    options: bool = False
    wordings: tuple[Wording, ...] = Field(min_length=1)
    domains: Mapping[str, tuple[Mapping[str, Text | Range], ...]] = Field(min_length=1)

    @field_validator("check")
    @classmethod
    def _known_check(cls, check: str) -> str:
        if check not in ("equality", "probability") and not _OWN_CHECK.fullmatch(check):
            raise ValueError(f'{check!r} is no check; write equality, probability, or "module:function" of your own')
        return check

    @model_validator(mode="after")
    def _whole(self) -> "Family":
        if _TWINNED.sub(r"\1", self.answer) == _TWINNED.sub(r"\2", self.answer):
            raise ValueError("answer: both twins have the same right answer; write it as [one|other]")
        for number, wording in enumerate(self.wordings):
            joined = " ".join(wording.texts)
            for domain, cases in self.domains.items():
                for case in cases:
                    words = words_of(case)
                    filled = fill(joined, words)
                    if twin(filled, 0) == twin(filled, 1):
                        raise ValueError(
                            f"wording {number}: its twins are told alike; write [one|other] where they differ"
                        )
                    refuse_torn(fill(t, words) for t in (*wording.texts, self.answer, self.label, self.reply or ""))
                    slots = used_slots([filled, fill(f"{self.answer} {self.label} {self.reply or ''}", words)])
                    if unknown := sorted(slots - DRAWN):
                        raise ValueError(
                            f"domains.{domain}: a case gives no {{{unknown[0]}}}, which wording {number} uses"
                        )
        for domain, cases in self.domains.items():
            if not cases:
                raise ValueError(f"domains.{domain}: holds no case")
        return self


def twin(text: str, which: int) -> str:
    """The text of one of the twins, 0 or 1."""
    return _TWINNED.sub(lambda found: found[which + 1], text)


def refuse_torn(texts: Iterable[str]) -> None:
    """Refuse texts in which something would be left of the marks, for the model to read.

    Raises:
        ValueError: A text has a mark that is not whole, or clauses of either order within [one|other]: their order
            would be drawn for each twin.
    """
    for text in texts:
        if any("~" in found[0] for found in _TWINNED.finditer(text)):
            raise ValueError(f"{text!r}: write [one|other] within a clause of <one~ and ~other>, not around it")
        if "~" in _CLAUSES.sub("", text):
            raise ValueError(f"{text!r}: write two clauses of either order as <one~ and ~other>")
        if _TORN.search(_TWINNED.sub("", text)):
            raise ValueError(f"{text!r}: write where the twins differ as [one|other], with no bracket or bar within")


def arrange(text: str, rng: Random) -> str:
    """The text with each `<one~ and ~other>` in one order or the other, as it is drawn.

    Where one clause always stood first, its place would tell the twins apart as well as its words.
    """
    return _CLAUSES.sub(lambda found: found[2].join(rng.sample((found[1], found[3]), 2)), text)


def words_of(case: Mapping[str, Text | Range]) -> dict[str, str]:
    """The words that a case gives for slots; its range of numbers is none of them."""
    return {slot: words for slot, words in case.items() if isinstance(words, str)}


def fill(text: str, slots: Mapping[str, str]) -> str:
    """The text with its slots filled as far as they are known; `{Slot}` begins with a capital letter."""

    def value(found: re.Match[str]) -> str:
        name, plain = found[1], _plain(found[1])
        if plain not in slots:
            return found[0]
        return slots[plain] if name == plain else slots[plain][:1].upper() + slots[plain][1:]

    return _SLOT.sub(value, text)


def used_slots(texts: Iterable[str]) -> set[str]:
    """The names of the slots in some texts, without their capitals."""
    return {_plain(name) for text in texts for name in _SLOT.findall(text)}


def _plain(name: str) -> str:
    return name[:1].lower() + name[1:]


def family_of(path: Path) -> Family | None:
    """The family of a YAML document; None if the file is something else, such as a list of tasks.

    Raises:
        DataError: it is a family and has faults; each is told with its field.
    """
    content: Any = read_yaml(path) if path.suffix.lower() in (".yaml", ".yml") else None
    return read_family(content, str(path))


def read_family(content: Any, source: str) -> Family | None:
    """The family that a document holds; None if it holds something else.

    Args:
        content: A family, or the mapping that its YAML document would hold.
        source: Where it comes from, for what is said of faults.

    Raises:
        DataError: it is a family and has faults; each is told with its field.
    """
    if isinstance(content, Family):
        return content
    if not isinstance(content, dict) or not {"wordings", "answer"} <= content.keys():
        return None
    try:
        return Family.model_validate(content)
    except ValidationError as error:
        raise DataError([f"{source}: {fault}" for fault in faults(error, cast("dict[str, Any]", content))]) from error


@cache
def shipped_families() -> dict[str, Family]:
    """The families that ship, by name."""
    folder = Path(str(files("steadfast.tasks") / "data" / "twins"))
    return {f.name: f for path in sorted(folder.glob("*.yaml")) if (f := family_of(path)) is not None}
