"""Matrix products of SmolLM2-135M's layers, plain and prepacked, in turn: GFLOP/s and the ratio, by rows.

python benchmarks/linear_prepack.py
"""

import time

import torch
from torch import nn

from steadfast.models.prepack import prepack_frozen_linears

SHAPES = [(576, 576), (576, 192), (576, 192), (576, 576), (576, 1536), (576, 1536), (1536, 576)] * 30 + [(576, 49152)]


def seconds(layers: list[nn.Linear], rows: int) -> float:
    inputs = {width: torch.randn(rows, width) for width in (576, 1536)}
    best = float("inf")
    with torch.no_grad():
        for _ in range(4):
            start = time.perf_counter()
            for layer in layers:
                layer(inputs[layer.in_features])
            best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    plain = [nn.Linear(i, o, bias=False).requires_grad_(False) for i, o in SHAPES]
    packed = [nn.Linear(i, o, bias=False).requires_grad_(False) for i, o in SHAPES]
    print(f"{prepack_frozen_linears(nn.ModuleList(packed))} layers packed, {torch.get_num_threads()} threads")
    operations = 2 * sum(i * o for i, o in SHAPES)
    for rows in (1, 8, 32, 64, 128, 512):
        first, second = seconds(plain, rows), seconds(packed, rows)
        speeds = [operations * rows / s / 1e9 for s in (first, second)]
        print(f"{rows:4d} rows: plain {speeds[0]:4.0f} GFLOP/s, packed {speeds[1]:4.0f}, ratio {first / second:.2f}")


if __name__ == "__main__":
    main()
