"""A run fills the slots of a plan with several workers, within a budget, and reports what it did and cost."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from textwrap import shorten
from typing import Any

from inspect_ai.model import Model

from steadfast.graders.llm.faults import plain
from steadfast.synthesis.calls import BudgetSpent, Caller, ProviderError
from steadfast.synthesis.duplicates import Pool, measured_and_shipped
from steadfast.synthesis.generate import Author, Rejected
from steadfast.synthesis.plan import Slot
from steadfast.synthesis.prompts import definitions, version
from steadfast.synthesis.provenance import Record, Store
from steadfast.tasks import Task, built_in_scenarios
from steadfast.tasks.nearest import Embed

ATTEMPTS = 3
"""A slot is tried so often in one run, each time from a fresh draft."""

_EARLIER = 6
"""The model is shown so many situations of the same cell."""

_SHOWN = 400
"""It is shown so many characters of each."""


@dataclass(frozen=True)
class Report:
    """The report of what a run did.

    Attributes:
        wanted: The number of scenarios that were asked for.
        there: The number of them that were in the output when the run began.
        accepted: The number of scenarios that this run wrote.
        given_up: The ids of slots whose every attempt was rejected. The next run tries them again.
        rejects: The number of rejected attempts of this run, by reason.
        calls: The number of calls that the model answered in this run.
        input_tokens: The number of tokens sent in this run.
        output_tokens: The number of tokens received in this run.
        seconds: The time in seconds that this run took.
        total_calls: The number of calls in all runs on this output.
        total_input_tokens: The number of tokens sent in all runs on this output.
        total_output_tokens: The number of tokens received in all runs on this output.
        budget_spent: Whether the budget of calls stopped the run before its end.
        embeddings: Whether conversations were compared by embedding too.
    """

    wanted: int
    there: int
    accepted: int
    given_up: list[str]
    rejects: dict[str, int]
    calls: int
    input_tokens: int
    output_tokens: int
    seconds: float
    total_calls: int
    total_input_tokens: int
    total_output_tokens: int
    budget_spent: bool
    embeddings: bool


def synthesize(
    model: Model,
    slots: Sequence[Slot],
    store: Store,
    *,
    max_connections: int = 10,
    budget: int | None = None,
    embed: Embed | None = None,
    on_record: Callable[[Record], None] | None = None,
) -> Report:
    """Fill the slots that the store lacks.

    `max_connections` workers take the slots in order, and a scenario is written as soon as it is done. Ids, pressures,
    lengths and seeds belong to the slots; only the earlier situations that a draft is shown depend on what is done by
    then.

    Args:
        model: The model, as Inspect gives it; its own config bounds retries and time.
        slots: The slots to fill; see `plan`.
        store: The output; see `Store.open`.
        max_connections: The number of calls at a time.
        budget: The number of calls that this run may make; None sets no limit. An attempt that is under way when the
            budget is spent leaves only a record.
        embed: It embeds conversations, which are then compared by meaning as well as by words. None compares words.
        on_record: It is called with the record of every attempt.

    Raises:
        SteadfastError: A trait or a domain was defined otherwise when part of the output was written.
        ProviderError: The provider gives no answer. Everything accepted so far is in the store.
    """
    store.refuse_redefined({slot.cell: definitions(slot.trait, slot.domain) for slot in slots})
    run = _Run(Caller(model, budget), store, embed, on_record)
    return run.fill(slots, max_connections)


class _Run:
    def __init__(
        self,
        call: Caller,
        store: Store,
        embed: Embed | None,
        on_record: Callable[[Record], None] | None,
    ) -> None:
        self.call = call
        self.store = store
        self.embed = embed
        self.on_record = on_record
        self.given_up: list[str] = []
        self.budget_spent = False

    def fill(self, slots: Sequence[Slot], workers: int) -> Report:
        began, before = time.monotonic(), len(self.store.records)
        missing = [s for s in slots if s.id not in self.store.scenarios]
        if missing:
            self.pool = Pool(measured_and_shipped(), self.embed)
            self.pool.add(_named(self.store.scenarios.values()))
            self.shipped = [s for s in built_in_scenarios() if s.split == "train"]
            asyncio.run(self._work(iter(missing), min(workers, len(missing))))
        new = self.store.records[before:]
        calls, received, sent = _cost(new)
        total_calls, total_received, total_sent = _cost(self.store.records)
        return Report(
            wanted=len(slots),
            there=len(slots) - len(missing),
            accepted=sum(r.status == "accepted" for r in new),
            given_up=sorted(self.given_up),
            rejects=dict(Counter(r.reason for r in new if r.reason).most_common()),
            calls=calls,
            input_tokens=sent,
            output_tokens=received,
            seconds=round(time.monotonic() - began, 2),
            total_calls=total_calls,
            total_input_tokens=total_sent,
            total_output_tokens=total_received,
            budget_spent=self.budget_spent,
            embeddings=self.embed is not None,
        )

    async def _work(self, slots: Iterator[Slot], workers: int) -> None:
        down: list[ProviderError] = []
        try:
            async with self.call.model, asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(self._worker(slots))
        except* ProviderError as errors:
            down.extend(e for e in errors.exceptions if isinstance(e, ProviderError))
        if down:
            raise ProviderError(
                f"{down[0]}\n{self.store.out} keeps {len(self.store.scenarios)} scenarios; "
                "run the same command again to go on"
            ) from down[0]

    async def _worker(self, slots: Iterator[Slot]) -> None:
        for slot in slots:  # shared with the other workers: each takes the next one
            try:
                await self._fill(slot)
            except BudgetSpent:
                self.budget_spent = True
                return

    async def _fill(self, slot: Slot) -> None:
        first = self.store.attempts(slot.id) + 1
        avoid: list[str] = []
        for attempt in range(first, first + ATTEMPTS):
            author = Author(self.call, slot, attempt)
            if await self._attempt(author, avoid):
                return
            if author.draft is not None:
                avoid.append(_situation(author.draft))
        self.given_up.append(slot.id)

    async def _attempt(self, author: Author, avoid: list[str]) -> bool:
        """Tell whether the attempt brought a scenario, and record it, even when it is broken off."""
        started, began = datetime.now(UTC), time.monotonic()
        outcome: dict[str, Any] = {"status": "unfinished"}
        try:
            compared = len(self.pool)
            scenario = await author.write([*self._earlier(author.slot), *avoid], self.pool.twins)
            # Another worker may have written the same while this one was criticised. From here on nothing is awaited.
            if found := self.pool.twins(scenario.text, since=compared):
                raise Rejected("duplicate", found)
            outcome = {"status": "accepted", "scenario": scenario}
            self.pool.add(_named([scenario]))
        except Rejected as rejected:
            outcome = {"status": "rejected", "reason": rejected.reason, "details": rejected.details}
        except BaseException as error:
            outcome["details"] = (f"{type(error).__name__}: {plain(error)}",)
            raise
        finally:
            self._record(author, outcome, started, time.monotonic() - began)
        return outcome["status"] == "accepted"

    def _record(self, author: Author, outcome: dict[str, Any], started: datetime, seconds: float) -> None:
        if outcome["status"] == "unfinished" and not author.stages:
            return
        slot = author.slot
        record = Record(
            id=slot.id,
            attempt=author.attempt,
            **outcome,
            model=str(self.call.model),
            prompts=version(),
            definitions=definitions(slot.trait, slot.domain),
            seed=slot.run_seed,
            trait=slot.trait.id,
            domain=slot.domain.id,
            pressure=slot.pressure,
            turns=slot.turns,
            stages=tuple(author.stages),
            started=started.isoformat(timespec="seconds"),
            seconds=round(seconds, 3),
        )
        self.store.add(record)
        if self.on_record is not None:
            self.on_record(record)

    def _earlier(self, slot: Slot) -> list[str]:
        """Collect the cell's newest situations of this output, and fill up with shipped ones of the training split."""
        written = [s for s in self.store.scenarios.values() if (s.trait, s.domain) == slot.cell][-_EARLIER:]
        shipped = [s for s in self.shipped if (s.trait, s.domain) == slot.cell]
        drawn = Random(slot.seed("earlier")).sample(shipped, min(len(shipped), _EARLIER - len(written)))
        return [_situation(s) for s in (*drawn, *written)]


def _situation(scenario: Task) -> str:
    """Give the user's words, shortened."""
    return shorten(" / ".join(m.content for m in scenario.messages if m.role == "user"), _SHOWN, placeholder=" ...")


def _named(scenarios: Iterable[Task]) -> dict[str, str]:
    return {f"{s.id!r} in the output": s.text for s in scenarios}


def _cost(records: Sequence[Record]) -> tuple[int, int, int]:
    """Sum the calls, the tokens received and the tokens sent."""
    stages = [stage for record in records for stage in record.stages]
    return len(stages), sum(s.output_tokens for s in stages), sum(s.input_tokens for s in stages)
