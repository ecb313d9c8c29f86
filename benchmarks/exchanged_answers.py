"""How often both twins get the other's right answer: whether the flipped arm was moved the other way.

    steadfast demo 'arms=[baseline, health-only, shuffled, flipped]' --out runs/flipped
    python benchmarks/exchanged_answers.py runs/flipped

Pair success has no room below a baseline that is near zero, so it cannot show that a flipped reward was learned. This
grades each answer by the twin's program instead. Prints Markdown: points by rung, checkpoint and seed, and the arm's
difference from the baseline with Student's 95% interval over training seeds.
"""

import argparse
from pathlib import Path

import polars as pl

from steadfast.analysis.pairs import by_seed, pair_successes
from steadfast.analysis.seeds import seed_interval
from steadfast.evals.rows import PLAIN
from steadfast.graders.program import grade_program
from steadfast.report.loading import load_run
from steadfast.rollouts import Rollout
from steadfast.study.arms import BASELINE
from steadfast.study.data import StudyData
from steadfast.study.rungs import RUNGS, rung_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished run on twins")
    parser.add_argument("--arm", default="flipped")
    arguments = parser.parse_args()
    run = load_run(arguments.run)
    tasks = {t.id: t for suite in StudyData.load(run.recipe).ladder for t in suite.tasks}
    twins = run.results.filter((pl.col("kind") == "twins") & (pl.col("condition") == PLAIN))
    unfinished = ~pl.col("finished").cast(pl.Boolean)
    rows = twins.with_columns(pl.when(unfinished).then(pl.lit("")).otherwise(pl.col("answer")).alias("answer"))
    scores = [
        grade_program(Rollout.of_text(tasks[pair], answer or "")).score
        for pair, answer in rows["pair", "answer"].rows()
    ]
    trained = run.trained_twins
    assert trained is not None, "the run trained on no twins"
    pairs = pair_successes(rows.with_columns(pl.Series("score", scores, dtype=pl.Float64)))
    pairs = pairs.with_columns(rung_of(run.recipe.arm(run.recipe.leading_arm), trained).alias("rung"))
    names = [c for c in run.checkpoints if c in set(pairs["checkpoint"])]
    print(f"| both twins given the other's answer | {' | '.join(names)} | {arguments.arm} less {BASELINE} |")
    print("|---" * (len(names) + 2) + "|")
    for rung in RUNGS:
        found = by_seed(pairs.filter(pl.col("rung") == rung))
        levels = {n: found.filter(pl.col("checkpoint") == n).sort("seed")["success"].to_list() for n in names}
        if not levels[arguments.arm]:
            continue
        shown = [", ".join(f"{100 * x:.1f}" for x in levels[n]) for n in names]
        change = seed_interval([a - b for a, b in zip(levels[arguments.arm], levels[BASELINE], strict=True)])
        told = f"{100 * change.estimate:+.1f} [{100 * change.low:.1f}, {100 * change.high:.1f}]"
        print(f"| {rung} | {' | '.join(shown)} | {told} |")


if __name__ == "__main__":
    main()
