"""The battery by likelihood: tasks a second, minutes for all of it, and where the time goes.

    python benchmarks/battery.py [--items 120] [--rounds 2] [--seed 0] [--all]

Variants run in turn on the same seeded sample of tasks: one packed row a request as the weights come, the same with
prepacked linear layers, and rows of like length in batches. CPU seconds stand beside the clock's, since a busy
machine slows the clock and not the work; quote the ratios. `--all` times the whole battery in the last variant.
"""

import argparse
import json
import random
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from steadfast.models import LoadedModel, load_model, score_candidates
from steadfast.models.prepack import prepack_frozen_linears
from steadfast.tasks import battery

PARTS = {
    "linear layers": ("_linear_pointwise", "addmm", "aten::mm", "mkldnn_linear"),
    "attention": ("scaled_dot_product", "flash_attention"),
    "log-softmax": ("log_softmax", "nll_loss"),
}


def requests(loaded: LoadedModel) -> list[tuple[list[int], list[list[int]]]]:
    """The prompt and the references of every task, as token ids."""
    return [
        (
            loaded.chat.encode(task.messages),
            [
                list(loaded.tokenizer(reply, add_special_tokens=False)["input_ids"])
                for reply in (*task.references.good, *task.references.bad)
            ],
        )
        for suite in battery()
        for task in suite.paired
    ]


def timed(run: Callable[[], object]) -> tuple[float, float]:
    clock, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - clock, time.process_time() - cpu


def where(run: Callable[[], object]) -> dict[str, float]:
    """Share of the CPU time in each part."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        run()
    events = profiler.key_averages()
    total = sum(e.self_cpu_time_total for e in events)
    shares = {
        part: sum(e.self_cpu_time_total for e in events if any(n in e.key for n in names)) / total
        for part, names in PARTS.items()
    }
    return {k: round(v, 3) for k, v in (shares | {"all else": 1 - sum(shares.values())}).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()

    loaded, packed = load_model(), load_model()
    prepack_frozen_linears(packed.lm)
    everything = requests(loaded)
    sample = random.Random(options.seed).sample(everything, min(options.items, len(everything)))
    variants: dict[str, Callable[[], object]] = {
        "one by one": lambda: score_candidates(loaded.lm, sample, batch_tokens=1),
        "prepacked": lambda: score_candidates(packed.lm, sample, batch_tokens=1),
        "prepacked, batched": lambda: score_candidates(packed.lm, sample),
    }
    score_candidates(loaded.lm, sample[:2])
    score_candidates(packed.lm, sample[:2])
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for _ in range(options.rounds):
        for name, run in variants.items():
            times[name].append(timed(run))
    best = {name: (min(c for c, _ in t), min(p for _, p in t)) for name, t in times.items()}
    base = best["one by one"]
    report: dict[str, Any] = {
        "threads": torch.get_num_threads(),
        "battery": {"evals": len(battery()), "items": len(everything)},
        "tokens a request": round(sum(len(p) + sum(map(len, c)) for p, c in everything) / len(everything), 1),
        "sampled items": len(sample),
        "variants": {
            name: {
                "items/s": round(len(sample) / clock, 2),
                "minutes for all": round(clock / len(sample) * len(everything) / 60, 2),
                "CPU minutes for all": round(cpu / len(sample) * len(everything) / 60, 2),
                "times as fast (clock)": round(base[0] / clock, 2),
                "times as fast (CPU)": round(base[1] / cpu, 2),
            }
            for name, (clock, cpu) in best.items()
        },
        "where the time goes": where(lambda: score_candidates(packed.lm, sample[:24])),
    }
    if options.all:
        clock, cpu = timed(lambda: score_candidates(packed.lm, everything))
        report["whole battery"] = {"minutes": round(clock / 60, 2), "CPU minutes": round(cpu / 60, 2)}
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
