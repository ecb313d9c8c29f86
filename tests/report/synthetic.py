"""Synthetic run directories with known effects."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zlib import crc32

import numpy as np
import polars as pl
import yaml

from steadfast.evals.rows import (
    BESIDE,
    BY_ANSWER,
    CONSTANT,
    GOAL,
    HARM,
    PLAIN_ENDS,
    PLAIN_WORDS,
    PREFERENCE,
    ROW_SCHEMA,
    Place,
    table,
)
from steadfast.messages import Message
from steadfast.rundir import RunDirectory
from steadfast.study.arms import shipped_arms
from steadfast.tasks import Criterion, RubricGrader, SuiteInfo, Task, built_in_scenarios

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
TRAINING_JUDGE, EVALUATION_JUDGE = "embedded", "embedded-plain"
PROTOCOL: dict[str, Any] = {
    "recipe": "aa11",
    "suites": {"oversight-log": "bb22"},
    "judges": {
        "training": {"name": TRAINING_JUDGE, "protocol": "cc33"},
        "evaluation": {"name": EVALUATION_JUDGE, "protocol": "dd44"},
    },
}

Row = dict[str, Any]


def make_run(
    directory: Path,
    *,
    arms: Sequence[str | Mapping[str, Any]] = ("baseline", "health-only"),
    effect: Mapping[str, float] | None = None,
    trait_effect: Mapping[str, float] | None = None,
    choice: bool = True,
    edit: Callable[[Row], Row] = lambda row: row,
    more: Callable[[str], Sequence[Row]] = lambda checkpoint: (),
    constants: Mapping[str, float] = MappingProxyType({"yes": 0.1, "a firm no": 0.2}),
    recipe: Mapping[str, Any] | None = None,
    seeds: Sequence[int] = (0,),
    seed: int = 0,
) -> Path:
    """Write a finished run directory.

    Args:
        directory: The directory to fill.
        arms: The trained arms, by name or as mappings of a user's own.
        effect: What each arm adds to every score of an eval.
        trait_effect: What each arm adds to every score of a held-out trait.
        choice: Whether evals were scored by likelihood.
        edit: The last change to each row.
        more: Further rows of a checkpoint, such as those of a user's own suite.
        constants: What each constant answer earns on every judged task; nothing where a program or facts decide.
        recipe: Further keys of the recipe.
        seeds: The training seeds, each with noise of its own.
        seed: Seeds the noise.
    """
    noise = np.random.default_rng(seed)
    names = [a if isinstance(a, str) else a["name"] for a in arms]
    run = RunDirectory(directory)
    run.claim(PROTOCOL)
    files: list[Path] = []
    for checkpoint in ("pre-RL", *names):
        shift, rise = (effect or {}).get(checkpoint, 0.0), (trait_effect or {}).get(checkpoint, 0.0)
        rows = [
            {**row, "seed": one}
            for one in ((None,) if checkpoint == "pre-RL" else seeds)
            for row in (
                *_battery(checkpoint, shift, choice, noise),
                *_traits(checkpoint, rise, noise),
                *_rest(checkpoint, noise),
                *more(checkpoint),
            )
        ]
        file = run.rows_file(checkpoint, "plain")
        file.parent.mkdir(parents=True, exist_ok=True)
        table([edit(r) for r in rows]).write_parquet(file)
        files.append(file)
    file = run.rows_file("constants", "all")
    file.parent.mkdir(parents=True, exist_ok=True)
    table(_constants([r for f in files for r in pl.read_parquet(f).to_dicts()], constants)).write_parquet(file)
    files.append(file)
    run.write_results(files, ROW_SCHEMA)
    described = {
        "name": "synthetic",
        "about": "Planted effects.",
        "arms": list(arms),
        "training": {"steps": STEPS},
        "seeds": list(seeds),
        **(recipe or {}),
    }
    (directory / "recipe.yaml").write_text(yaml.safe_dump(described, allow_unicode=True), encoding="utf-8")
    written: dict[str, Any] = {
        "environment.json": {"python": "3.11.7", "packages": {"torch": "2.13.0"}},
        "disjoint.json": {"training scenario x eval item": 12345},
        "timing.json": {"sessions": [600.0, 60.0]},
    }
    for name, value in written.items():
        (directory / name).write_text(json.dumps(value))
    for arm, name in zip(arms, names, strict=True):
        pool = shipped_arms()[name].pool if isinstance(arm, str) else arm.get("pool", "trait")
        for one in seeds:
            _training(directory / "arms" / name / f"seed-{one}", pool, noise)
    return directory


def _constants(rows: Sequence[Row], constants: Mapping[str, float]) -> list[Row]:
    """The rows of constant answers to all tasks that were answered, each graded once by each judge."""
    by_task = {
        (r["suite"], r["task"], r["judge"]): r
        for r in rows
        if r["kind"] in ("eval", "trait") and r["grader"] in BY_ANSWER
    }
    return [
        r
        | {"checkpoint": f"constant: {label}", "seed": None, "condition": CONSTANT, "answer": label, "finished": True}
        | {"score": score if r["grader"] == "rubric" else 0.0, "gate": None, "reason": None, "refused": False}
        for label, score in constants.items()
        for r in by_task.values()
    ]


def row(
    checkpoint: str, kind: str, suite: str, construct: str, domain: str, grader: str, task: str, **more: Any
) -> Row:
    """One row of the results; columns that are not given are null."""
    info = SuiteInfo(name=suite, construct=construct, domain=domain, kind=kind)
    asked = Task(
        id=task,
        messages=(Message(role="user", content="What now?"),),
        grader=RubricGrader(criteria=(Criterion(criterion="Helps.", points=1),)),
        domain=domain,
    )
    score = more.pop("score", None)
    return Place(checkpoint, 0, "plain").row(info, asked, grader, score, **more)


def answer(text: str, judge: str | None = EVALUATION_JUDGE, **more: Any) -> Row:
    """The columns of an answer and its grade."""
    return {"answer": text, "finished": True, "refused": False, "judge": judge, "verdicts": [], **more}


def _battery(checkpoint: str, shift: float, choice: bool, noise: np.random.Generator) -> list[Row]:
    rows: list[Row] = []
    for number, (name, construct, domain) in enumerate(EVALS):
        place = (checkpoint, "eval", name, construct, domain)
        if choice:
            for i in range(16):
                base = 0.4 + 0.02 * number + 0.01 * i
                score = float(np.clip(base + shift + noise.normal(0, 0.02), 0, 1))
                rows.append(row(*place, PREFERENCE, f"{name}-{i}", score=score))
                rows += [row(*place, g, f"{name}-{i}", score=score) for g in BESIDE if g not in (HARM, GOAL)]
        acted = name == "oversight-log"
        for i in range(3):
            score = float(np.clip(0.5 + shift + noise.normal(0, 0.1), 0, 1))
            made = answer("Some answer.", "outcome" if acted else EVALUATION_JUDGE, refused=bool(noise.random() < 0.1))
            rows.append(row(*place, "outcome" if acted else "rubric", f"{name}-{i}", score=score, **made))
            if acted:
                rows += [row(*place, grader, f"{name}-{i}", score=1.0) for grader in (HARM, GOAL)]
    return rows


def _traits(checkpoint: str, rise: float, noise: np.random.Generator) -> list[Row]:
    rows: list[Row] = []
    held_out = [s for s in built_in_scenarios() if s.split == "held_out"]
    # By checksum, so that the sample mixes traits and domains however the corpus is ordered.
    for scenario in sorted(held_out, key=lambda s: crc32(s.id.encode()))[:24]:
        place = (checkpoint, "trait", f"trait:{scenario.trait}", scenario.trait, scenario.domain)
        score = float(np.clip(0.4 + rise + noise.normal(0, 0.05), 0, 1))
        rows += [row(*place, g, scenario.id, score=score) for g in (PREFERENCE, PLAIN_WORDS, PLAIN_ENDS)]
        score = float(np.clip(0.4 + rise + noise.normal(0, 0.05), 0, 1))
        verdicts = [
            {"criterion": c.criterion, "score": round(float(noise.random()), 3), "reason": None}
            for c in scenario.rubric
        ]
        for judge in (EVALUATION_JUDGE, TRAINING_JUDGE):
            made = answer(f"{checkpoint} answers {scenario.id}.", judge, verdicts=verdicts)
            rows.append(row(*place, "rubric", scenario.id, score=score, **made))
    return rows


def _rest(checkpoint: str, noise: np.random.Generator) -> list[Row]:
    rows: list[Row] = []
    for kind in ("addition", "gcd", "spelling", "instructions"):
        place = (checkpoint, "capability", f"capability-{kind}", "capability", "general", "program")
        for i in range(12):
            solved = crc32(f"{checkpoint}/{kind}-{i}".encode()) % 10 < 4
            rows.append(row(*place, f"{kind}-{i}", score=float(solved), **answer("7", "program")))
    place = (checkpoint, "chat", "chat-everyday-requests", "over-refusal", "general", "refusal")
    for i in range(20):
        made = answer("Sure.", "refusal", finished=bool(noise.random() < 0.9))
        rows.append(row(*place, f"chat-{i}", score=0.5, **made))
    return rows


def _training(directory: Path, pool: str, noise: np.random.Generator) -> None:
    directory.mkdir(parents=True)
    train = [s.id for s in built_in_scenarios() if s.split == "train"]
    metrics: list[Row] = []
    rollouts: list[Row] = []
    for step in range(1, STEPS + 1):
        values: Row = {"step": step, "length": 20.0 + step, "entropy": 1.0, "kl": 0.01 * step, "grad_norm": 0.1}
        values |= {"tokens": 100 * step, "trained_tokens": 10 * step}
        values |= {"truncated_share": 0.1, "dead_group_share": 0.2, "ungraded": 0}
        for name in dict.fromkeys(("standard", pool)):
            values[f"reward/{name}"] = 0.3 + 0.02 * step + float(noise.normal(0, 0.03))
            values[f"reward_finished/{name}"] = None if step == 3 else 0.35 + 0.02 * step
            values[f"dead_group_share/{name}"] = 0.2
            for i in range(4):
                task = train[step] if name == "trait" else f"{name}-{step}"
                rollouts.append(
                    {"step": step, "task": task, "pool": name, "completion": i, "text": f"try {i}", "thoughts": None,
                     "reward": i / 4, "gate": None, "reason": None, "finished": i != 0, "tokens": 5}
                )  # fmt: skip
        metrics.append(values)
    (directory / "metrics.jsonl").write_text("".join(json.dumps(m) + "\n" for m in metrics))
    pl.DataFrame(rollouts, infer_schema_length=None).write_parquet(directory / "rollouts.parquet")
