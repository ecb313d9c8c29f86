"""One call of the model: within the budget, with bounded retries, and its cost on the record."""

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
    ResponseSchema,
    get_model,
)
from inspect_ai.util import json_schema
from pydantic import BaseModel
from rich.markup import render
from tenacity import RetryError

from steadfast.errors import SteadfastError
from steadfast.messages import Message

MAX_RETRIES = 4
"""Of one request that the provider failed; Inspect waits 3, 6, 12 and 24 seconds and a little between them."""

_TURNS: dict[str, type[ChatMessage]] = {
    "system": ChatMessageSystem,
    "user": ChatMessageUser,
    "assistant": ChatMessageAssistant,
}


class ProviderError(SteadfastError):
    """The model's provider is down or refuses the request; what was written stands."""


class BudgetSpent(Exception):  # noqa: N818 - an orderly end, not an error
    """No call is left."""


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        text: word for word.
        cut_off: at the limit of tokens.
        withheld: by the provider's content filter.
        input_tokens: cached ones included.
        output_tokens: reasoning included.
        seconds: waiting for the provider, retries included.
    """

    text: str
    cut_off: bool
    withheld: bool
    input_tokens: int
    output_tokens: int
    seconds: float


def open_model(name: str, max_connections: int, timeout: int) -> Model:
    """A model by Inspect's name for it, such as openai/NAME, anthropic/NAME, vllm/NAME or ollama/NAME.

    Args:
        name: provider and model.
        max_connections: calls at a time.
        timeout: seconds that one answer may take before it is asked for again.

    Raises:
        ProviderError: no such provider, no key, or its package is missing.
    """
    config = GenerateConfig(max_retries=MAX_RETRIES, attempt_timeout=timeout, max_connections=max_connections)
    try:
        return get_model(name, config=config, memoize=False)
    except Exception as error:  # every provider has errors of its own
        raise ProviderError(f"--model {name}: {_plain(getattr(error, 'message', error))}") from error


class Caller:
    """Calls a model.

    Args:
        model: of Inspect.
        budget: calls that may be made; None for no limit.

    Attributes:
        calls: begun so far.
    """

    def __init__(self, model: Model, budget: int | None = None) -> None:
        self.model = model
        self.budget = budget
        self.calls = 0

    async def __call__(self, messages: Sequence[Message], form: type[BaseModel], seed: int) -> Answer:
        """Ask for JSON of a form; providers that know structured output are held to it.

        Raises:
            BudgetSpent: before the call.
            ProviderError: no answer after all retries, or a request that no retry would mend.
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
        usage = output.usage
        return Answer(
            text=output.completion,
            cut_off=output.stop_reason in ("max_tokens", "model_length"),
            withheld=output.stop_reason == "content_filter",
            input_tokens=(
                usage.input_tokens + (usage.input_tokens_cache_read or 0) + (usage.input_tokens_cache_write or 0)
                if usage
                else 0
            ),
            output_tokens=usage.output_tokens if usage else 0,
            seconds=time.monotonic() - began,
        )


def _reason(error: Exception) -> str:
    """The last attempt's error in a line."""
    if isinstance(error, RetryError) and (last := error.last_attempt.exception()) is not None:
        return f"no answer after {error.last_attempt.attempt_number} attempts: {type(last).__name__}: {last}"
    return f"{type(error).__name__}: {error}"


def _plain(message: object) -> str:
    """A message of Inspect's without its console markup."""
    return render(str(message)).plain
