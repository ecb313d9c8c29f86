"""What supervised training needs of its tasks: a correct answer that their own grader calls right."""

from collections.abc import Sequence

from steadfast.errors import ChatTemplateError, RecipeError
from steadfast.graders.program import grade_program
from steadfast.models.chat import ChatTemplate
from steadfast.rollouts import Rollout
from steadfast.study.arms import Arm
from steadfast.tasks import Task
from steadfast.tasks.programs import correct_answers
from steadfast.training.supervised import Demonstration, encode_demonstration


def refuse_without_answers(tasks: Sequence[Task], arm: Arm, where: str) -> None:
    """See that every task of an arm's slice has correct answers to imitate.

    Tasks of the standard pool that the arm shares with all others are not looked at: those of them that have an answer
    are imitated too, and the others leave their place empty.

    Args:
        tasks: The tasks of the slice.
        arm: The arm.
        where: What imitates them, for messages, such as "arm 'imitation'".

    Raises:
        RecipeError: Tasks have none, or have one that their program does not score 1; or the arm has taken on a rubric
            that replaces the tasks' own, of which no answer is known to be correct.
    """
    if arm.grader != "own":
        raise RecipeError(
            f"{where}: it imitates correct answers, and grader {arm.grader!r} replaces the tasks' own, by "
            "which their answers are correct; take it out, or lead the run by an arm with the tasks' own grader"
        )
    missing = [t.id for t in tasks if not correct_answers(t)]
    if missing:
        raise RecipeError(
            f"{where}: {len(missing)} of {len(tasks)} tasks ({', '.join(missing[:3])}) have no correct "
            "answer to imitate; give them good references (for scenarios in data.gold), or take it out"
        )
    wrong = [t.id for t in tasks if not all(_is_right(t, a) for a in correct_answers(t))]
    if wrong:
        raise RecipeError(
            f"{where}: {len(wrong)} of {len(tasks)} tasks ({', '.join(wrong[:3])}) have a reference that "
            "their own program does not score 1, so imitating it would teach what is wrong; mend the references"
        )


def _is_right(task: Task, answer: str) -> bool:
    return task.grader.kind != "program" or grade_program(Rollout.of_text(task, answer)).score == 1


def unencodable(chat: ChatTemplate, tasks: Sequence[Task], style: str | None) -> dict[str, str]:
    """Return why demonstrations of tasks cannot be shown to a model, by the task's id; empty if all can be."""
    found: dict[str, str] = {}
    for task in tasks:
        try:
            for answer in correct_answers(task):
                encode_demonstration(chat, Demonstration(task, answer, ""), style)
        except ChatTemplateError as error:
            found[task.id] = f"the correct answer to task {task.id!r}: {error}"
    return found
