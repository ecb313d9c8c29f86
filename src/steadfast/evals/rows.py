"""The table of results: one row for each task, checkpoint, condition and grader."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from steadfast.graders.grade import VERDICTS, Grade
from steadfast.graders.refusal import is_refusal
from steadfast.rollouts import Rollout
from steadfast.tasks.suite import SuiteInfo
from steadfast.tasks.task import Task

ROW_SCHEMA: Mapping[str, Any] = {
    "checkpoint": pl.String,
    "seed": pl.Int64,
    "attack": pl.String,
    "dose": pl.Int64,
    "attack_seed": pl.Int64,
    "condition": pl.String,
    "kind": pl.String,
    "suite": pl.String,
    "construct": pl.String,
    "domain": pl.String,
    "trait": pl.String,
    "source": pl.String,
    "task": pl.String,
    "pair": pl.String,
    "group": pl.String,
    "format": pl.String,
    "wording": pl.Int64,
    "grader": pl.String,
    "judge": pl.String,
    "protocol": pl.String,
    "score": pl.Float64,
    "nats": pl.Float64,
    "mismatched": pl.String,
    "answer": pl.String,
    "thoughts": pl.String,
    "finished": pl.Boolean,
    "refused": pl.Boolean,
    "gate": pl.String,
    "reason": pl.String,
    "verdicts": VERDICTS,
}
"""The columns. `score` lies in [0, 1], and null means that the task was not graded, for the `reason` beside it. Where
likelihoods are compared, `nats` is the mean difference between good and bad replies, and `mismatched` the task after
whose conversation the replies were tried too; null there means a greeting. `attack` is what was done to the checkpoint
after its training, `dose` its updates and `attack_seed` the seed of their order; all three are null before any."""

PREFERENCE, LETTERS, HARM, GOAL, PUBLIC = "preference", "letters", "harm", "goal", "public"

FOLLOWED = "followed"
"""Whether an answer followed the benign persona that it was asked under: 1, or 0. It stands beside each answer's own
score, under the same condition and task; `protocol` names the check, and `gate` what alone made it 0: "empty",
"looping", "copied" (the answer repeats the persona's words), or "truncated" (the token limit cut the answer off, and
its beginning does not show it). Episodes with tools have none."""

GRADED, PLAIN_WORDS, PLAIN_ENDS, REPLY_ONLY = "preference_graded", "plain_words", "plain_ends", "reply_only"
"""Beside a preference: its logistic form; word tokens, and all other tokens, after the conversation, without taking
the mismatched one off; word tokens after a greeting."""

BESIDE = (GRADED, PLAIN_WORDS, PLAIN_ENDS, REPLY_ONLY, HARM, GOAL, FOLLOWED)
"""Graders that say more about a task that another grader scores."""

BY_REFERENCES = (PREFERENCE, LETTERS)
"""Graders that compare a task's references, by likelihood or, where a model shows none, by an A/B question."""

BY_ANSWER = ("rubric", "program", "outcome", "refusal")
"""Graders of what the model did."""

CONSTANT = "constant"
"""The condition of rows that no model made: what constant answers earn."""

PLAIN = "plain"
"""The condition of the checkpoint as it is, which takes the likeliest token at each step."""

SAMPLED = "sampled"
"""The condition of answers that are drawn at the training temperature."""

PERSONA = "persona:"
"""What the name of a condition under a persona begins with; the whole is `persona:NAME/WORDING`, from wording 1 on."""

TEMPERATURE = "temperature:"
"""What the name of a condition at a temperature begins with; the whole is `temperature:T`."""

TURN = "turn:"
"""What the name of a condition late in a conversation begins with; the whole is `turn:TURN/CONVERSATION`."""


UNATTACKED = pl.col("attack").is_null()
"""Selects the rows of checkpoints as training left them. An attack does not rename a checkpoint, so whoever compares
checkpoints by name selects these first."""


AT = "@"
"""What stands between an arm's name and the training step of an earlier checkpoint of it, as in "health-only@8"."""

EARLIER = pl.col("checkpoint").str.contains(rf"{AT}\d+$") & pl.col("seed").is_not_null()
"""Selects the rows of earlier checkpoints, which are no arms: whoever compares checkpoints leaves them out. A model
behind an API, whose name may end so too, has no training seed."""


class Place:
    """Where rows belong.

    Args:
        checkpoint: The checkpoint's name.
        seed: The seed that it was trained with; None for one without.
        condition: The condition under which it was asked.
        attack: What was done to it after its training; None for nothing.
        dose: The attack's updates; None before any.
        attack_seed: The seed of the attack's data order; None before any.
    """

    def __init__(
        self,
        checkpoint: str,
        seed: int | None,
        condition: str,
        attack: str | None = None,
        dose: int | None = None,
        attack_seed: int | None = None,
    ) -> None:
        self.fields: dict[str, Any] = {"checkpoint": checkpoint, "seed": seed, "condition": condition}
        self.fields |= {"attack": attack, "dose": dose, "attack_seed": attack_seed}

    def row(
        self, suite: SuiteInfo, task: Task, grader: str, score: float | None, reason: str | None = None, **more: Any
    ) -> dict[str, Any]:
        """A row; columns that are not given are null."""
        return {
            **dict.fromkeys(ROW_SCHEMA),
            **self.fields,
            "kind": suite.kind,
            "suite": suite.name,
            "construct": suite.construct,
            "domain": task.domain or suite.domain,
            "trait": task.trait,
            "source": suite.source,
            "task": task.id,
            "pair": task.pair,
            "group": suite.group or None,
            "format": task.format,
            "wording": task.wording,
            "grader": grader,
            "score": score,
            "reason": reason,
            **more,
        }

    def graded(self, suite: SuiteInfo, rollout: Rollout, grade: Grade) -> dict[str, Any]:
        """The row of a rollout and one grade of it."""
        return self.row(
            suite,
            rollout.task,
            rollout.task.grader.kind,
            grade.score,
            grade.error,
            judge=grade.judge,
            protocol=grade.protocol,
            answer=rollout.transcript if rollout.answered else None,
            thoughts=rollout.thoughts or None,
            finished=rollout.finished if rollout.answered else None,
            refused=is_refusal(rollout.text) if rollout.answered else None,
            gate=grade.gate,
            verdicts=[{"criterion": v.criterion, "score": v.score, "reason": v.reason} for v in grade.verdicts],
        )


def table(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows as the table of results."""
    return pl.DataFrame(rows, schema=dict(ROW_SCHEMA))
