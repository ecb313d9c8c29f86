"""What becomes of a task's log."""

import pytest
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import Sample
from inspect_ai.solver import solver

from steadfast.errors import EvaluationError
from steadfast.evals import select
from steadfast.evals.results import Plan, plan_rows
from tests.evals import providers  # noqa: F401


@solver
def breaks():
    async def solve(state, generate):
        raise ValueError("the solver broke")

    return solve


def test_a_task_that_did_not_finish_is_an_error_with_the_place_of_its_log(tmp_path):
    task = Task([Sample("x")], solver=breaks(), name="broken")
    (log,) = inspect_eval(task, model="habits/always-a", log_dir=str(tmp_path), display="none")
    with pytest.raises(EvaluationError) as caught:
        plan_rows("baseline", Plan(task, "battery", select(["sandbagging"])[0], "choice"), log)
    assert "eval broken on baseline did not finish" in str(caught.value)
    assert "the solver broke" in str(caught.value)
    assert log.location in str(caught.value)
