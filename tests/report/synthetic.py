"""Synthetic run directories with known effects."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import polars as pl
import yaml

from steadfast.tasks import built_in_scenarios

EVALS = (
    ("deception-status-report", "deception", "general"),
    ("honesty-under-authority", "honesty", "general"),
    ("sycophancy-answer-flip", "sycophancy", "general"),
    ("reward-hacking-tests", "reward hacking", "code"),
    ("latent-safety-home", "latent safety risk", "general"),
    ("oversight-log", "anti-scheming", "general"),
    ("missing-information", "missing information", "general"),
    ("factuality-misconceptions", "factuality", "general"),
    ("shutdown-and-replacement", "self-preservation", "general"),
    ("instruction-hierarchy", "specification compliance", "general"),
    ("health-triage", "health", "health"),
    ("mental-health-support", "mental health", "mental-health"),
)
STEPS = 12

Row = dict[str, Any]


def make_run(
    directory: Path,
    *,
    arms: Sequence[str] = ("baseline", "health-only"),
    effect: Mapping[str, float] | None = None,
    trait_effect: Mapping[str, float] | None = None,
    choice: bool = True,
    edit: Callable[[Row], Row] = lambda row: row,
    seed: int = 0,
) -> Path:
    """Write a finished run directory.

    Args:
        directory: to fill.
        arms: trained.
        effect: what each arm adds to every battery score.
        trait_effect: what each arm adds to every held-out trait score.
        choice: whether the battery was scored by likelihood.
        edit: last change to each results row.
        seed: of the noise.
    """
    noise = np.random.default_rng(seed)
    rows: list[Row] = []
    for checkpoint in ("pre-RL", *arms):
        shift, rise = (effect or {}).get(checkpoint, 0.0), (trait_effect or {}).get(checkpoint, 0.0)
        rows += _battery(checkpoint, shift, choice, noise) + _traits(checkpoint, rise, noise) + _rest(checkpoint, noise)
    directory.mkdir(parents=True, exist_ok=True)
    pl.DataFrame([edit(r) for r in rows], infer_schema_length=None).write_parquet(directory / "results.parquet")
    (directory / "recipe.yaml").write_text(
        yaml.safe_dump(
            {"name": "synthetic", "about": "Planted effects.", "arms": list(arms), "training": {"steps": STEPS}}
        )
    )
    files: dict[str, Any] = {
        "protocol.json": {
            "recipe": "aa11",
            "evals": "bb22",
            "training judge": {"name": "embedded", "protocol": "cc33"},
        },
        "environment.json": {"python": "3.11.7", "packages": {"torch": "2.13.0"}},
        "disjoint.json": {"training scenario x eval item": 12345},
        "timing.json": {"sessions": [600.0, 60.0]},
    }
    for name, value in files.items():
        (directory / name).write_text(json.dumps(value))
    for arm in arms:
        _training(directory / "arms" / arm, arm, noise)
    return directory


def _row(checkpoint: str, kind: str, name: str, construct: str, domain: str, scoring: str, item: str) -> Row:
    return {
        "checkpoint": checkpoint, "kind": kind, "eval": name, "construct": construct, "domain": domain,
        "source": "steadfast", "scoring": scoring, "item": item, "score": None, "answer": None,
        "finished": None, "refused": None, "detail": "{}",
    }  # fmt: skip


def _battery(checkpoint: str, shift: float, choice: bool, noise: np.random.Generator) -> list[Row]:
    rows: list[Row] = []
    for number, (name, construct, domain) in enumerate(EVALS):
        if choice:
            for i in range(16):
                base = 0.4 + 0.02 * number + 0.01 * i
                row = _row(checkpoint, "battery", name, construct, domain, "choice", f"{name}-{i}")
                row["score"] = float(np.clip(base + shift + noise.normal(0, 0.02), 0, 1))
                row["detail"] = json.dumps({"pairs_won": float(row["score"] > 0.5)})
                rows.append(row)
        for i in range(3):
            row = _row(checkpoint, "battery", name, construct, domain, "generation", f"{name}-{i}")
            row |= {"score": float(np.clip(0.5 + shift + noise.normal(0, 0.1), 0, 1)), "answer": "Some answer."}
            row |= {"finished": True, "refused": bool(noise.random() < 0.1)}
            rows.append(row)
    return rows


def _traits(checkpoint: str, rise: float, noise: np.random.Generator) -> list[Row]:
    rows: list[Row] = []
    held_out = [s for s in built_in_scenarios() if s.split == "held_out"]
    # By checksum, so that the sample mixes traits and domains however the corpus is ordered.
    for scenario in sorted(held_out, key=lambda s: crc32(s.id.encode()))[:24]:
        name = f"trait:{scenario.trait}"
        for scoring in ("choice", "generation"):
            row = _row(checkpoint, "trait", name, scenario.trait, scenario.domain, scoring, scenario.id)
            row["score"] = float(np.clip(0.4 + rise + noise.normal(0, 0.05), 0, 1))
            if scoring == "generation":
                verdicts = [[c.criterion, round(float(noise.random()), 3)] for c in scenario.rubric]
                row |= {"answer": f"{checkpoint} answers {scenario.id}.", "finished": True, "refused": False}
                row["detail"] = json.dumps(
                    {
                        "verdicts": verdicts,
                        "gate": None,
                        "judge": "embedded-plain",
                        "training_judge_score": row["score"],
                    }
                )
            rows.append(row)
    return rows


def _rest(checkpoint: str, noise: np.random.Generator) -> list[Row]:
    rows: list[Row] = []
    for task in ("addition", "gcd", "spelling", "instructions"):
        for i in range(12):
            row = _row(
                checkpoint, "capability", f"capability-{task}", "capability", "general", "verified", f"{task}-{i}"
            )
            rows.append(
                row
                | {
                    "score": float(crc32(f"{checkpoint}/{task}-{i}".encode()) % 10 < 4),
                    "answer": "7",
                    "finished": True,
                    "refused": False,
                }
            )
    for i in range(20):
        row = _row(checkpoint, "chat", "chat-everyday-requests", "over-refusal", "general", "generation", f"chat-{i}")
        rows.append(row | {"score": 0.5, "answer": "Sure.", "finished": bool(noise.random() < 0.9), "refused": False})
    return rows


def _training(directory: Path, arm: str, noise: np.random.Generator) -> None:
    directory.mkdir(parents=True)
    pools = ("standard",) if arm == "baseline" else ("standard", "helpfulness" if arm == "helpfulness" else "trait")
    train = [s.id for s in built_in_scenarios() if s.split == "train"]
    metrics: list[Row] = []
    rollouts: list[Row] = []
    for step in range(1, STEPS + 1):
        values: Row = {"step": step, "length": 20.0 + step, "entropy": 1.0, "kl": 0.01 * step, "grad_norm": 0.1}
        values |= {"truncated_share": 0.1, "dead_group_share": 0.2}
        for pool in pools:
            values[f"reward/{pool}"] = 0.3 + 0.02 * step + float(noise.normal(0, 0.03))
            values[f"reward_finished/{pool}"] = None if step == 3 else 0.35 + 0.02 * step
            values[f"dead_group_share/{pool}"] = 0.2
            for i in range(4):
                prompt = train[step] if pool == "trait" else f"{pool}-{step}"
                rollouts.append(
                    {"step": step, "prompt": prompt, "pool": pool, "completion": i, "text": f"try {i}", "reward": i / 4,
                     "detail": "{}", "finished": i != 0, "tokens": 5}
                )  # fmt: skip
        metrics.append(values)
    (directory / "metrics.jsonl").write_text("".join(json.dumps(m) + "\n" for m in metrics))
    pl.DataFrame(rollouts).write_parquet(directory / "rollouts.parquet")
