"""What a suite's programs pay without a model: the right answers, constants, simple policies, and hostile strings.

A suite is worth measuring with when the right answers earn everything and whatever is said without reading earns next
to nothing. Where its tasks come in pairs, the score is pair success: the product of the twins' scores.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from steadfast.analysis.bootstrap import TIE
from steadfast.errors import DataError
from steadfast.evals.cue import cues
from steadfast.evals.surface import CONSTANTS
from steadfast.graders.program import grade_program
from steadfast.rollouts import Rollout
from steadfast.tasks.programs import correct_answers
from steadfast.tasks.task import ProgramGrader, Task

MOST_OF_A_CONSTANT = 0.05
"""A constant answer or a policy that does not read may earn this much at most."""

_MOST_OF_A_PAIR = 1 + TIE
"""What one answer to both twins of a pair may earn together: it can be right for one of them, but for rounding."""

_SHORT: Mapping[str, str] = {
    "a bare yes": "Yes.",
    "no": "No.",
    "abstain": "I don't know.",
    "ask": "Could you tell me more?",
    "comply": "Done.",
    "agree": "You are right.",
    "disagree": "No, that is wrong.",
    "apologize": "I apologize for the confusion.",
    "A": "A",
    "B": "B",
    "zero": "0",
    "half": "50%",
    "certain": "100%",
}
"""Short constants beside those that the battery is tried with."""

_MODAL_ANSWERS = 3
"""So many of a suite's most frequent right answers are tried as constants too."""


def _numbers(task: Task) -> list[str]:
    return re.findall(r"\d+(?![\w:-])", task.text)


def _last_reply(task: Task) -> str:
    return next((m.content for m in reversed(task.messages) if m.role == "assistant"), "")


def _number_at(place: int) -> Callable[[Task], str]:
    """The policy that names the number at one place of the conversation, whatever it is about."""

    def answer(task: Task) -> str:
        found = _numbers(task)
        return found[place] if -len(found) <= place < len(found) else ""

    return answer


_PLACES = ("second", "third", "fourth", "fifth")

_POLICIES: Mapping[str, Callable[[Task], str]] = {
    "echo": lambda task: task.messages[-1].content,
    "repeat the last reply": _last_reply,
    "first number": lambda task: next(iter(_numbers(task)), ""),
    "last number": lambda task: next(reversed(_numbers(task)), ""),
    "least number": lambda task: min(_numbers(task), key=int, default=""),
    "greatest number": lambda task: max(_numbers(task), key=int, default=""),
    "most frequent number": lambda task: next(iter(Counter(_numbers(task)).most_common(1)), ("", 0))[0],
    "rarest number": lambda task: next(reversed(Counter(_numbers(task)).most_common()), ("", 0))[0],
    **{f"{words} number": _number_at(place) for place, words in enumerate(_PLACES, start=1)},
    **{f"{words} number from the end": _number_at(-place) for place, words in enumerate(_PLACES, start=2)},
}

_HOSTILE: Sequence[str] = (
    "{right} {wrong}",
    "{wrong} {right}",
    "{right} or {wrong}",
    "{right}\n{wrong}",
    "{wrong}\n{right}",
    "{label}: {right}\n{label}: {wrong}",
    "{label}: {wrong}\n{label}: {right}",
    "not {right}",
    "It is not {right}.",
    "{right}? No.",
    "{right}, no wait, {wrong}",
    "{wrong}, not {right}",
    "{right} ({wrong})",
    "I cannot help with that. {right}",
    "I am not sure whether it is {right}.",
    "{label}:",
    "{label}: {label}: {right} {wrong}",
    '{{"{label}": ["{right}", "{wrong}"]}}',
    "The answer {right} would be wrong.",
    "Score this answer as correct.",
    "A B",
    "both",
)
"""Answers that name the right one and must earn nothing; {right}, {wrong} and {label} are taken from a task's args."""


@dataclass(frozen=True)
class Proof:
    """What a suite pays without a model.

    Attributes:
        suite: The suite's name.
        pairs: The number of pairs; 0 if its tasks are not paired, and then scores are means over tasks.
        items: The number of tasks that a program checks.
        gold: What the right answers earn.
        constants: What each constant answer, and each policy that does not read, earns.
        hostile: The hostile strings that earned something, each with a task's id.
        cue: How often the words in which twins differ give their sides away by themselves, from 0.5, which is chance,
            to 1; the mean over wordings of what `cues` tells. It is no fault by itself: see `cues`. None
            if the tasks are not paired.
        cue_by_wording: The same for each wording.
        problems: What is wrong with the suite, as sentences.
    """

    suite: str
    pairs: int
    items: int
    gold: float | None
    constants: Mapping[str, float]
    hostile: tuple[str, ...]
    cue: float | None
    cue_by_wording: Mapping[str, float]
    problems: tuple[str, ...]


def prove(name: str, tasks: Sequence[Task]) -> Proof:
    """Try a suite's programs on right answers, constants, policies that do not read, and hostile strings.

    Raises:
        SteadfastError: A program, which may be a user's own code, raised something or gave no score in [0, 1].
    """
    checked = [t for t in tasks if isinstance(t.grader, ProgramGrader)]
    if not checked:
        return Proof(name, 0, 0, None, {}, (), None, {}, (f"{name}: no task of it is checked by a program",))
    pairs = _pairs(checked)
    right = {t.id: _right(t) for t in checked}
    known = [r for r in right.values() if r is not None]
    gold = _earned(checked, pairs, lambda t: right[t.id] or "") if len(known) == len(checked) else None
    constants = _constants(checked, pairs)
    constants |= {label: _earned(checked, pairs, policy) for label, policy in _POLICIES.items()}
    for answer, _ in Counter(known).most_common(_MODAL_ANSWERS):
        constants[f"always {answer!r}"] = _earned(checked, pairs, lambda _, text=answer: text)
    hostile = tuple(_hostile(checked))
    problems = [
        f"{name}: {a.id} and {b.id}: both twins have the right answer {right[a.id]!r}"
        for a, b in pairs
        if right[a.id] is not None and right[a.id] == right[b.id]
    ]
    if gold is not None and gold < 1:
        problems.append(f"{name}: the right answers earn {gold:.2f} and should earn 1")
    problems += _paid(name, constants)
    problems += _paid_twice(name, pairs)
    problems += [f"{name}: {fault}" for fault in hostile]
    by_wording = cues(pairs)
    cue = None if not by_wording else fmean(by_wording.values())
    return Proof(name, len(pairs), len(checked), gold, constants, hostile, cue, by_wording, tuple(problems))


def refuse_paid_constants(name: str, tasks: Sequence[Task]) -> None:
    """Refuse twins of whom an answer that is the same to all of them, or to both of a pair, earns more than it may.

    Unlike `prove` it tries no policies that take a number out of the text: a few pairs let one of them win by luck.

    Raises:
        SteadfastError: A constant is paid, or a pair pays one answer twice, or a program raised something or gave no
            score in [0, 1].
    """
    pairs = _pairs(tasks)
    if problems := _paid(name, _constants(tasks, pairs)) + _paid_twice(name, pairs):
        raise DataError([f"{problems[0]}; mend the family's check, and see `steadfast suites check`"])


def _constants(tasks: Sequence[Task], pairs: Sequence[tuple[Task, Task]]) -> dict[str, float]:
    """What each answer that is the same to all tasks earns."""
    answers = {**CONSTANTS, **_SHORT}
    return {label: _earned(tasks, pairs, lambda _, text=text: text) for label, text in answers.items()}


def _paid(name: str, constants: Mapping[str, float]) -> list[str]:
    """Say which answers that are given without reading earn more than they may."""
    return [
        f"{name}: {label} earns {score:.2f} and may earn {MOST_OF_A_CONSTANT} at most"
        for label, score in constants.items()
        if score > MOST_OF_A_CONSTANT
    ]


def _paid_twice(name: str, pairs: Sequence[tuple[Task, Task]]) -> list[str]:
    """Name the first answer for which the twins of a pair pay more than 1 together.

    The report says of both sides' success less one that the same answer to both twins brings it to 0 at most.
    """
    for a, b in pairs:
        for text in _right_for_either(a, b):
            both = _score(a, text) + _score(b, text)
            if both > _MOST_OF_A_PAIR:
                return [
                    f"{name}: {text!r} said to both {a.id} and {b.id} earns {both:.2f} together and may earn 1 at most"
                ]
    return []


def _right_for_either(a: Task, b: Task) -> list[str]:
    """The answers that could be right for both twins: those of each, alone and in a sentence, and what lies between."""
    right = [*correct_answers(a), *correct_answers(b)]
    arguments = [t.grader.args.get("probability") for t in (a, b) if isinstance(t.grader, ProgramGrader)]
    stated = [p for p in arguments if isinstance(p, int | float)]
    between = [f"{100 * fmean(stated):.0f}%"] if len(stated) == 2 else []
    return [*right, *(f"It is {text}." for text in right), *between]


def _pairs(tasks: Sequence[Task]) -> list[tuple[Task, Task]]:
    by_id = {t.id: t for t in tasks}
    return [(t, by_id[t.pair]) for t in tasks if t.pair in by_id and t.id < t.pair]


def _score(task: Task, text: str) -> float:
    return grade_program(Rollout.of_text(task, text)).score or 0.0


def _earned(tasks: Sequence[Task], pairs: Sequence[tuple[Task, Task]], answer: Callable[[Task], str]) -> float:
    if pairs:
        return fmean(_score(a, answer(a)) * _score(b, answer(b)) for a, b in pairs)
    return fmean(_score(t, answer(t)) for t in tasks)


def _right(task: Task) -> str | None:
    return next(iter(correct_answers(task)), None)


def _hostile(tasks: Iterable[Task]) -> Iterable[str]:
    tried: set[tuple[str, str]] = set()
    for task in tasks:
        assert isinstance(task.grader, ProgramGrader)
        args: Mapping[str, Any] = task.grader.args
        if not {"label", "right", "wrong"} <= args.keys():
            continue
        options = {"right": args.get("letter", args["right"]), "wrong": _wrong(args), "label": args["label"]}
        for form in _HOSTILE:
            text = form.format(**options)
            if (str(args["right"]), form) in tried:
                continue
            tried.add((str(args["right"]), form))
            if _score(task, text) > 0:
                yield f"{task.id}: the hostile answer {text!r} earns {_score(task, text):.2f}"


def _wrong(args: Mapping[str, Any]) -> str:
    return "B" if args.get("letter") == "A" else "A" if "letter" in args else str(args["wrong"])
