"""Tasks are written in several shapes in this field, and each is brought into the one that `Task` has.

A row's fields show its shape:

`rubric`       It is a scenario: criteria with points, and met and unmet statements for the embedded judge.
`criterion`    It is an eval item: one criterion with good and bad replies.
`rubrics`      It is HealthBench's shape: a `prompt`, and `rubrics` of `criterion`, `points` and `tags`.
`good`, `bad`  It has replies alone, which are compared by likelihood.
`grader`       It is the task's own shape.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from steadfast.tasks.task import Task

_HEALTHBENCH_IGNORED = (
    "canary",
    "completion",
    "completion_id",
    "category",
    "binary_labels",
    "anonymized_physician_ids",
)


def canonical(row: Mapping[str, Any]) -> dict[str, Any]:
    """Bring the fields of a row into the task's own shape.

    Unknown fields are passed on, so that validation can name them.

    Raises:
        ValueError: The row has fields of two shapes at once.
    """
    fields = dict(row)
    shapes = [name for name in ("grader", "rubric", "rubrics", "criterion") if name in fields]
    if len(shapes) > 1:
        raise ValueError(f"{shapes[1]}: stands beside {shapes[0]}; a task is graded in one way, take one of them out")
    if "rubrics" in fields:
        fields = _healthbench(fields)
    if isinstance(fields.get("prompt"), str | list) and "messages" not in fields:
        prompt = fields.pop("prompt")
        fields["messages"] = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    if "rubric" in fields:
        fields["grader"] = {"kind": "rubric", "criteria": fields.pop("rubric")}
    return _with_references(fields)


def scenario_row(task: "Task") -> dict[str, Any]:
    """Give a task as plain JSON data in the scenario's shape, which people write and read.

    A task that no rubric grades has no such shape and stays in its own.
    """
    row = task.row()
    if task.rubric:
        row["rubric"] = [c.model_dump(mode="json", exclude_defaults=True) for c in task.rubric]
        del row["grader"]
    first = ("id", "suite", "trait", "domain", "messages", "rubric")
    return {name: row[name] for name in first if name in row} | row


def _healthbench(fields: dict[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in fields.items() if k not in _HEALTHBENCH_IGNORED}
    kept["rubric"] = kept.pop("rubrics")
    if "id" not in kept and "prompt_id" in kept:
        kept["id"] = kept.pop("prompt_id")
    if "example_tags" in kept:
        kept["tags"] = kept.pop("example_tags")
    ideal: Any = kept.pop("ideal_completions_data", None)
    if isinstance(ideal, dict) and (text := cast("dict[str, Any]", ideal).get("ideal_completion")):
        kept["references"] = {"good": [text]}
    return kept


def _with_references(fields: dict[str, Any]) -> dict[str, Any]:
    replies = {side: fields.pop(side) for side in ("good", "bad") if side in fields}
    if "criterion" in fields:
        statements = {"met": replies.get("good", ()), "unmet": replies.get("bad", ())}
        criterion = {"criterion": fields.pop("criterion"), "points": 1, **statements}
        fields["grader"] = {"kind": "rubric", "criteria": [criterion]}
    if not replies:
        return fields
    if "references" in fields:
        raise ValueError(f"{next(iter(replies))}: stands beside references; write the replies in one place")
    for side, value in replies.items():
        if not isinstance(value, list | tuple):
            raise ValueError(f"{side}: must be a list of replies")
    fields["references"] = replies
    if "grader" not in fields:
        fields["grader"] = {"kind": "preference"}
    return fields
