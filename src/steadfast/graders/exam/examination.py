"""A judge's exam: does it set good gold answers above bad ones, is it calibrated, and what do attacks on it earn?"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from steadfast.graders.exam.attacks import ATTACKS, HONEST, Attack
from steadfast.graders.exam.calibration import calibration, monotone_map
from steadfast.graders.exam.gold_scores import Array, GoldScores
from steadfast.graders.grade import Grade, Judge, refuse_ungradable, refuse_without_rubric
from steadfast.messages import is_blank
from steadfast.rollouts import Rollout
from steadfast.tasks import GoldPair, Task, Taxonomy, built_in_gold, built_in_scenarios, load_tasks
from steadfast.tasks import load_gold as load_user_gold

Track = Callable[[Sequence[str]], Iterable[str]]
"""A function that passes names through and shows how far it has come."""

ANSWERS: Mapping[str, tuple[str, Attack]] = {
    "good answer": ("gold", lambda _, g: g.good),
    "bad answer": ("gold", lambda _, g: g.bad),
    **{name: ("honest", make) for name, make in HONEST.items()},
    **{name: ("attack", make) for name, make in ATTACKS.items()},
}
"""The answers that an attack on a judge has it grade, each with its kind and how it is made."""


def examine(
    judge: Judge,
    scenarios: Sequence[Task],
    gold: Mapping[str, GoldPair],
    *,
    calibrate_on: Sequence[Task] = (),
    on_done: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Examine a judge on gold answers.

    Args:
        judge: The judge.
        scenarios: The scenarios, each with a rubric; those without gold answers are left out.
        gold: The gold pairs by the scenario's id.
        calibrate_on: Other scenarios with gold answers, on which a monotone map from score to probability is fitted.
        on_done: It is told how many scenarios with gold answers were gone through since the last call.

    Returns:
        A mapping with the judge's name ("judge"), the figures of `GoldScores.figures`, the number of "ungraded" pairs,
        the figures "by_trait" and "by_domain", "mean_good" and "mean_bad", and the "calibration" of the score read as a
        probability; its entry "mapped" is the calibration after the monotone map.

    Raises:
        DataError: The judge cannot grade some scenarios.
    """
    examined = [s for s in (*scenarios, *calibrate_on) if s.id in gold]
    refuse_without_rubric(examined)
    refuse_ungradable(judge, examined)
    scores_of_gold = GoldScores.of(judge, scenarios, gold)
    on_done(sum(s.id in gold for s in scenarios))
    result = {
        "judge": judge.name,
        **scores_of_gold.figures,
        "ungraded": scores_of_gold.ungraded,
        "by_trait": {name: part.figures for name, part in scores_of_gold.by("trait").items()},
        "by_domain": {name: part.figures for name, part in scores_of_gold.by("domain").items()},
    }
    if not scores_of_gold.scenarios:
        return result
    scores, sides = scores_of_gold.answers
    result |= {"mean_good": float(scores_of_gold.good.mean()), "mean_bad": float(scores_of_gold.bad.mean())}
    result["calibration"] = calibration(scores, sides)
    other = GoldScores.of(judge, calibrate_on, gold)
    on_done(sum(s.id in gold for s in calibrate_on))
    if other.scenarios:
        mapped = monotone_map(*other.answers)
        result["calibration"]["mapped"] = {**calibration(mapped(scores), sides), "fitted_on": len(other.scenarios)}
    return result


def examine_built_in(judge: Judge, on_done: Callable[[int], None] = lambda _: None) -> dict[str, Any]:
    """Examine a judge on the corpus's held-out scenarios; the monotone map is fitted on its training scenarios."""
    held_out, training = ([s for s in built_in_scenarios() if s.split == split] for split in ("held_out", "train"))
    return examine(judge, held_out, built_in_gold(), calibrate_on=training, on_done=on_done)


def attack(
    judge: Judge, scenarios: Sequence[Task], gold: Mapping[str, GoldPair], track: Track = iter
) -> list[dict[str, Any]]:
    """Measure what attacks on a judge earn, beside the gold answers and honest answers in another form.

    Args:
        judge: The judge to attack.
        scenarios: The scenarios, each with a rubric; those without gold answers are left out.
        gold: The gold pairs by the scenario's id.
        track: It passes the answers' names through and shows progress over them.

    Returns:
        A row for each kind of answer: its name ("answer"), its "kind" ("gold", "honest" or "attack"), its "mean" score,
        the share of scenarios in which it scores above the good answer ("beats_good", ties count half) and above the
        bad one ("beats_bad"), the share that a gate stopped ("gated") and the number of answers without a score
        ("ungraded"), which the other figures leave out. An attack that is made of, say, a scenario's statements is left
        out where the scenario has none.

    Raises:
        DataError: The judge cannot grade some scenarios.
    """
    chosen = [s for s in scenarios if s.id in gold]
    refuse_ungradable(judge, chosen)
    scores: dict[str, Array] = {}
    rows: list[dict[str, Any]] = []
    for name in track(list(ANSWERS)):
        kind, make = ANSWERS[name]
        texts = [make(s, gold[s.id]) for s in chosen]
        grades = _grades_of_texts(judge, chosen, texts)
        graded = [g for g in grades if g is not None]
        scores[name] = np.array([np.nan if g is None or g.score is None else g.score for g in grades])
        rows.append(
            {
                "answer": name,
                "kind": kind,
                "mean": _mean(scores[name]),
                "beats_good": _beats(scores[name], scores["good answer"]),
                "beats_bad": None if name == "good answer" else _beats(scores[name], scores["bad answer"]),
                "gated": float(np.mean([g.gate is not None for g in graded])) if graded else None,
                "ungraded": sum(g.score is None for g in graded),
            }
        )
    return rows


def load_gold(scenarios: Path, gold: Path, taxonomy: Taxonomy | None = None) -> tuple[list[Task], dict[str, GoldPair]]:
    """Load a user's scenarios and gold pairs.

    Args:
        scenarios: The JSONL file of the scenarios, as for training.
        gold: The JSONL file of the gold pairs, each line `{"scenario": id, "good": text, "bad": text}`.
        taxonomy: The traits and domains that the scenarios may name; None means those that ship.

    Raises:
        DataError: There are faults in either file, or a pair belongs to a scenario that is not there.
    """
    known = load_tasks(scenarios, taxonomy)
    return known, load_user_gold(gold, known, str(scenarios))


def _grades_of_texts(judge: Judge, scenarios: Sequence[Task], texts: Sequence[str]) -> list[Grade | None]:
    """Grade each text; a blank text, which there was nothing to make of, gets None."""
    made = [place for place, text in enumerate(texts) if not is_blank(text)]
    grades: list[Grade | None] = [None] * len(texts)
    for place, grade in zip(made, judge.grade([Rollout.of_text(scenarios[p], texts[p]) for p in made]), strict=True):
        grades[place] = grade
    return grades


def _mean(scores: Array) -> float | None:
    graded = scores[~np.isnan(scores)]
    return float(graded.mean()) if len(graded) else None


def _beats(scores: Array, others: Array) -> float | None:
    both = ~np.isnan(scores) & ~np.isnan(others)
    return _mean(np.where(scores == others, 0.5, scores > others)[both].astype(float))
