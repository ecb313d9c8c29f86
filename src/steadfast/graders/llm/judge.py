"""The `model` judge asks a language model, at any provider that Inspect knows.

The model gives a reason and a score for each criterion (`steadfast.graders.llm.prompt`), at temperature 0. A reply that
cannot be read is handed back with its fault a bounded number of times. An answer that still has no verdict, or whose
call failed, has no score, which is never zero. Every call's raw reply is kept with the grade.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.util import find_spec
from os import environ
from queue import SimpleQueue
from typing import Any

from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelOutput, get_model
from transformers.utils import logging as transformers_logging

from steadfast.errors import JudgeError
from steadfast.event_loop import start_apart
from steadfast.graders import gates
from steadfast.graders.config import UNSTRUCTURED, Limits
from steadfast.graders.gates import gate, given_ngrams
from steadfast.graders.grade import Grade, Verdict
from steadfast.graders.llm.faults import cause, kept, plain, withheld
from steadfast.graders.llm.prompt import (
    PROMPT_HASH,
    SCALE,
    VerdictError,
    parse_verdicts,
    repair,
    reply_schema,
    request,
)
from steadfast.graders.protocol import protocol_hash
from steadfast.models.pretrained import hash_weights, locate
from steadfast.redaction import redacted
from steadfast.rollouts import Rollout
from steadfast.tasks.rubric import rubric_score
from steadfast.tasks.task import Task

_CODE_VERSION = 3
"""A developer raises this number when code, not a constant or the prompt, changes a grade."""

_GIVE_UP_AFTER = 5
"""After so many calls failed in a row, each after its own retries, the rest of a batch is not tried."""

_SECONDS = {"hf": None, "vllm": 900, "sglang": 900}
"""The seconds to wait for an attempt: weights in this process cannot hang, a server that is started must load them."""
_DEFAULT_SECONDS = 120

_MIN_WORDS = 0
"""The gate "empty" stops blank text only: a language model can tell an honest "No." from an empty phrase."""

_SERVERS = {"vllm": "VLLM_BASE_URL", "sglang": "SGLANG_BASE_URL"}
"""These providers start a server with the package of their name unless this variable points to a server."""

_SCHEMA_WORDS = ("response_format", "json_schema", "responseschema", "text.format", "structured output")
"""Providers that take no JSON schema use one of these words in their refusal."""


@dataclass
class Spending:
    """What a judge has spent over its life.

    Attributes:
        calls: The number of calls, whether they succeeded or not.
        tokens: The number of tokens sent and received, as the provider counts them.
    """

    calls: int = 0
    tokens: int = 0


@dataclass
class _Batch:
    """The state that the answers of one `grade` share."""

    slots: asyncio.Semaphore
    failed_in_a_row: int = 0
    last_failure: str = ""


@dataclass
class _Exchange:
    """The calls about one answer, and what came of them."""

    verdicts: tuple[Verdict, ...] | None = None
    error: str | None = None
    out_of_budget: bool = False
    calls: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


class ModelJudge:
    """A judge that asks a language model.

    Keys and addresses come from the provider's environment variables, as everywhere in Inspect.

    Args:
        name: The model's name, "provider/model", as Inspect spells it; "hf/NAME_OR_PATH" runs a local causal LM. It is
            never taken from the model under test or from a default.
        limits: What the judge may cost; None takes the default limits.
        repairs: An unreadable reply is handed back to the model at most so often.
        max_output_tokens: A reply has at most so many tokens, a reasoning model's thinking included. None means 4096,
            or 1024 for "hf".
        structured: Whether the provider holds the model to a JSON schema. The reply is read as strictly without one.
        model_args: The provider's own arguments (see Inspect). They are part of the protocol, so keys have no place
            here.

    Raises:
        JudgeError: There is no such provider, or its key or package is missing.
        ModelNotFoundError: There is no such local model.
    """

    def __init__(
        self,
        name: str,
        limits: Limits | None = None,
        *,
        repairs: int = 2,
        max_output_tokens: int | None = None,
        structured: bool = True,
        model_args: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.limits = limits or Limits()
        self.spent = Spending()
        self._provider, _, model = name.partition("/")
        self._repairs, self._structured = repairs, structured
        self._max_output_tokens = max_output_tokens or (1024 if self._provider == "hf" else 4096)
        self._model_args = dict(model_args or {})
        self._check_provider(model)
        self._folder = locate(model)[0] if self._provider == "hf" else None
        if self._folder is None:
            _ = self.model  # shows a missing key or package now; local weights can wait until they are needed

    @cached_property
    def model(self) -> Model:
        """The model, as Inspect gives it."""
        local = {"model_path": str(self._folder), "do_sample": False} if self._folder else {}
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            return get_model(self.name, memoize=False, **local, **self._model_args)
        except Exception as error:  # each provider raises its own kind
            raise JudgeError(f"judge {self.name!r} cannot be used: {plain(error)}") from error

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides a grade besides the scenario and the answer: model, prompt, scale, gates and sampling."""
        return {
            "version": _CODE_VERSION,
            "model": self.name,
            "model_args": self._model_args,
            "weights": self._weights,
            "prompt": PROMPT_HASH,
            "scale": len(SCALE),
            "structured": self._structured,
            "repairs": self._repairs,
            "gates": {**asdict(gates.LIMITS), "min_words": _MIN_WORDS},
            **self._sampling,
        }

    def cannot_grade(self, scenario: Task) -> str | None:
        """Answer None: a language model needs no statements and reads more languages than we could list."""
        return None

    def grade(self, answers: Sequence[Rollout]) -> list[Grade]:
        """Give one grade for each answer, in order. An answer that fails has no score, but raises nothing.

        The method works inside and outside a running event loop, because the calls run in a loop of their own.

        Raises:
            JudgeError: The weights of a local model could not be loaded.
        """
        graded = dict(self.grade_each(answers))
        return [graded[place] for place in range(len(answers))]

    def grade_each(self, answers: Sequence[Rollout]) -> Iterator[tuple[int, Grade]]:
        """Yield places in `answers` with their grades, each as soon as it is there.

        Raises:
            JudgeError: The weights of a local model could not be loaded.
        """
        _ = self.model
        ready: SimpleQueue[tuple[int, Grade] | BaseException] = SimpleQueue()
        work = start_apart(self._grade_all(list(answers), ready))
        try:
            for _ in answers:
                found = ready.get()
                if isinstance(found, BaseException):
                    raise found
                yield found
        finally:
            work.cancel()

    async def _grade_all(
        self, answers: Sequence[Rollout], ready: "SimpleQueue[tuple[int, Grade] | BaseException]"
    ) -> None:
        batch = _Batch(asyncio.Semaphore(self.limits.max_connections))

        async def one(place: int, answer: Rollout) -> None:
            ready.put((place, await self._grade(answer, batch)))

        try:
            await asyncio.gather(*(one(place, answer) for place, answer in enumerate(answers)))
        except BaseException as error:
            ready.put(error)
            raise

    async def _grade(self, answer: Rollout, batch: _Batch) -> Grade:
        """Grade an answer; whatever fails on the way becomes the reason why it has no score."""
        protocol = protocol_hash(self.name, self.settings, answer.task)
        try:
            return await self._grade_under(protocol, answer, batch)
        except Exception as error:  # one answer's failure must not cost the others' grades
            failure = f"the judge failed on this answer: {type(error).__name__}: {plain(error)}"
            return Grade(None, (), self.name, protocol, error=failure)

    async def _grade_under(self, protocol: str, answer: Rollout, batch: _Batch) -> Grade:
        scenario = answer.task
        given = given_ngrams(scenario.messages, scenario.rubric)
        if closed := gate(answer.text, answer.finished, given, min_words=_MIN_WORDS):
            return Grade(0.0, (), self.name, protocol, gate=closed)
        # Inspect queues calls by `max_connections` too, but the budget must be asked when a call is due, not when it
        # joins the queue.
        async with batch.slots:
            exchange = await self._ask(answer, batch)
        detail = {"calls": exchange.calls}
        if exchange.verdicts is None:
            spent = exchange.out_of_budget
            return Grade(None, (), self.name, protocol, error=exchange.error, out_of_budget=spent, detail=detail)
        score = rubric_score([c.points for c in scenario.rubric], [v.score for v in exchange.verdicts])
        return Grade(score, exchange.verdicts, self.name, protocol, detail=detail)

    async def _ask(self, answer: Rollout, batch: _Batch) -> _Exchange:
        """Ask for the verdicts on an answer, and hand an unreadable reply back with its fault."""
        rubric, exchange = answer.task.rubric, _Exchange()
        messages = request(answer.task.messages, rubric, answer.text)
        for _ in range(1 + self._repairs):
            spent = self._budget_spent()
            if forbidden := spent or self._service_failing(batch):
                exchange.out_of_budget = spent is not None
                exchange.error = f"{forbidden}; {exchange.error}" if exchange.error else forbidden
                return exchange
            try:
                output = await self._call(messages, len(rubric))
            except Exception as error:  # each provider raises its own kind; an answer's failure is data, not a crash
                self._note_failure(error, exchange, batch)
                return exchange
            batch.failed_in_a_row = 0
            exchange.calls.append(_record(output))
            if reason := withheld(output):
                exchange.error = reason
                return exchange
            try:
                exchange.verdicts = parse_verdicts(output.completion, rubric)
                return exchange
            except VerdictError as problem:
                exchange.error = _unreadable(len(exchange.calls), problem, output)
                messages = [*messages, *repair(output.completion, problem, len(rubric))]
        return exchange

    def _note_failure(self, error: Exception, exchange: _Exchange, batch: _Batch) -> None:
        """Keep a failed call's reason with its answer, and count it in the batch."""
        reason = cause(error)
        failure = f"the call failed: {type(reason).__name__}: {plain(reason)}"
        batch.failed_in_a_row += 1
        batch.last_failure = exchange.error = failure + self._advice(failure)
        exchange.calls.append({"error": exchange.error})

    async def _call(self, messages: list[ChatMessage], criteria: int) -> ModelOutput:
        limits = self.limits
        self.spent.calls += 1
        output = await self.model.generate(
            messages,
            config=GenerateConfig(
                **self._sampling,
                reasoning_summary="none",  # its first use costs a call that only asks whether it is allowed
                response_schema=reply_schema(criteria) if self._structured else None,
                max_connections=limits.max_connections,
                max_retries=limits.max_retries,
                attempt_timeout=limits.seconds or _SECONDS.get(self._provider, _DEFAULT_SECONDS),
            ),
        )
        self.spent.tokens += output.usage.total_tokens if output.usage else 0
        if output.error:
            raise JudgeError(output.error)
        return output

    def _budget_spent(self) -> str | None:
        """Say which limit forbids a further call; None if none does."""
        limits, spent = self.limits, self.spent
        if limits.max_calls is not None and spent.calls >= limits.max_calls:
            return f"not judged: the budget of {limits.max_calls} calls is used up"
        if limits.max_tokens is not None and spent.tokens >= limits.max_tokens:
            return f"not judged: the budget of {limits.max_tokens} tokens is used up"
        return None

    def _service_failing(self, batch: _Batch) -> str | None:
        """Say why the rest of a batch is not tried; None if it is."""
        if batch.failed_in_a_row >= _GIVE_UP_AFTER:
            return f"not judged: {batch.failed_in_a_row} calls in a row failed; {batch.last_failure}"
        return None

    def _advice(self, failure: str) -> str:
        """Say what to do where the provider seems to refuse the schema; the judge never leaves it out unasked."""
        if not self._structured or not any(word in failure.lower() for word in _SCHEMA_WORDS):
            return ""
        return f"; if it takes no JSON schema, call the judge {self.name + UNSTRUCTURED!r}"

    @property
    def _sampling(self) -> dict[str, Any]:
        # transformers decodes greedily by `do_sample=False` and warns at a temperature of zero.
        return {"temperature": None if self._folder else 0.0, "max_tokens": self._max_output_tokens}

    @cached_property
    def _weights(self) -> str | None:
        return hash_weights(self._folder) if self._folder else None

    def _check_provider(self, model: str) -> None:
        """Raise the faults that Inspect would show only at the first call."""
        if not model or self._provider in ("none", "steadfast"):
            raise JudgeError(f"judge {self.name!r} names no model that can grade; use 'provider/model'")
        address = _SERVERS.get(self._provider)
        if address and not environ.get(address) and find_spec(self._provider) is None:
            raise JudgeError(
                f"judge {self.name!r} needs a server: set {address} to one that runs, "
                f"or `pip install {self._provider}` to have one started here"
            )


def _record(output: ModelOutput) -> dict[str, Any]:
    """Collect what is kept of a call."""
    usage = output.usage
    return {
        "reply": kept(output.completion),
        "stop_reason": None if output.empty else output.stop_reason,
        "input_tokens": usage.input_tokens if usage else None,
        "output_tokens": usage.output_tokens if usage else None,
    }


def _unreadable(calls: int, problem: VerdictError, output: ModelOutput) -> str:
    fault = redacted(f"no verdict could be read in {calls} calls; of the last reply: {problem}")
    return fault if output.stop_reason in ("stop", "unknown") else f"{fault} (it ended by {output.stop_reason})"
