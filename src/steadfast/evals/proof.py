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


Policy = Callable[[Task, Sequence[str]], str]
"""It answers a task, which is given with the numbers in its text, without an understanding of it."""


def _number_at(place: int) -> Policy:
    """The policy that names the number at one place of the conversation, whatever it is about."""
    return lambda _, found: found[place] if -len(found) <= place < len(found) else ""


_PLACES = ("second", "third", "fourth", "fifth")

_POLICIES: Mapping[str, Policy] = {
    "echo": lambda task, _: task.messages[-1].content,
    "repeat the last reply": lambda task, _: _last_reply(task),
    "first number": _number_at(0),
    "last number": _number_at(-1),
    "least number": lambda _, found: min(found, key=int, default=""),
    "greatest number": lambda _, found: max(found, key=int, default=""),
    "most frequent number": lambda _, found: next(iter(Counter(found).most_common(1)), ("", 0))[0],
    "rarest number": lambda _, found: next(reversed(Counter(found).most_common()), ("", 0))[0],
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


Score = Callable[[Task, str], float]
"""What an answer's text earns on a task."""


@dataclass(frozen=True)
class Proof:
    """What a suite pays without a model.

    Attributes:
        suite: The suite's name.
        pairs: The number of pairs; 0 if its tasks are not paired, and then scores are means over tasks.
        items: The number of tasks that a program checks.
        gold: What the right answers earn.
        constants: What each constant answer, and each policy that does not read, earns.
        hostile: The forms of hostile answers that earned something, each as a sentence that says on how many tasks and
            names one of them.
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
    score = _remembering(checked)
    gold = _earned(checked, pairs, lambda t: right[t.id] or "", score) if len(known) == len(checked) else None
    constants = _constants(checked, pairs, score)
    numbers = {t.id: _numbers(t) for t in checked}
    for label, policy in _POLICIES.items():
        constants[label] = _earned(checked, pairs, lambda t, policy=policy: policy(t, numbers[t.id]), score)
    for answer, _ in Counter(known).most_common(_MODAL_ANSWERS):
        constants[f"always {answer!r}"] = _earned(checked, pairs, lambda _, text=answer: text, score)
    hostile = tuple(_hostile(checked, score))
    problems = _alike(name, pairs, right)
    if gold is not None and gold < 1:
        problems.append(f"{name}: the right answers earn {gold:.2f} and should earn 1")
    problems += _paid(name, constants)
    problems += _paid_twice(name, pairs, score)
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
    pairs, score = _pairs(tasks), _remembering(tasks)
    if problems := _paid(name, _constants(tasks, pairs, score)) + _paid_twice(name, pairs, score):
        raise DataError([f"{problems[0]}; mend the family's check, and see `steadfast suites check`"])


def _constants(tasks: Sequence[Task], pairs: Sequence[tuple[Task, Task]], score: Score) -> dict[str, float]:
    """What each answer that is the same to all tasks earns."""
    answers = {**CONSTANTS, **_SHORT}
    return {label: _earned(tasks, pairs, lambda _, text=text: text, score) for label, text in answers.items()}


def _paid(name: str, constants: Mapping[str, float]) -> list[str]:
    """Say which answers that are given without reading earn more than they may."""
    return [
        f"{name}: {label} earns {score:.2f} and may earn {MOST_OF_A_CONSTANT} at most"
        for label, score in constants.items()
        if score > MOST_OF_A_CONSTANT
    ]


def _alike(name: str, pairs: Sequence[tuple[Task, Task]], right: Mapping[str, str | None]) -> list[str]:
    """Say of how many pairs the twins have one right answer, and name the first."""
    alike = [(a, b) for a, b in pairs if right[a.id] is not None and right[a.id] == right[b.id]]
    if not alike:
        return []
    one, other = alike[0]
    return [
        f"{name}: both twins of {len(alike)} of {len(pairs)} pairs have the same right answer, such as "
        f"{right[one.id]!r} of {one.id} and {other.id}"
    ]


def _paid_twice(name: str, pairs: Sequence[tuple[Task, Task]], score: Score) -> list[str]:
    """Name the first answer for which the twins of a pair pay more than 1 together.

    The report says of both sides' success less one that the same answer to both twins brings it to 0 at most.
    """
    for a, b in pairs:
        for text in _right_for_either(a, b):
            both = score(a, text) + score(b, text)
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


def _remembering(tasks: Iterable[Task]) -> Score:
    """Score texts, each only once for all tasks that are checked by the same program with the same args."""
    checks = {t.id: (t.grader.program, repr(t.grader.args)) for t in tasks if isinstance(t.grader, ProgramGrader)}
    number = {check: place for place, check in enumerate(dict.fromkeys(checks.values()))}
    check_of_task = {name: number[check] for name, check in checks.items()}
    known: dict[tuple[int, str], float] = {}

    def score(task: Task, text: str) -> float:
        key = check_of_task[task.id], text
        if key not in known:
            known[key] = grade_program(Rollout.of_text(task, text)).score or 0.0
        return known[key]

    return score


def _earned(
    tasks: Sequence[Task], pairs: Sequence[tuple[Task, Task]], answer: Callable[[Task], str], score: Score
) -> float:
    if not pairs:
        return fmean(score(t, answer(t)) for t in tasks)
    # Where the first twin earns nothing, the second need not be checked.
    return fmean(first and first * score(b, answer(b)) for a, b in pairs for first in [score(a, answer(a))])


def _right(task: Task) -> str | None:
    return next(iter(correct_answers(task)), None)


def _hostile(tasks: Iterable[Task], score: Score) -> list[str]:
    """Say which forms of hostile answers earn something; of tasks with one right answer and letter one is tried."""
    tried: set[tuple[str, str, str]] = set()
    paid: dict[str, list[tuple[Task, str, float]]] = {form: [] for form in _HOSTILE}
    for task in tasks:
        assert isinstance(task.grader, ProgramGrader)
        args: Mapping[str, Any] = task.grader.args
        if not {"label", "right", "wrong"} <= args.keys():
            continue
        key = task.grader.program, str(args["right"]), str(args.get("letter"))
        if key in tried:
            continue
        tried.add(key)
        options = {"right": args.get("letter", args["right"]), "wrong": _wrong(args), "label": args["label"]}
        for form in _HOSTILE:
            text = form.format(**options)
            if earned := score(task, text):
                paid[form].append((task, text, earned))
    return [_paid_hostile(form, found, len(tried)) for form, found in paid.items() if found]


def _paid_hostile(form: str, paid: Sequence[tuple[Task, str, float]], tried: int) -> str:
    """Say how often a form of hostile answers is paid, with the first example."""
    task, text, _ = paid[0]
    scores = [earned for *_, earned in paid]
    most = f"{max(scores):.2f}" if min(scores) == max(scores) else f"up to {max(scores):.2f}"
    example = task.id if text == form else f"{text!r} on {task.id}"
    tasks = f"{len(paid)} of {tried} tasks with different right answers"
    return f"the hostile answer {form!r} earns {most} on {tasks}, such as {example}"


def _wrong(args: Mapping[str, Any]) -> str:
    return "B" if args.get("letter") == "A" else "A" if "letter" in args else str(args["wrong"])
