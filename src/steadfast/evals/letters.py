"""`choice` scoring without likelihoods: the two replies as an A/B question, asked in both orders.

For models that show only what they say. A model that always names one letter picks the good reply in exactly one
order of two, so it scores 0.5 and no bias for the first option can win.
"""

import re
from collections.abc import Callable, Sequence
from itertools import product

from inspect_ai import Task
from inspect_ai.model import ChatMessage, ChatMessageUser, get_model
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver

from steadfast.evals.tasks import item_sample, scoring_task
from steadfast.messages import Message
from steadfast.tasks.battery import Eval, EvalItem

_QUESTION = """Above is a conversation. Two replies to its last message are proposed.

[A]
{a}

[B]
{b}

Which of the two would you give? Answer with the letter alone, A or B."""
_FRAME = """Conversation:

{conversation}

{question}"""
_LETTER = re.compile(r"(?:(?i:(?:final )?answer)\s*:?\s*)?[\[(*]*([AB])[\])*.:]*", re.ASCII)


def parse_letter(text: str) -> str | None:
    """The letter a reply consists of, bare or as in "Answer: (A)."; None for anything else.

    Strict on purpose: a letter somewhere in a sentence is not a choice.
    """
    found = _LETTER.fullmatch(text.strip())
    return found.group(1) if found else None


def question(messages: Sequence[Message], a: str, b: str) -> list[ChatMessage]:
    """The A/B question on a conversation, as one turn: its own turns are quoted, so none is taken for an order."""
    turns = "\n\n".join(f"{m.role.capitalize()}: {m.content}" for m in messages)
    return [ChatMessageUser(content=_FRAME.format(conversation=turns, question=_QUESTION.format(a=a, b=b)))]


def pair_score(good_as_a: str | None, good_as_b: str | None) -> float | None:
    """Share of the two orders in which the good reply was picked; None if either letter could not be read."""
    if good_as_a is None or good_as_b is None:
        return None
    return ((good_as_a == "A") + (good_as_b == "B")) / 2


@solver
def both_orders(on_done: Callable[[int], None]) -> Solver:
    """Asks about every pair of a good and a bad reply in both orders.

    Args:
        on_done: told 1 after each item.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        del generate
        model = get_model()
        messages = [Message.model_validate(m) for m in state.metadata["messages"]]
        replies: list[tuple[str, str]] = []
        try:
            for good, bad in product(state.metadata["good"], state.metadata["bad"]):
                first = await model.generate(question(messages, good, bad))
                second = await model.generate(question(messages, bad, good))
                replies.append((first.completion, second.completion))
                state.output = second
        finally:
            on_done(1)
        state.metadata["letters"] = replies
        return state

    return solve


@scorer(metrics=[mean(), stderr()])
def letter_score() -> Scorer:
    """Mean over the pairs whose two letters could be read; unscored if there is none."""

    async def score(state: TaskState, target: Target) -> Score:
        del target
        replies: list[tuple[str, str]] = state.metadata["letters"]
        scores = [pair_score(parse_letter(a), parse_letter(b)) for a, b in replies]
        read = [s for s in scores if s is not None]
        metadata = {"letters": replies, "unreadable_pairs": len(scores) - len(read)}
        if not read:
            return Score.unscored(reason="no reply was the letter A or B alone", metadata=metadata)
        return Score(value=sum(read) / len(read), metadata=metadata)

    return score


def letters_task(evaluation: Eval, items: Sequence[EvalItem], on_done: Callable[[int], None] = lambda _: None) -> Task:
    """An eval under `choice` scoring for a model whose likelihoods cannot be read."""
    samples = [item_sample(item, {"good": list(item.good), "bad": list(item.bad)}) for item in items]
    return scoring_task(evaluation, "choice", samples, both_orders(on_done), letter_score())
