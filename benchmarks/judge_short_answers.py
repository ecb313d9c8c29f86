"""How well the embedded judges tell good from bad when an answer is cut to a few sentences, as small models write.

    python benchmarks/judge_short_answers.py [--sentences 1 2 4] [--pool held_out]

Every run of that many sentences of a gold answer is graded as an answer of its own. Printed is the area under the ROC
curve, runs of good answers against runs of tempting-bad ones, with a 95% interval over scenarios.
"""

import argparse
from itertools import pairwise

import numpy as np
from scipy.stats import rankdata

from steadfast.graders import Judge, make_judge
from steadfast.graders.embedded.sentences import sentences
from steadfast.rollouts import Rollout
from steadfast.tasks import built_in_gold, built_in_scenarios

RESAMPLES = 500


def runs(text: str, length: int) -> list[str]:
    """Every run of `length` sentences; the whole text if it has fewer."""
    parts = sentences(text)
    return [" ".join(parts[k : k + length]) for k in range(max(1, len(parts) - length + 1))]


def auc(good: np.ndarray, bad: np.ndarray) -> float:
    """Share of (good, bad) pairs in which the good one scores higher, a tie counting half."""
    ranks = rankdata(np.concatenate([good, bad]))[: len(good)]
    return float((ranks.sum() - len(good) * (len(good) + 1) / 2) / (len(good) * len(bad)))


def measure(judge: Judge, length: int, pool: str) -> str:
    gold = built_in_gold()
    chosen = [s for s in built_in_scenarios() if s.id in gold and s.split == pool]
    texts = [[runs(t, length) for t in (gold[s.id].good, gold[s.id].bad)] for s in chosen]
    answers = [Rollout.of_text(s, t) for s, sides in zip(chosen, texts, strict=True) for side in sides for t in side]
    scores = np.array([g.score for g in judge.grade(answers)])
    ends = np.cumsum([0, *(len(side) for sides in texts for side in sides)])
    parts = [scores[a:b] for a, b in pairwise(ends)]
    good, bad = parts[::2], parts[1::2]
    value = auc(np.concatenate(good), np.concatenate(bad))
    generator = np.random.default_rng(0)
    drawn = generator.integers(len(chosen), size=(RESAMPLES, len(chosen)))
    resampled = [auc(np.concatenate([good[i] for i in d]), np.concatenate([bad[i] for i in d])) for d in drawn]
    low, high = np.quantile(resampled, [0.025, 0.975])
    return f"| {judge.name} | {length} | {len(answers)} | {value:.3f} | {low:.3f} to {high:.3f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--pool", default="held_out", choices=["held_out", "train"])
    arguments = parser.parse_args()
    print("| judge | sentences | answers | AUC | 95% interval |\n|---|---|---|---|---|")
    for name in ("embedded", "embedded-plain"):
        judge = make_judge(name)
        for length in arguments.sentences:
            print(measure(judge, length, arguments.pool), flush=True)


if __name__ == "__main__":
    main()
