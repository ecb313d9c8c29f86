"""Pairs of twins, made from a family: values are drawn, slots are filled, and the text is put into a format."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from steadfast.errors import DataError
from steadfast.messages import Message
from steadfast.tasks.task import ProgramGrader, Split, Task
from steadfast.tasks.twins.check import PROGRAM, normal
from steadfast.tasks.twins.family import FORMATS, Family, Format, arrange, fill, twin, used_slots, words_of
from steadfast.tasks.twins.values import USUAL_RANGE, draw, split_of

PAIRS_PER_CELL = 100
"""Pairs of each domain and format that measure, over all wordings together."""

_TRIES = 200
"""Draws for one new pair, before a case counts as used up."""

_HOW = (
    "Answer with {reply} alone.",
    "Reply with nothing but {reply}.",
    "Give {reply} and nothing else.",
)
_HOW_OPTIONS = (
    'Answer with "{first}" or "{second}" alone.',
    'Reply with nothing but "{first}" or "{second}".',
    'Say either "{first}" or "{second}", and nothing else.',
)
_HOW_LETTER = (
    "Answer with the letter alone.",
    "Reply with nothing but the letter.",
    "Give the letter and nothing else.",
)
_LOG_HEADS = ("Log", "Entries so far", "Extract of the log")
_FORM_HEADS = ("FORM", "Sheet to be completed", "RECORD SHEET")


@dataclass(frozen=True)
class Cell:
    """What pairs have in common besides their family.

    Attributes:
        domain: The domain's id.
        format: The format.
        wording: The number of the wording.
    """

    domain: str
    format: Format
    wording: int


def make_pairs(family: Family, cell: Cell, count: int, split: Split) -> list[tuple[Task, Task]]:
    """Make `count` pairs of a cell, the same ones each time; no pair of one split is ever among those of the other.

    Raises:
        DataError: The family does not know the domain or the wording, or has too few values for so many pairs.
    """
    where = f"family {family.name!r}"
    if cell.domain not in family.domains:
        raise DataError([f"{where}: no cases in domain {cell.domain!r}; it has {', '.join(family.domains)}"])
    if not 0 <= cell.wording < len(family.wordings):
        raise DataError([f"{where}: no wording {cell.wording}; it has {len(family.wordings)}, counted from 0"])
    found: list[tuple[Task, Task]] = []
    seen: set[tuple[Message, ...]] = set()
    while len(found) < count:
        for attempt in range(_TRIES):
            pair = _pair(family, cell, split, len(found), attempt)
            if pair is not None and pair[0].messages not in seen:
                break
        else:
            raise DataError(
                [f"{where}: {cell.domain} in wording {cell.wording} gives only {len(found)} different pairs"]
            )
        seen.add(pair[0].messages)
        found.append(pair)
    return found


def twins_of(
    family: Family,
    *,
    domains: Sequence[str] | None = None,
    formats: Sequence[Format] = FORMATS,
    wordings: Sequence[int] | None = None,
    pairs: int = PAIRS_PER_CELL,
    split: Split = "held_out",
) -> list[Task]:
    """Make the twins of a family, pair by pair.

    Args:
        family: The family.
        domains: The domains; None for all that it knows.
        formats: The formats.
        wordings: The numbers of the wordings; None for all.
        pairs: How many pairs of each domain and format, spread evenly over the wordings.
        split: Whether they train or measure.

    Raises:
        DataError: As `make_pairs` says.
    """
    told = range(len(family.wordings)) if wordings is None else wordings
    shares = _shares(family.domains if domains is None else domains, formats, told, pairs)
    return [task for cell, count in shares for pair in make_pairs(family, cell, count, split) for task in pair]


def pairs_at(family: Family, places: Sequence[int]) -> list[tuple[Task, Task]]:
    """Make some of the pairs of `twins_of(family)`, by their places among these, and no cell that holds none of them.

    Raises:
        DataError: As `make_pairs` says.
        IndexError: A place is beyond the last pair.
    """
    shares = _shares(family.domains, FORMATS, range(len(family.wordings)), PAIRS_PER_CELL)
    where = [(cell, number) for cell, count in shares for number in range(count)]
    wanted: dict[Cell, int] = {}
    for cell, number in (where[place] for place in places):
        wanted[cell] = max(number + 1, wanted.get(cell, 0))
    made = {cell: make_pairs(family, cell, count, "held_out") for cell, count in wanted.items()}
    return [made[cell][number] for cell, number in (where[place] for place in places)]


def _shares(
    domains: Iterable[str], formats: Sequence[Format], wordings: Sequence[int], pairs: int
) -> list[tuple[Cell, int]]:
    """The cells in the order in which twins are made, each with the number of its pairs."""
    return [
        (Cell(domain, form, wording), _share(pairs, place, len(wordings)))
        for domain in domains
        for form in formats
        for place, wording in enumerate(wordings)
    ]


def _share(count: int, place: int, parts: int) -> int:
    return (place + 1) * count // parts - place * count // parts


def _pair(family: Family, cell: Cell, split: Split, number: int, attempt: int) -> tuple[Task, Task] | None:
    """One pair; None if the text of a twin belongs to the other split."""
    name = f"{family.name}/{cell.domain}/{cell.format}/{cell.wording}/{split}-{number}"
    rng = Random(f"{name}/{attempt}")
    wording, cases = family.wordings[cell.wording], family.domains[cell.domain]
    place = rng.randrange(len(cases))
    case = words_of(cases[place])
    numbers: Any = cases[place].get("numbers", USUAL_RANGE)
    asked = family.reply or f"the {family.label}"
    texts = [arrange(fill(t, case), rng) for t in (*wording.texts, family.answer, family.label, asked)]
    values = draw(rng, used_slots(texts), numbers)
    *told, answer, label, reply = (fill(t, values) for t in texts)
    order = rng.sample((0, 1), 2)  # of the options, where they are shown
    how = _how(family, cell, [twin(answer, which) for which in order], label, reply)
    ids = f"{name}a", f"{name}b"
    one, other = (
        Task(
            id=ids[which],
            messages=_messages(cell, [twin(t, which) for t in told], how, len(wording.turns)),
            grader=ProgramGrader(program=_program(family, cell), args=_args(family, cell, answer, label, order, which)),
            suite=family.name,
            trait=family.trait,
            domain=cell.domain,
            pair=ids[1 - which],
            split=split,
            format=cell.format,
            wording=cell.wording,
        )
        for which in (0, 1)
    )
    return (one, other) if split_of(one.text) == split_of(other.text) == split else None


def _program(family: Family, cell: Cell) -> str:
    return family.check if ":" in family.check and cell.format != "choice" else PROGRAM


def _args(family: Family, cell: Cell, answer: str, label: str, order: Sequence[int], which: int) -> dict[str, Any]:
    right, wrong = twin(answer, which), twin(answer, 1 - which)
    if normal(right) == normal(wrong):
        raise DataError([f"family {family.name!r}: both twins have the right answer {right!r}"])
    args: dict[str, Any] = {"label": label, "right": right, "wrong": wrong}
    if cell.format == "choice":
        return args | {"label": "letter", "letter": "AB"[order.index(which)]}
    if family.check == "probability":
        return args | {"probability": _share_of(right, family)}
    return args if family.options else args | {"sentence": True}


def _share_of(percent: str, family: Family) -> float:
    digits = percent.rstrip("% ")
    if not digits.isdecimal() or int(digits) > 100:
        raise DataError(
            [f"family {family.name!r}: check: probability needs an answer from 0% to 100%, and {percent!r} is none"]
        )
    return int(digits) / 100


def _messages(cell: Cell, told: Sequence[str], how: str, turns: int) -> tuple[Message, ...]:
    """The conversation of one twin, whose texts are `told`: lines, question, further turns; `how` to answer ends it."""
    split = len(told) - turns
    *lines, ask = told[:split]
    opening, later = _opening(cell, lines, ask), told[split:]
    said = [opening, *later]
    said[-1] = f"{said[-1]}\n{how}"
    return tuple(Message(role=("user", "assistant")[i % 2], content=text) for i, text in enumerate(said))


def _opening(cell: Cell, lines: Sequence[str], ask: str) -> str:
    if cell.format == "log":
        entries = "\n".join(f"- {line}" for line in lines)
        return f"{_variant(_LOG_HEADS, cell)}\n{entries}\n\n{ask}"
    if cell.format == "form":
        entries = "\n".join(f"{number}. {line}" for number, line in enumerate(lines, start=1))
        return f"{_variant(_FORM_HEADS, cell)}\n{entries}\n{len(lines) + 1}. {ask} ____"
    return f"{' '.join(lines)} {ask}"


def _how(family: Family, cell: Cell, options: Sequence[str], label: str, reply: str) -> str:
    """What is said of the answer's form: it is the same for both twins."""
    if cell.format == "choice":
        listed = "\n".join(f"{letter}) {option}" for letter, option in zip("AB", options, strict=True))
        return f"{listed}\n{_variant(_HOW_LETTER, cell)}"
    if family.options:
        return _variant(_HOW_OPTIONS, cell).format(first=options[0], second=options[1])
    if cell.format == "form":
        return f"{label}:"
    return _variant(_HOW, cell).format(reply=reply)


def _variant(texts: Sequence[str], cell: Cell) -> str:
    return texts[cell.wording % len(texts)]
