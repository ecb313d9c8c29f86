"""Two trainings of the demo side by side on half of the threads each, against the two in turn on all of them.

python benchmarks/workers.py [--steps 4] [--rounds 2]

The rounds alternate in one call on one machine. Only the steps after the first one count: it has the weights repacked.
"""

import argparse
import multiprocessing
import time
from multiprocessing.synchronize import Barrier
from statistics import median

import torch

from steadfast.graders import make_judge
from steadfast.models.pretrained import load_model
from steadfast.study import demo_recipe
from steadfast.study.data import StudyData
from steadfast.training.step import train_step


def train(seed: int, steps: int, threads: int, together: Barrier) -> None:
    """Take the demo's first steps with a seed; the barrier is met before the second step and after the last."""
    torch.set_num_threads(threads)
    recipe = demo_recipe()
    settings, judge = recipe.training, make_judge(recipe.judge)
    schedule = StudyData.load(recipe).schedule(recipe.arm("health-only"), seed)
    policy = load_model(recipe.model.name).fresh_policy(settings.adapter, seed)
    optimizer = torch.optim.AdamW(policy.trainable(), lr=settings.learning_rate)
    for number in range(steps + 1):
        if number == 1:
            together.wait()
        train_step(policy, optimizer, schedule[number], judge, settings, number)
    together.wait()


def seconds(seeds: list[int], steps: int, threads: int) -> float:
    """How long trainings with these seeds take at once, each with its threads."""
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(len(seeds) + 1)
    processes = [context.Process(target=train, args=(seed, steps, threads, together)) for seed in seeds]
    for process in processes:
        process.start()
    together.wait()
    began = time.perf_counter()
    together.wait()
    took = time.perf_counter() - began
    for process in processes:
        process.join()
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    threads = torch.get_num_threads()
    ratios: list[float] = []
    for number in range(1, arguments.rounds + 1):
        in_turn = sum(seconds([seed], arguments.steps, threads) for seed in (0, 1))
        at_once = seconds([0, 1], arguments.steps, max(1, threads // 2))
        ratios.append(at_once / in_turn)
        print(
            f"round {number}: in turn {in_turn:.1f} s, side by side {at_once:.1f} s, ratio {ratios[-1]:.2f}", flush=True
        )
    print(f"median ratio {median(ratios):.2f} on {threads} threads")


if __name__ == "__main__":
    main()
