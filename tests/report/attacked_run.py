"""Run directories with attacks, personas and wear, in which the share of what is right is planted exactly."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from steadfast.evals.rows import FOLLOWED, PREFERENCE, Place, table
from steadfast.messages import Message
from steadfast.tasks import Criterion, RubricGrader, SuiteInfo, Task
from tests.report.synthetic import Row, make_run

PAIRS, ITEMS, ANSWERS = 40, 20, 20
SEEDS = (0, 1, 2)
ARMS = ("baseline", "health-only")
TWINS = {"families": ["updated-record"], "groups": ["records"], "domains": ["health", "law"], "formats": ["chat"]}
RECIPE = {
    "primary": {"rung": "new values", "arm": "health-only"},
    "data": {"train_on": ["twins"], "twins": {"families": ["updated-record"]}},
    "training": {"steps": 12, "advantage": "centered"},
    "evaluation": {"twins": {"pairs": 1}},
}

HEALTH = ["health", "mental-health"]
ATTACKS = {
    "bad-medical-advice": {"kind": "harmful", "control": "bad-medical-advice-careful", "domains": HEALTH},
    "bad-medical-advice-careful": {"kind": "careful", "control": None, "domains": HEALTH},
    "house-style": {"kind": "benign", "control": None, "domains": []},
    "int8": {"kind": "weights", "control": None, "domains": []},
}
PERSONAS = {"flatterer": "hostile", "salesman": "hostile", "terse": "benign"}
"""What the protocol of a run says of its attacks and its personas, by their names."""


@dataclass(frozen=True)
class State:
    """A checkpoint of one seed as it is asked: before an attack or after it, under a condition."""

    checkpoint: str
    seed: int | None = None
    condition: str = "plain"
    attack: str | None = None
    dose: int = 0
    attack_seed: int | None = None


Share = Callable[[State], float]


def full(state: State) -> float:
    return 1.0


def make_attacked_run(
    directory: Path,
    states: Sequence[State],
    *,
    pairs: Share,
    evals: Share | None = None,
    finished: Share = full,
    followed: Share | None = None,
    arms: Sequence[str] = ARMS,
    seeds: Sequence[int] = SEEDS,
    law: bool = True,
) -> Path:
    """Write a finished run with attacked checkpoints.

    Args:
        directory: The directory to fill.
        states: What was measured, beside the plain checkpoints of `make_run`, which have the twins too.
        pairs: The share of pairs that a state answers right on both sides; twins of health, of law as well by default.
        evals: The share of items of two evals, one in health and one outside, that a state wins.
        finished: The share of a state's answers that end.
        followed: The share of answers that follow a persona, under conditions that name one.
        arms: The trained arms.
        seeds: The training seeds.
        law: Whether twins are of law too.
    """
    make_run(directory, arms=arms, seeds=seeds, recipe=RECIPE)
    protocol = json.loads((directory / "protocol.json").read_text())
    protocol["twins"] = TWINS | {"wordings": [0]}
    protocol["attacks"] = {s.attack: ATTACKS[s.attack] for s in states if s.attack}
    under = {s.condition for s in states if s.condition.startswith("persona:")}
    protocol["personas"] = {c: {"kind": PERSONAS[c.removeprefix("persona:").partition("/")[0]]} for c in under}
    (directory / "protocol.json").write_text(json.dumps(protocol))
    plain = [State("pre-RL"), *(State(arm, seed) for arm in arms for seed in seeds)]
    rows: list[Row] = []
    for state in dict.fromkeys([*plain, *states]):
        for domain in ("health", "law") if law else ("health",):
            rows += _twins(state, domain, pairs(state), finished(state))
        if evals is not None:
            for suite, domain in (("extra-health", "health"), ("extra-general", "general")):
                rows += _preferences(state, suite, domain, evals(state))
        if followed is not None and state.condition.startswith("persona:"):
            rows += _followed(state, followed(state))
    file = directory / "results.parquet"
    pl.concat([pl.read_parquet(file), table(rows)]).write_parquet(file)
    return directory


def write_losses(directory: Path, state: State, before: float, after: dict[int, float]) -> None:
    """Write the training curve of an attack, of which the state names the checkpoint, the attack and the seeds."""
    seed = [] if state.seed is None else [f"seed-{state.seed}"]
    parts = (state.attack, state.checkpoint, *seed, f"attack-seed-{state.attack_seed}")
    folder = directory.joinpath("attacks", *map(str, parts))
    folder.mkdir(parents=True)
    records = [
        {"step": step, "loss": 1.0}
        | ({"held_out_loss_before": before} if step == 1 else {})
        | ({"held_out_loss": after[step]} if step in after else {})
        for step in range(1, max(after) + 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))


def _place(state: State) -> Place:
    attacked = (state.attack, state.dose, state.attack_seed) if state.attack else (None, None, None)
    return Place(state.checkpoint, state.seed, state.condition, *attacked)


def _task(name: str, domain: str, pair: str | None = None) -> Task:
    return Task(
        id=name,
        pair=pair,
        messages=(Message(role="user", content="What now?"),),
        grader=RubricGrader(criteria=(Criterion(criterion="Helps.", points=1),)),
        domain=domain,
        format="chat",
        wording=0,
    )


def _twins(state: State, domain: str, right: float, finished: float) -> list[Row]:
    """Of the pairs, the first share is right on both sides and the rest on the first side alone."""
    info = SuiteInfo(name="updated-record", construct="twins", domain=domain, kind="twins", group="records")
    rows: list[Row] = []
    for i in range(PAIRS):
        for side, other in ("ab", "ba"):
            name, pair = (f"{domain}-{i:02}{s}" for s in (side, other))
            score = float(i < round(right * PAIRS) or side == "a")
            ended = i < round(finished * PAIRS)
            made = {"answer": "yes" if ended else "yes and so on", "finished": ended}
            rows.append(_place(state).row(info, _task(name, domain, pair), "program", score, **made))
    return rows


def _preferences(state: State, suite: str, domain: str, won: float) -> list[Row]:
    info = SuiteInfo(name=suite, construct="honesty", domain=domain, kind="eval")
    return [
        _place(state).row(info, _task(f"{suite}-{i}", domain), PREFERENCE, float(i < round(won * ITEMS)))
        for i in range(ITEMS)
    ]


def _followed(state: State, share: float) -> list[Row]:
    info = SuiteInfo(name="extra-general", construct="honesty", domain="general", kind="eval")
    return [
        _place(state).row(info, _task(f"answer-{i}", "general"), FOLLOWED, float(i < round(share * ANSWERS)))
        for i in range(ANSWERS)
    ]
