"""Agentic evals under `generation` scoring: the model acts in simulated environments, which grade what was done."""

from collections.abc import Callable, Mapping, Sequence

from inspect_ai import Task
from inspect_ai.dataset import Sample
from inspect_ai.model import get_model
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver

from steadfast.evals.episode import Episode
from steadfast.evals.tasks import scoring_task
from steadfast.tasks.battery import Eval
from steadfast.tasks.environment import Environment


def acting_task(
    evaluation: Eval, environments: Sequence[Environment], on_done: Callable[[int], None] = lambda _: None
) -> Task:
    """The Inspect task of an agentic eval under `generation` scoring: the model acts, the environment grades.

    Args:
        evaluation: it belongs to.
        environments: a sample each.
        on_done: told 1 after each episode.
    """
    samples = [Sample(id=e.id, input=e.task, target=str(e.good[0][0])) for e in environments]
    solve = act_in({e.id: e for e in environments}, on_done)
    return scoring_task(evaluation, "generation", samples, solve, outcome())


@solver
def act_in(environments: Mapping[str, Environment], on_done: Callable[[int], None]) -> Solver:
    """Lets the model act in the sample's environment.

    Args:
        environments: by the sample's id.
        on_done: told 1 after each episode.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        del generate
        episode = Episode(environments[str(state.sample_id)])
        going_on = True
        try:
            while going_on:
                state.output = await get_model().generate(episode.messages, episode.tools)
                going_on = await episode.take(state.output)
                state.messages = list(episode.messages)
        finally:
            on_done(1)
        state.metadata["outcome"] = episode.outcome
        return state

    return solve


@scorer(metrics=[mean(), stderr()])
def outcome() -> Scorer:
    """What came of the episode."""

    async def score(state: TaskState, target: Target) -> Score:
        del target
        done = dict(state.metadata["outcome"])
        return Score(value=done.pop("score"), answer=done.pop("answer"), metadata=done)

    return score
