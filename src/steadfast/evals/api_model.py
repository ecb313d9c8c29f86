"""Measuring a model behind one of Inspect's providers: answers come first, are graded in a batch, then logged."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalSample
from inspect_ai.model import (
    ChatMessage,
    GenerateConfig,
    Model,
    ModelAPI,
    ModelOutput,
    get_model,
    modelapi,
)
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.tool import ToolChoice, ToolInfo

from steadfast.errors import ModelNotFoundError
from steadfast.evals.acting import acting_task
from steadfast.evals.letters import letters_task
from steadfast.evals.results import plan_rows
from steadfast.evals.run import Measurement, Reply, build_plans
from steadfast.evals.schema import RESULT_SCHEMA
from steadfast.evals.tasks import chat
from steadfast.evals.tool_use import as_output, as_turns
from steadfast.messages import Message

_RETRIES = 5
_SECONDS = 600
"""Patience with one answer, its retries included: an evaluation must end."""


def open_api_model(name: str, *, max_tokens: int) -> Model | None:
    """A model by Inspect's "provider/model" name; None if no provider has that name.

    Raises:
        ModelNotFoundError: the provider's package or key is missing.
    """
    config = GenerateConfig(max_tokens=max_tokens, temperature=0.0, max_retries=_RETRIES, timeout=_SECONDS)
    try:
        return get_model(name, config=config)
    except ValueError:  # what get_model raises for a provider that nobody registered
        return None
    except Exception as error:  # each provider's client raises its own
        raise ModelNotFoundError(f"model {name!r}: {_plain(error)}") from error


def evaluate_api(
    checkpoint: str,
    model: Model,
    measurement: Measurement,
    log_dir: Path,
    on_done: Callable[[int], None] = lambda _: None,
) -> pl.DataFrame:
    """Measure a model behind an API; the counterpart of `steadfast.evals.run.evaluate`.

    A call that fails after its retries leaves its item unscored, with the reason.

    Args:
        checkpoint: its name in the results.
        model: as Inspect gives it.
        measurement: what to measure; `choice` asks for letters.
        log_dir: of Inspect's logs.
        on_done: told the number of requests done since the last call.
    """
    replies = _collect(model, measurement.conversations(), log_dir, on_done)
    plans = build_plans(
        measurement,
        lambda messages: replies[tuple(messages)],
        lambda e, items: letters_task(e, items, on_done),
        lambda e, environments: acting_task(e, environments, on_done),
    )
    live = [p for p in plans if p.scoring == "choice" or p.evaluation.format == "environment"]
    answered = [p for p in plans if p not in live]
    rows: list[dict[str, Any]] = []
    for part, used in ((live, model), (answered, recorded_model(str(model), replies))):
        logs = inspect_eval([p.task for p in part], model=used, **_options(log_dir)) if part else []
        by_task = {str(log.eval.task): log for log in logs}
        rows += [row for plan in part for row in plan_rows(checkpoint, plan, by_task[plan.task.name])]
    return pl.DataFrame(rows, schema=RESULT_SCHEMA)


Conversation = tuple[Message, ...]


def _options(log_dir: Path) -> dict[str, Any]:
    return {
        "log_dir": str(log_dir),
        "display": "none",
        "fail_on_error": False,
        "log_realtime": False,
        "score_display": False,
    }


def _collect(
    model: Model, conversations: Sequence[tuple[Message, ...]], log_dir: Path, on_done: Callable[[int], None]
) -> dict[Conversation, Reply]:
    """The model's answers, each conversation asked once."""
    asked = list(dict.fromkeys(conversations))
    if not asked:
        return {}
    samples = [Sample(id=i, input=chat(m)) for i, m in enumerate(asked)]
    task = Task(dataset=MemoryDataset(samples, name="answers"), solver=_answer(on_done), name="answers")
    (log,) = inspect_eval(task, model=model, score=False, **_options(log_dir))
    if log.samples is None:
        reason = log.error.message if log.error else log.status
        raise ModelNotFoundError(f"model {model} could not be asked: {reason}; see {log.location}")
    by_id = {int(s.id): s for s in log.samples}
    return {messages: _reply(by_id.get(i)) for i, messages in enumerate(asked)}


def _reply(sample: EvalSample | None) -> Reply:
    if sample is None:
        return Reply("", False, "the sample is missing from the log")
    if sample.error is not None:
        return Reply("", False, sample.error.message)
    if sample.output.empty:
        return Reply("", False, "the provider sent no answer")
    return Reply(sample.output.completion.strip(), sample.output.stop_reason == "stop")


@solver
def _answer(on_done: Callable[[int], None]) -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        try:
            return await generate(state)
        finally:
            on_done(1)

    return solve


class RecordedModelAPI(ModelAPI):
    """Answers that were collected before, so that a graded log shows exactly what the judge read."""

    def __init__(self, name: str, replies: dict[Conversation, Reply]) -> None:
        super().__init__(name)
        self.replies = replies

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """The recorded answer."""
        del tools, tool_choice, config
        reply = self.replies[as_turns(input)]
        return as_output(self.model_name, reply.text, finished=reply.finished)


# The decorator hides the class's own signature.
_registered: Any = modelapi(name="steadfast-recorded")(RecordedModelAPI)


def recorded_model(name: str, replies: dict[Conversation, Reply]) -> Model:
    """A model that gives recorded answers under the name of the one that gave them."""
    return Model(_registered(name, replies), GenerateConfig())


def _plain(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return _without_markup(" ".join(lines))


def _without_markup(text: str) -> str:
    from rich.markup import render

    return render(text).plain
