"""What a constant answer, a refusal to everything, a yes to everything and choices by surface earn.

    python benchmarks/constant_answers.py [--judge embedded-plain] [--limit 0.65]

Every run and every `steadfast evaluate` grades the same constants on what it measures; this needs no model, takes the
whole battery and all held-out scenarios, and holds the constants against chance and policies against the references.

Prints Markdown tables. Intervals of the battery are over evals, those of one eval over its items, both 95%.
"""

import argparse
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from steadfast.analysis import clustered_bootstrap, item_bootstrap
from steadfast.evals.surface import CONSTANTS, ScoresByEval, constant_scores, policy_scores
from steadfast.graders import Judge, make_judge
from steadfast.rollouts import Rollout
from steadfast.tasks import battery, built_in_scenarios

CHANCES = ("chance", "chance, without itself")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judge", default="embedded-plain")
    parser.add_argument("--limit", type=float, default=0.65, help="name evals in which a policy wins more often")
    arguments = parser.parse_args()
    judge = make_judge(arguments.judge)
    print_scenarios(judge)
    print_constants(constant_scores(battery(), judge), arguments.judge)
    policies = policy_scores(battery())
    print_policies(policies)
    for name, scores in policies.items():
        print_biased(name, scores, arguments.limit)


def print_row(label: str, scores: NDArray[np.float64]) -> None:
    mean = item_bootstrap(scores)
    print(f"| {label} | {mean.estimate:.3f} | {mean.low:.3f} to {mean.high:.3f} |")


def print_scenarios(judge: Judge) -> None:
    """The floor under the rewarded traits: what a constant earns on all scenarios that are held out."""
    held_out = [s for s in built_in_scenarios() if s.split == "held_out"]
    print(f"\n## the {len(held_out)} scenarios held out, graded by {judge.name}\n")
    print("| answer | mean score | 95% interval over scenarios |")
    print("|---|---|---|")
    for label, text in CONSTANTS.items():
        grades = judge.grade([Rollout.of_text(s, text) for s in held_out])
        print_row(label, np.array([g.score for g in grades if g.score is not None]))


def print_constants(scores: dict[str, ScoresByEval], judge: str) -> None:
    print(f"\n## free answers, graded by {judge}\n")
    print("| answer | mean score | 95% interval over evals | minus chance | 95% interval | evals above chance |")
    print("|---|---|---|---|---|---|")
    for label in (*CHANCES, *CONSTANTS):
        by_eval = scores[label]
        mean = clustered_bootstrap(list(by_eval.values()))
        row = f"| {label} | {mean.estimate:.3f} | {mean.low:.3f} to {mean.high:.3f} |"
        if label in CHANCES:
            print(f"{row} | | |")
            continue
        gap = clustered_bootstrap([by_eval[e] - scores["chance"][e] for e in by_eval])
        above = [e for e in by_eval if by_eval[e].mean() > scores["chance"][e].mean()]
        print(f"{row} {gap.estimate:+.3f} | {gap.low:+.3f} to {gap.high:+.3f} | {', '.join(above) or 'none'} |")


def print_policies(policies: dict[str, ScoresByEval]) -> None:
    print("\n## references compared, pairs won of a good and a bad reply (chance 0.5)\n")
    print("| takes | pairs won | 95% interval over evals | lowest eval | highest eval | items away from 0.5 |")
    print("|---|---|---|---|---|---|")
    print("| the first listed, each pair in both orders | 0.500 | exact | 0.500 | 0.500 | 0% |")
    for name, by_eval in policies.items():
        mean = clustered_bootstrap(list(by_eval.values()))
        low, high = (pick(by_eval, key=lambda e: by_eval[e].mean()) for pick in (min, max))
        away = np.mean([share != 0.5 for v in by_eval.values() for share in v])
        print(
            f"| {name} | {mean.estimate:.3f} | {mean.low:.3f} to {mean.high:.3f} | {low} {by_eval[low].mean():.2f} "
            f"| {high} {by_eval[high].mean():.2f} | {away:.0%} |"
        )


def mean_words(replies: Iterable[str]) -> float:
    """The mean number of words of a reply."""
    return float(np.mean([len(r.split()) for r in replies]))


def print_biased(name: str, by_eval: ScoresByEval, limit: float) -> None:
    biased = {e: v for e, v in by_eval.items() if v.mean() > limit}
    if not biased:
        return
    print(f"\n### evals in which taking {name!r} wins more than {limit:.0%} of pairs\n")
    print("| eval | items | pairs won | 95% interval over items | mean words, good | bad |")
    print("|---|---|---|---|---|---|")
    tasks = {s.name: s.paired for s in battery()}
    for e, v in sorted(biased.items(), key=lambda row: -row[1].mean()):
        interval = item_bootstrap(v)
        good, bad = (mean_words(r for t in tasks[e] for r in getattr(t.references, side)) for side in ("good", "bad"))
        print(
            f"| {e} | {len(v)} | {v.mean():.3f} | {interval.low:.2f} to {interval.high:.2f} | {good:.1f} | {bad:.1f} |"
        )


if __name__ == "__main__":
    main()
