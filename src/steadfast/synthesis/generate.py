"""The author model drafts a scenario, criticises it and mends it; the draft is compared with what exists."""

from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

from pydantic import BaseModel

from steadfast.messages import Message
from steadfast.synthesis import prompts
from steadfast.synthesis.calls import Answer, Caller
from steadfast.synthesis.drafts import Draft, Malformed, Review, Revision, read_draft, read_review, read_revision
from steadfast.synthesis.plan import Slot
from steadfast.synthesis.provenance import Stage
from steadfast.tasks import Task

REPAIRS = 2
"""An answer that cannot be read goes back to the model with its faults at most so often."""

Parsed = TypeVar("Parsed")
Reason = Literal["malformed", "duplicate", "unusable", "withheld"]


class Rejected(Exception):  # noqa: N818 - a bad scenario is data, not an error
    """An attempt is rejected."""

    def __init__(self, reason: Reason, details: Sequence[str]) -> None:
        super().__init__(f"{reason}: {'; '.join(details)}")
        self.reason: Reason = reason
        self.details = tuple(details)


class Author:
    """One attempt at one slot.

    Args:
        call: It asks the model.
        slot: The slot to fill.
        attempt: The number of the attempt, from 1. It is part of every seed.

    Attributes:
        stages: Every call so far, also of an attempt that fails.
        draft: The scenario before criticism; None until there is one.
    """

    def __init__(self, call: Caller, slot: Slot, attempt: int) -> None:
        self.call = call
        self.slot = slot
        self.attempt = attempt
        self.stages: list[Stage] = []
        self.draft: Task | None = None

    async def write(self, earlier: Sequence[str], twins: Callable[[str], list[str]]) -> Task:
        """Draft a scenario, compare it, have it criticised and mend it.

        Args:
            earlier: The situations that the draft must not repeat.
            twins: It says what a conversation repeats. It is asked before any criticism is paid for.

        Raises:
            Rejected: No answer could be read after all repairs, the draft is a duplicate, the model itself calls it
                unusable, or the provider withheld an answer.
            BudgetSpent: No call is left.
            ProviderError: The provider gave no answer.
        """
        order = prompts.draft_prompt(self.slot, earlier)
        draft = await self._ask("draft", order, Draft, lambda text: read_draft(text, self.slot))
        self.draft = draft
        if found := twins(draft.text):
            raise Rejected("duplicate", found)
        review = await self._ask(
            "critique", prompts.critique_prompt(self.slot, draft), Review, lambda text: read_review(text, draft)
        )
        if review.unusable.strip():
            raise Rejected("unusable", [review.unusable])
        if not review.findings:
            return draft
        order = prompts.revise_prompt(draft, review.findings)
        return await self._ask("revision", order, Revision, lambda text: read_revision(text, draft))

    async def _ask(
        self,
        name: Literal["draft", "critique", "revision"],
        order: str,
        form: type[BaseModel],
        read: Callable[[str], Parsed],
    ) -> Parsed:
        """Ask until the answer can be read, a bounded number of times."""
        opening = [Message(role="system", content=prompts.SYSTEM), Message(role="user", content=order)]
        messages = opening
        faults: list[str] = []
        for time in range(REPAIRS + 1):
            seed = self.slot.seed(self.attempt, name, time)
            answer = await self.call(messages, form, seed)
            parsed, faults = _parse(read, answer)
            self.stages.append(
                Stage(
                    name=name,
                    seed=seed,
                    output=answer.text,
                    faults=tuple(faults),
                    input_tokens=answer.input_tokens,
                    output_tokens=answer.output_tokens,
                    seconds=round(answer.seconds, 3),
                )
            )
            if answer.withheld:
                raise Rejected("withheld", [f"{name}: the provider's content filter withheld the answer"])
            if parsed is not None:
                return parsed
            # Only the last answer goes back: an earlier fault is mended in it, or named again.
            said = [Message(role="assistant", content=answer.text)] if answer.text.strip() else []
            messages = [*opening, *said, Message(role="user", content=prompts.repair_prompt(faults))]
        raise Rejected("malformed", [f"{name}: {fault}" for fault in faults])


def _parse(read: Callable[[str], Parsed], answer: Answer) -> tuple[Parsed | None, list[str]]:
    if answer.withheld:
        return None, ["withheld by the content filter"]
    try:
        return read(answer.text), []
    except Malformed as error:
        cut = ["the answer was cut off at the limit of tokens; be shorter"] if answer.cut_off else []
        return None, [*cut, *error.faults]
