"""Calls of the model stay within the budget and have bounded retries, and their errors show no keys."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelOutput,
    ResponseSchema,
    get_model,
)
from inspect_ai.util import json_schema
from pydantic import BaseModel

from steadfast.errors import SteadfastError
from steadfast.graders.llm.faults import LONGEST_REPLY, cause, plain
from steadfast.messages import Message, printable
from steadfast.redaction import redacted

MAX_RETRIES = 4
"""A request that the provider failed is made again so often; Inspect waits 3, 6, 12 and 24 seconds in between."""

_TURNS: dict[str, type[ChatMessage]] = {
    "system": ChatMessageSystem,
    "user": ChatMessageUser,
    "assistant": ChatMessageAssistant,
}


class ProviderError(SteadfastError):
    """The model's provider is down or refuses the request. What was written before is kept."""


class BudgetSpent(Exception):  # noqa: N818 - an orderly end, not an error
    """The budget of calls is spent."""


@dataclass(frozen=True)
class Answer:
    """The answer to a call.

    Attributes:
        text: The text of the answer without keys and control characters, cut after 200,000 characters.
        cut_off: Whether it ended at a limit of length.
        withheld: Whether the provider's content filter withheld it.
        input_tokens: The number of tokens sent, cached ones included.
        output_tokens: The number of tokens received, those of reasoning included.
        seconds: The time in seconds spent waiting for the provider, retries included.
    """

    text: str
    cut_off: bool
    withheld: bool
    input_tokens: int
    output_tokens: int
    seconds: float


def open_model(name: str, max_connections: int, timeout: int) -> Model:
    """Open a model by Inspect's name for it, such as openai/NAME, anthropic/NAME, vllm/NAME or ollama/NAME.

    Args:
        name: The names of the provider and the model.
        max_connections: The number of calls at a time.
        timeout: The time in seconds that one answer may take before it is asked for again.

    Raises:
        ProviderError: There is no such provider, or its key or its package is missing.
    """
    config = GenerateConfig(max_retries=MAX_RETRIES, attempt_timeout=timeout, max_connections=max_connections)
    try:
        return get_model(name, config=config, memoize=False)
    except Exception as error:  # every provider has errors of its own
        raise ProviderError(f"--model {name}: {plain(error)}") from error


class Caller:
    """A caller of a model within a budget.

    Args:
        model: The model, as Inspect gives it.
        budget: The number of calls that may be made; None sets no limit.

    Attributes:
        calls: The number of calls begun so far.
    """

    def __init__(self, model: Model, budget: int | None = None) -> None:
        self.model = model
        self.budget = budget
        self.calls = 0

    async def __call__(self, messages: Sequence[Message], form: type[BaseModel], seed: int) -> Answer:
        """Ask for JSON of a form. Providers that know structured output are held to it.

        Args:
            messages: The conversation.
            form: The type that the answer must have.
            seed: The seed of the model's sampling.

        Raises:
            BudgetSpent: No call is left, and none was made.
            ProviderError: There was no answer after all retries, or no retry would help.
        """
        if self.budget is not None and self.calls >= self.budget:
            raise BudgetSpent
        self.calls += 1
        config = GenerateConfig(
            seed=seed, response_schema=ResponseSchema(name=form.__name__.lower(), json_schema=json_schema(form))
        )
        began = time.monotonic()
        try:
            output = await self.model.generate([_TURNS[m.role](content=m.content) for m in messages], config=config)
        except Exception as error:  # every provider has errors of its own
            raise ProviderError(f"{self.model}: {_reason(error)}") from error
        return _answer(output, time.monotonic() - began)


def _answer(output: ModelOutput, seconds: float) -> Answer:
    reason = None if output.empty else output.stop_reason
    usage = output.usage
    sent = (usage.input_tokens, usage.input_tokens_cache_read, usage.input_tokens_cache_write) if usage else ()
    return Answer(
        # A text over the limit is cut off and so is no JSON; it is handed back like any other that cannot be read.
        text=printable(redacted(output.completion[:LONGEST_REPLY])),
        cut_off=reason in ("max_tokens", "model_length") or len(output.completion) > LONGEST_REPLY,
        withheld=reason == "content_filter",
        input_tokens=sum(part or 0 for part in sent),
        output_tokens=usage.output_tokens if usage else 0,
        seconds=seconds,
    )


def _reason(error: Exception) -> str:
    """Tell the last attempt's error in a line."""
    last = cause(error)
    attempts = getattr(getattr(error, "last_attempt", None), "attempt_number", None)
    said = f"{type(last).__name__}: {plain(last)}"
    return said if attempts is None else f"no answer after {attempts} attempts: {said}"
