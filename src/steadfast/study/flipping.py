"""The opposite reward: the control that must move a model the other way, if the reward says anything of the trait."""

from collections.abc import Sequence

from steadfast.errors import RecipeError
from steadfast.tasks import Criterion, RubricGrader, Task


def flipped(tasks: Sequence[Task], arm: str) -> list[Task]:
    """The tasks with the opposite reward: twins exchange graders, criteria exchange their met and unmet statements.

    Raises:
        RecipeError: A task has no opposite.
    """
    by_id = {t.id: t for t in tasks}
    found: list[Task] = []
    for task in tasks:
        twin = by_id.get(task.pair or "")
        if twin is not None:
            found.append(task.model_copy(update={"grader": twin.grader}))
        elif isinstance(task.grader, RubricGrader) and all(c.met and c.unmet for c in task.grader.criteria):
            found.append(task.with_rubric(tuple(_turned(c) for c in task.grader.criteria)))
        else:
            raise RecipeError(
                f"arm {arm!r}: the reward of task {task.id!r} has no opposite: it is not one of twins, and not every "
                "criterion of it has met and unmet statements; take the task out of the arm, or the arm out"
            )
    return found


def _turned(criterion: Criterion) -> Criterion:
    return criterion.model_copy(update={"met": criterion.unmet, "unmet": criterion.met})
