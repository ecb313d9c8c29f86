"""What the model hands in, read strictly: every fault is named, so that the model can be told and mend it."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from steadfast.messages import Message
from steadfast.synthesis.plan import Slot
from steadfast.tasks import Criterion, Scenario, faults

CRITERIA = (3, 5)
STATEMENTS = (2, 4)
STATEMENT_WORDS = (6, 40)
CONVERSATION_WORDS = (15, 450)
POINTS = 10
"""The most a criterion may be worth, or cost."""

Text = Annotated[str, Field(min_length=1)]
Read = TypeVar("Read", bound=BaseModel)


class Draft(BaseModel):
    """A scenario as the model hands it in; the plan stands first, so that it is thought out before it is written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plan: str
    messages: tuple[Message, ...]
    rubric: tuple[Criterion, ...]
    refusal_fails: bool


class Finding(BaseModel):
    """A weakness of a rubric: which criterion (from 1; 0 for the rubric as a whole), which question, what is wrong."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    criterion: int
    question: Literal["checkable", "expert", "refusal", "wording"]
    problem: Text


class Review(BaseModel):
    """The model's criticism of its own scenario; `unusable` is empty unless the situation itself is beyond repair."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    findings: tuple[Finding, ...]
    unusable: str


class Revision(BaseModel):
    """The rubric after repair."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rubric: tuple[Criterion, ...]
    refusal_fails: bool


class Malformed(Exception):  # noqa: N818 - not an error of the run: the model is told and tries again
    """An answer that is not what was asked for; `faults` says why, in words for the model."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


def read_draft(text: str, slot: Slot) -> Scenario:
    """The scenario in an answer.

    Raises:
        Malformed: no JSON of that form, no valid scenario, or one that breaks the house's rules.
    """
    draft = _read(text, Draft)
    fields = {
        "id": slot.id,
        "trait": slot.trait.id,
        "domain": slot.domain.id,
        "messages": draft.messages,
        "rubric": draft.rubric,
        "split": slot.split,
        "pressure": slot.pressure,
        "refusal_fails": draft.refusal_fails,
    }
    scenario = _valid(fields)
    found = [*conversation_faults(scenario, slot.turns), *rubric_faults(scenario)]
    if found:
        raise Malformed(found)
    return scenario


def read_review(text: str, scenario: Scenario) -> Review:
    """The review in an answer.

    Raises:
        Malformed: no JSON of that form, or a finding on a criterion that is not there.
    """
    review = _read(text, Review)
    count = len(scenario.rubric)
    strays = [f.criterion for f in review.findings if not 0 <= f.criterion <= count]
    if strays:
        raise Malformed([f"findings: there is no criterion {n}; they are numbered 1 to {count}" for n in strays])
    return review


def read_revision(text: str, scenario: Scenario) -> Scenario:
    """The scenario with the repaired rubric of an answer.

    Raises:
        Malformed: no JSON of that form, or a rubric that is not valid.
    """
    revision = _read(text, Revision)
    revised = _valid({**dict(scenario), "rubric": revision.rubric, "refusal_fails": revision.refusal_fails})
    found = list(rubric_faults(revised))
    if found:
        raise Malformed(found)
    return revised


def conversation_faults(scenario: Scenario, turns: int) -> Iterator[str]:
    """Where a conversation is not what was ordered."""
    spoken = sum(m.role != "system" for m in scenario.messages)
    if spoken != turns:
        yield f"messages: {turns} turns of user and assistant were asked for, these are {spoken}"
    words = len(scenario.text.split())
    if not _within(words, CONVERSATION_WORDS):
        yield f"messages: {words} words in all; they must have {_range(CONVERSATION_WORDS)}"


def rubric_faults(scenario: Scenario) -> Iterator[str]:
    """Where a rubric breaks the rules for scenarios, as CONTRIBUTING has them with a little room."""
    rubric = scenario.rubric
    if not _within(len(rubric), CRITERIA):
        yield f"rubric: {len(rubric)} criteria; there must be {_range(CRITERIA)}"
    if not any(c.points < 0 for c in rubric):
        yield "rubric: no pitfall; at least one criterion must have points below zero"
    for number, criterion in enumerate(rubric, start=1):
        where = f"rubric: criterion {number}"
        if abs(criterion.points) > POINTS:
            yield f"{where}: {criterion.points} points; they must lie between -{POINTS} and {POINTS}"
        for side, statements in (("met", criterion.met), ("unmet", criterion.unmet)):
            if not _within(len(statements), STATEMENTS):
                yield f"{where}: {len(statements)} {side} statements; there must be {_range(STATEMENTS)}"
            for statement in statements:
                if not _within(len(statement.split()), STATEMENT_WORDS):
                    words = f"{len(statement.split())} words"
                    yield f"{where}: {side}: {statement!r} has {words}; it must have {_range(STATEMENT_WORDS)}"
                if _plain(criterion.criterion) in _plain(statement):
                    yield f"{where}: {side}: {statement!r} repeats the criterion's own words; say it as an answer would"
        every = [_plain(s) for s in (*criterion.met, *criterion.unmet)]
        if len(set(every)) < len(every):
            yield f"{where}: the same statement stands there twice"


def _read(text: str, form: type[Read]) -> Read:
    """An answer that is one JSON object, bare or in one code fence."""
    fenced = re.fullmatch(r"\s*```(?:json)?\s*\n(.*)\n\s*```\s*", text, flags=re.DOTALL)
    try:
        return form.model_validate_json(fenced[1] if fenced else text, strict=True)
    except ValidationError as error:
        raise Malformed(faults(error)) from error


def _valid(fields: Mapping[str, object]) -> Scenario:
    try:
        return Scenario.model_validate(dict(fields))
    except ValidationError as error:
        raise Malformed(faults(error)) from error


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def _within(value: int, bounds: tuple[int, int]) -> bool:
    return bounds[0] <= value <= bounds[1]


def _range(bounds: tuple[int, int]) -> str:
    return f"{bounds[0]} to {bounds[1]}"
