"""Answers a second of the embedded judges: `python benchmarks/judge_speed.py [--answers 256] [--batch 64]`.

The answers are gold answers of 60 to 100 words, each text graded once, so no sentence is embedded twice. The rubrics'
statements are embedded beforehand, as in training, where every scenario comes up again and again. The best of three
rounds counts: other work on the machine can only slow a round down.
"""

import argparse
import time

import torch

from steadfast.graders import make_judge
from steadfast.rollouts import Rollout
from steadfast.tasks import built_in_gold, built_in_scenarios

ROUNDS = 3


def main() -> None:
    """Print answers a second of each judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--answers", type=int, default=256)
    parser.add_argument("--batch", type=int, default=64, help="answers graded in one call")
    arguments = parser.parse_args()
    gold = built_in_gold()
    pairs = [
        Rollout.of_text(s, t) for s in built_in_scenarios() if s.id in gold for t in (gold[s.id].good, gold[s.id].bad)
    ]
    answers = [a for a in pairs if 60 <= len(a.text.split()) <= 100][: arguments.answers]
    length = sum(len(a.text.split()) for a in answers) / len(answers)
    print(f"{len(answers)} answers of {length:.0f} words on average, {torch.get_num_threads()} threads")
    for name in ("embedded", "embedded-plain"):
        judge = make_judge(name)
        judge.grade([Rollout.of_text(a.task, "Nothing to say.") for a in answers])
        seconds: list[float] = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            for first in range(0, len(answers), arguments.batch):
                judge.grade(answers[first : first + arguments.batch])
            seconds.append(time.perf_counter() - start)
        print(f"{name}: {len(answers) / min(seconds):.0f} answers a second")


if __name__ == "__main__":
    main()
