"""A model behind one of Inspect's providers under test: letters for references, and answers."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import product
from random import Random
from typing import Any, TypeVar

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageTool,
    ContentReasoning,
    GenerateConfig,
    Model,
    ModelOutput,
    get_model,
)

from steadfast.errors import ModelNotFoundError
from steadfast.evals.episode import Episode
from steadfast.evals.letters import pair_score, parse_letter, question
from steadfast.evals.measure import Condition, OnDone, Preference
from steadfast.evals.messages import as_chat
from steadfast.evals.rows import LETTERS
from steadfast.event_loop import run_apart
from steadfast.graders.llm.faults import plain
from steadfast.messages import Message
from steadfast.rollouts import Rollout, Segment
from steadfast.tasks.task import Task
from steadfast.tasks.tool_text import render_call
from steadfast.thoughts import split_thoughts

T = TypeVar("T")

_RETRIES = 5
_SECONDS = 600
"""Patience with one answer, its retries included: an evaluation must end."""
_CONNECTIONS = 10


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
        raise ModelNotFoundError(f"model {name!r}: {plain(error)}") from error


@dataclass(frozen=True)
class ApiSubject:
    """A model behind a provider. A call that fails after its retries leaves its task unscored, with the reason."""

    name: str
    model: Model
    prefers_by: str = LETTERS

    @property
    def identity(self) -> Any:
        """Its name is all that is known of it."""
        return {"api": str(self.model)}

    def prefer(
        self, tasks: Sequence[Task], mismatched: Sequence[Task | None], condition: Condition, on_done: OnDone
    ) -> list[Preference]:
        """The share of A/B questions, each asked in both orders, in which the good reference is picked.

        A question quotes the conversation. The condition's persona is not quoted but is the system message before it,
        and its preface the turns between the two. Letters are asked for at temperature 0, whatever the condition's.
        """

        async def one(task: Task) -> Preference:
            try:
                return await self._letters(task, condition)
            except Exception as error:  # each provider raises its own kind
                return Preference(None, reason=f"the call failed: {plain(error)}")

        return _all(tasks, one, on_done)

    async def _letters(self, task: Task, condition: Condition) -> Preference:
        scores: list[float | None] = []
        messages = _styled(task.messages, condition)
        before = as_chat(condition.asks(()))
        for good, bad in product(task.references.good, task.references.bad):
            first = await self.model.generate([*before, *question(messages, good, bad)])
            second = await self.model.generate([*before, *question(messages, bad, good)])
            scores.append(pair_score(parse_letter(first.completion), parse_letter(second.completion)))
        read = [s for s in scores if s is not None]
        if not read:
            return Preference(None, reason="no reply was the letter A or B alone")
        return Preference(sum(read) / len(read))

    def answer(self, tasks: Sequence[Task], condition: Condition, on_done: OnDone) -> list[Rollout]:
        """One rollout of each task, at the condition's temperature; at 0 equal conversations are asked once."""

        async def one(task: Task) -> Rollout:
            try:
                return await (self._act(task, condition) if task.environment else self._reply(task, condition))
            except Exception as error:  # each provider raises its own kind
                return Rollout.without_answer(task, f"the model gave no answer: {plain(error)}")

        if condition.temperature:
            return _all(tasks, one, on_done)
        asked: dict[Any, Task] = {}
        for task in tasks:
            asked.setdefault(_request(task), task)
        made = dict(zip(asked, _all(list(asked.values()), one, on_done), strict=True))
        return [made[_request(t)].for_task(t) for t in tasks]

    async def _reply(self, task: Task, condition: Condition) -> Rollout:
        messages = as_chat(_styled(condition.asks(task.messages), condition))
        output = await self.model.generate(messages, config=_drawn(task, condition))
        if (reason := no_answer(output)) is not None:
            return Rollout.without_answer(task, reason)
        segments = (Segment("prompt", task.text), _said(output))
        return Rollout(task, segments, "length" if _cut_off(output) else "end")

    async def _act(self, task: Task, condition: Condition) -> Rollout:
        """Play the task's environment with the provider's own tool calls."""
        assert task.environment is not None
        episode = Episode(task.environment, condition.asks)
        begun = len(episode.messages)
        going_on = True
        output = None
        while going_on:
            output = await self.model.generate(episode.messages, episode.tools, config=_drawn(task, condition))
            if (reason := no_answer(output)) is not None:
                return Rollout.without_answer(task, reason)
            going_on = await episode.take(output)
        segments = [s for m in episode.messages[begun:] for s in _segments(m)]
        used_up = output is not None and bool(output.message.tool_calls)
        stop = "length" if not episode.finished else "turns" if used_up else "end"
        return Rollout(task, (Segment("prompt", task.text), *segments), stop)


def no_answer(output: ModelOutput) -> str | None:
    """Why an output holds nothing that could be scored; None if it does.

    A content filter's words are not the model's, and an answer that the limit emptied before it began is no answer.
    """
    if output.empty:
        return "the provider sent no answer"
    if output.error:
        return f"the provider reported an error: {plain(Exception(output.error))}"
    if output.stop_reason == "content_filter":
        return "a content filter of the provider's stopped the answer"
    spent = _cut_off(output) and not _said(output).text and not output.message.tool_calls
    return "the token limit was used up before an answer began" if spent else None


def _cut_off(output: ModelOutput) -> bool:
    return output.stop_reason in ("max_tokens", "model_length")


def _said(output: ModelOutput) -> Segment:
    return _spoken(output.message)


def _spoken(message: ChatMessageAssistant) -> Segment:
    """A reply with its thoughts apart: those that the provider tells of by themselves, and those between marks."""
    parts = message.content if isinstance(message.content, list) else []
    reasoning = [p.reasoning for p in parts if isinstance(p, ContentReasoning) and not p.redacted]
    thoughts, answer = split_thoughts(message.text.strip())
    return Segment("assistant", answer.strip(), "\n".join(filter(None, [*reasoning, thoughts])))


def _segments(message: ChatMessage) -> list[Segment]:
    if isinstance(message, ChatMessageTool):
        error = f"error: {message.error.message}" if message.error else ""
        return [Segment("tool", message.text or error)]
    if isinstance(message, ChatMessageAssistant) and message.tool_calls:
        return [Segment("assistant", render_call(c.function, c.arguments)) for c in message.tool_calls]
    return [_spoken(message)] if isinstance(message, ChatMessageAssistant) else []


def _styled(messages: tuple[Message, ...], condition: Condition) -> tuple[Message, ...]:
    if not condition.style:
        return messages
    first = messages[0]
    if first.role == "system":
        return (Message(role="system", content=f"{first.content}\n{condition.style}"), *messages[1:])
    return (Message(role="system", content=condition.style), *messages)


def _drawn(task: Task, condition: Condition) -> GenerateConfig:
    """What a request says beyond the model's own settings: its temperature, and a seed of the task's own.

    Not every provider takes a seed; to one that does, that of the condition alone would be the same draw for all tasks.
    """
    if not condition.temperature:
        return GenerateConfig()
    seed = Random(f"{condition.seed}/{task.id}").getrandbits(31)
    return GenerateConfig(temperature=condition.temperature, seed=seed)


def _request(task: Task) -> Any:
    return task.id if task.environment else task.messages


def _all(tasks: Sequence[Task], one: Callable[[Task], Awaitable[T]], on_done: OnDone) -> list[T]:
    """What each task comes to, a bounded number of them at a time."""

    async def run() -> list[T]:
        slots = asyncio.Semaphore(_CONNECTIONS)

        async def bounded(task: Task) -> T:
            async with slots:
                try:
                    return await one(task)
                finally:
                    on_done(1)

        return list(await asyncio.gather(*(bounded(t) for t in tasks)))

    return run_apart(run()) if tasks else []
