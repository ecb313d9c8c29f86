"""Time and memory of the near-duplicate proof on scenarios that share much of their wording.

Every scenario is 60 words of a boilerplate that all of them have, one of 200 stock sentences of 14 words, and 90 words
of its own drawn from 5,000 words as unevenly as those of a language. No pair is a near-duplicate, but every pair shares
two fifths of its trigrams. Each size runs in a process of its own.

    python benchmarks/overlap.py [SIZE ...]
"""

import multiprocessing
import resource
import sys
import time

import numpy as np

SIZES = (1_000, 10_000, 100_000)


def scenarios(count: int, seed: int) -> dict[str, str]:
    rng = np.random.default_rng(seed)
    fixed = np.random.default_rng(0)
    vocabulary = [f"w{i}" for i in range(5_000)]
    zipf = 1 / np.arange(1, len(vocabulary) + 1)
    boilerplate = " ".join(fixed.choice(vocabulary, 60))
    stock = [" ".join(fixed.choice(vocabulary, 14)) for _ in range(200)]
    own = rng.choice(len(vocabulary), (count, 90), p=zipf / zipf.sum())
    sentence = rng.integers(len(stock), size=count)
    return {
        f"s{seed}-{i}": f"{boilerplate} {stock[sentence[i]]} {' '.join(vocabulary[w] for w in own[i])}"
        for i in range(count)
    }


def measure(count: int, answers: "multiprocessing.Queue[tuple[float, ...]]") -> None:
    from steadfast.tasks import prove_disjoint

    pools = {"train": scenarios(count * 3 // 4, 1), "held-out": scenarios(count - count * 3 // 4, 2)}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began, worked = time.perf_counter(), time.process_time()
    (pairs,) = prove_disjoint(pools).values()
    seconds, worked = time.perf_counter() - began, time.process_time() - worked
    answers.put((pairs, seconds, worked, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before))


def main() -> None:
    sizes = [int(a) for a in sys.argv[1:]] or SIZES
    context = multiprocessing.get_context("spawn")
    print(f"{'scenarios':>10} {'pairs':>14} {'seconds':>9} {'of the CPU':>11} {'MB beyond the texts':>20}")
    for count in sizes:
        answers = context.Queue()
        process = context.Process(target=measure, args=(count, answers))
        process.start()
        pairs, seconds, worked, megabytes = answers.get()
        process.join()
        print(f"{count:>10,} {pairs:>14,} {seconds:>9.2f} {worked:>11.2f} {megabytes:>20.0f}")


if __name__ == "__main__":
    main()
