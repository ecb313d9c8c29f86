"""How good a judge is: gold answers, good against tempting-bad, calibration, and what attacks on it earn."""

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
"""Passes names through and shows how far it has come."""


def examine(
    judge: Judge,
    scenarios: Sequence[Task],
    gold: Mapping[str, GoldPair],
    *,
    calibrate_on: Sequence[Task] = (),
) -> dict[str, Any]:
    """A judge's exam.

    Args:
        judge: to examine.
        scenarios: with rubrics; those without gold answers are left out.
        gold: pairs by scenario.
        calibrate_on: other scenarios with gold answers, on which a monotone map from score to probability is fitted.

    Returns:
        judge; pairs, accuracy and auc with intervals (see `GoldScores.figures`); ungraded pairs; mean_good and
        mean_bad; by_trait and by_domain; calibration of the score read as a probability, and under "mapped" of its map.

    Raises:
        DataError: scenarios that the judge cannot grade.
    """
    examined = [s for s in (*scenarios, *calibrate_on) if s.id in gold]
    refuse_without_rubric(examined)
    refuse_ungradable(judge, examined)
    scores_of_gold = GoldScores.of(judge, scenarios, gold)
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
    if other.scenarios:
        mapped = monotone_map(*other.answers)
        result["calibration"]["mapped"] = {**calibration(mapped(scores), sides), "fitted_on": len(other.scenarios)}
    return result


def examine_built_in(judge: Judge) -> dict[str, Any]:
    """The exam on the corpus's held-out scenarios, the monotone map fitted on its training scenarios."""
    corpus = built_in_scenarios()
    training = [s for s in corpus if s.split == "train"]
    return examine(judge, [s for s in corpus if s.split == "held_out"], built_in_gold(), calibrate_on=training)


def attack(
    judge: Judge, scenarios: Sequence[Task], gold: Mapping[str, GoldPair], track: Track = iter
) -> list[dict[str, Any]]:
    """What attacks on a judge earn, beside the gold answers and honest answers in another form.

    Args:
        judge: to attack.
        scenarios: with rubrics; those without gold answers are left out.
        gold: pairs by scenario.
        track: shows progress over the answers' names.

    Returns:
        A row for each kind of answer: answer (its name), kind ("gold", "honest" or "attack"), mean score,
        beats_good (share of scenarios in which it scores above the good answer, ties half), beats_bad likewise,
        gated (share stopped by a gate) and ungraded (answers without a score, left out of the rest). An attack is made
        of a scenario's statements, say, and left out where the scenario has none.

    Raises:
        DataError: scenarios that the judge cannot grade.
    """
    chosen = [s for s in scenarios if s.id in gold]
    refuse_ungradable(judge, chosen)
    made: dict[str, tuple[str, Attack]] = {
        "good answer": ("gold", lambda _, g: g.good),
        "bad answer": ("gold", lambda _, g: g.bad),
    }
    made |= {name: ("honest", make) for name, make in HONEST.items()}
    made |= {name: ("attack", make) for name, make in ATTACKS.items()}
    scores: dict[str, Array] = {}
    rows: list[dict[str, Any]] = []
    for name in track(list(made)):
        kind, make = made[name]
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
    """A user's scenarios and gold pairs.

    Args:
        scenarios: JSONL as for training.
        gold: JSONL, `{"scenario": id, "good": text, "bad": text}` a line.
        taxonomy: The traits and domains that the scenarios may name; None: those that ship.

    Raises:
        DataError: faults of either file, or a pair of a scenario that is not there.
    """
    known = load_tasks(scenarios, taxonomy)
    return known, load_user_gold(gold, known, str(scenarios))


def _grades_of_texts(judge: Judge, scenarios: Sequence[Task], texts: Sequence[str]) -> list[Grade | None]:
    """The grade of each text that was made; None where there was nothing to make it of."""
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
