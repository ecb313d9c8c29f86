"""What the author model hands in is read strictly; every fault is named, so that the model can mend it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from steadfast.messages import Message
from steadfast.synthesis.plan import Slot
from steadfast.tasks import Task, faults
from steadfast.tasks.rubric import Text
from steadfast.tasks.shapes import scenario_row

CRITERIA = (3, 5)
STATEMENTS = (2, 4)
STATEMENT_WORDS = (6, 40)
CONVERSATION_WORDS = (15, 450)
POINTS = 10
"""A criterion may be worth, or cost, at most so many points."""

Read = TypeVar("Read", bound=BaseModel)


class DraftedCriterion(BaseModel):
    """A criterion as it is demanded of the model: whole points, and statements on both sides."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    criterion: Text
    points: int
    met: tuple[Text, ...]
    unmet: tuple[Text, ...]


class Draft(BaseModel):
    """A scenario as the model hands it in; the plan stands first, so that it is thought out before it is written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plan: str
    messages: tuple[Message, ...]
    rubric: tuple[DraftedCriterion, ...]
    refusal_fails: bool


class Finding(BaseModel):
    """A weakness of a rubric.

    Attributes:
        criterion: The criterion's number, from 1; 0 stands for the rubric as a whole.
        question: The question that it fails.
        problem: What is wrong.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    criterion: int
    question: Literal["checkable", "expert", "refusal", "wording"]
    problem: Text


class Review(BaseModel):
    """The model's criticism of its own scenario.

    Attributes:
        findings: What is wrong with the rubric.
        unusable: Why the situation itself is beyond repair; empty if it is not.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    findings: tuple[Finding, ...]
    unusable: str


class Revision(BaseModel):
    """The rubric after repair."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rubric: tuple[DraftedCriterion, ...]
    refusal_fails: bool


class Malformed(Exception):  # noqa: N818 - not an error of the run: the model is told and tries again
    """An answer is not what was asked for; `faults` says why, in words for the model."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


def read_draft(text: str, slot: Slot) -> Task:
    """Read the scenario in an answer.

    Args:
        text: The answer.
        slot: The slot that the scenario should fill.

    Raises:
        Malformed: It is no JSON of that form, no valid scenario, or one that breaks the rules for scenarios.
    """
    draft = _read(text, Draft)
    ordered = {
        "id": slot.id,
        "trait": slot.trait.id,
        "domain": slot.domain.id,
        "split": slot.split,
        "pressure": slot.pressure,
    }
    scenario = _valid({**ordered, **draft.model_dump(exclude={"plan"})})
    found = [*conversation_faults(scenario, slot.turns), *rubric_faults(scenario)]
    if found:
        raise Malformed(found)
    return scenario


def read_review(text: str, scenario: Task) -> Review:
    """Read the review in an answer.

    Raises:
        Malformed: It is no JSON of that form, or has a finding on a criterion that is not there.
    """
    review = _read(text, Review)
    count = len(scenario.rubric)
    strays = [f.criterion for f in review.findings if not 0 <= f.criterion <= count]
    if strays:
        raise Malformed([f"findings: there is no criterion {n}; they are numbered 1 to {count}" for n in strays])
    return review


def read_revision(text: str, scenario: Task) -> Task:
    """Read the repaired rubric in an answer, and give the scenario with it.

    Raises:
        Malformed: It is no JSON of that form, or the rubric is not valid.
    """
    revision = _read(text, Revision)
    revised = _valid({**scenario_row(scenario), **revision.model_dump()})
    found = list(rubric_faults(revised))
    if found:
        raise Malformed(found)
    return revised


def conversation_faults(scenario: Task, turns: int) -> Iterator[str]:
    """Yield the ways in which a conversation is not what was ordered."""
    spoken = sum(m.role != "system" for m in scenario.messages)
    if spoken != turns:
        yield f"messages: {turns} turns of user and assistant were asked for, these are {spoken}"
    words = len(scenario.text.split())
    if not _within(words, CONVERSATION_WORDS):
        yield f"messages: {words} words in all; they must have {_range(CONVERSATION_WORDS)}"


def rubric_faults(scenario: Task) -> Iterator[str]:
    """Yield the ways in which a rubric breaks the rules for scenarios, which are CONTRIBUTING's with a little room."""
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
    """Read an answer that is one JSON object, bare or in one code fence."""
    fenced = re.fullmatch(r"\s*```(?:json)?\s*\n(.*)\n\s*```\s*", text, flags=re.DOTALL)
    try:
        return form.model_validate_json(fenced[1] if fenced else text, strict=True)
    except ValidationError as error:
        raise Malformed(faults(error)) from error


def _valid(row: Mapping[str, Any]) -> Task:
    try:
        return Task.model_validate(row)
    except ValidationError as error:
        raise Malformed(faults(error, row)) from error


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def _within(value: int, bounds: tuple[int, int]) -> bool:
    return bounds[0] <= value <= bounds[1]


def _range(bounds: tuple[int, int]) -> str:
    return f"{bounds[0]} to {bounds[1]}"
