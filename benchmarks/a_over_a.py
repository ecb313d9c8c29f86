"""What a finished run's baselines of different seeds show against one another, where nothing is to be found.

    steadfast run benchmarks/a_over_a.yaml
    python benchmarks/a_over_a.py runs/a-over-a [--group 3] [--json]

Prints, for each measure, the share of nominal 95% intervals that exclude zero, and their coverage, which is the rest.
What an attack did is measured as the report does it, by pair success after the harmful answers less that after the
careful ones: the difference of that between two baselines is a difference in differences where nothing is to be found.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl

from steadfast.analysis.a_over_a import Scores, false_findings
from steadfast.analysis.factorial import Cell, paired_scores
from steadfast.analysis.pairs import pair_successes
from steadfast.attacks.attack import CAREFUL
from steadfast.report.loading import PLAIN, load_run

MEASURES = {
    ("eval", "preference"): "evals, by likelihood",
    ("trait", "preference"): "gold answers, by likelihood",
    ("capability", "program"): "capability",
    ("twins", "program"): "twins, each side alone",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished run with its baseline under several seeds")
    parser.add_argument("--arm", default="baseline", help="the arm that is held against itself")
    parser.add_argument("--group", type=int, default=3, help="training runs on each side of a comparison over seeds")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    run = load_run(arguments.run)
    rows = run.results.filter((pl.col("checkpoint") == arguments.arm) & (pl.col("condition") == PLAIN))
    tables = {
        words: scores_of(mine, "score", "task")
        for (kind, grader), words in MEASURES.items()
        if not (mine := rows.filter((pl.col("kind") == kind) & (pl.col("grader") == grader))).is_empty()
    }
    twins = rows.filter((pl.col("kind") == "twins") & (pl.col("grader") == "program"))
    if not twins.is_empty():
        tables["twins, pair success"] = scores_of(pair_successes(twins), "success", "pair")
        tables |= after_attacks(run.attacked, arguments.arm)
    found = {words: false_findings(scores, group=arguments.group) for words, scores in tables.items()}
    if arguments.json:
        print(json.dumps({words: asdict(f) for words, f in found.items()}, indent=2))
        return
    print(f"| measure | seeds | suites | two runs, one suite | two runs, all suites | {arguments.group} runs each |")
    print("|---|---|---|---|---|---|")
    for words, f in found.items():
        print(f"| {words} | {f.seeds} | {f.suites} | {f.by_suite:.0%} | {f.pooled:.0%} | {f.over_seeds:.0%} |")


def scores_of(rows: pl.DataFrame, value: str, item: str) -> Scores:
    """The scores by seed and suite, on the items that every seed has a score of."""
    seeds = rows["seed"].n_unique()
    whole = rows.drop_nulls(value).filter(pl.col("seed").n_unique().over("suite", item) == seeds).sort(item)
    return {
        int(seed): {suite: mine[value].to_numpy() for (suite,), mine in of_seed.group_by("suite")}  # type: ignore[misc]
        for (seed,), of_seed in whole.group_by("seed")
    }


def after_attacks(rows: pl.DataFrame, arm: str) -> dict[str, Scores]:
    """For each attack with a control and each dose, pair success after the one less that after the other, by seed.

    The attack seeds of a training seed are averaged: they are no two pieces of evidence about the arm.
    """
    rows = rows.filter((pl.col("kind") == "twins") & (pl.col("grader") == "program") & (pl.col("condition") == PLAIN))
    there = set(rows.select("attack", "dose").unique().iter_rows())
    tables: dict[str, Scores] = {}
    for attack, dose in sorted(there):
        if (f"{attack}{CAREFUL}", dose) in there:
            cells = [Cell(arm, attack=attack, dose=dose), Cell(arm, attack=f"{attack}{CAREFUL}", dose=dose)]
            paired = paired_scores(rows, cells, twins="product")
            lost_SU = paired.scores_CSU[0] - paired.scores_CSU[1]
            whole, suites = ~np.isnan(lost_SU).any(axis=0), np.array(paired.suites)
            tables[f"twins, {attack} less {attack}{CAREFUL} after {dose} updates"] = {
                seed: {name: of_seed[whole & (suites == name)] for name in sorted(set(suites[whole].tolist()))}
                for seed, of_seed in zip(paired.seeds, lost_SU, strict=True)
            }
    return tables


if __name__ == "__main__":
    main()
