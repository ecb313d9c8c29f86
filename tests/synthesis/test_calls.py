import asyncio
import json

import pytest
from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelOutput

from steadfast.graders.llm.faults import LONGEST_REPLY
from steadfast.messages import Message
from steadfast.synthesis.calls import BudgetSpent, Caller
from steadfast.synthesis.drafts import Review

ASK = [Message(role="user", content="Write one.")]


def output(text: str, reason: str = "stop") -> ModelOutput:
    choice = ChatCompletionChoice(message=ChatMessageAssistant(content=text), stop_reason=reason)
    return ModelOutput(model="m", choices=[choice])


class Canned:
    """A model of Inspect's that gives these outputs; the mock that comes with Inspect wants a tokenizer's download."""

    def __init__(self, outputs):
        self.outputs = iter(outputs)

    async def generate(self, messages, config):
        return next(self.outputs)


def ask(*outputs: ModelOutput, budget: int | None = None):
    call = Caller(Canned(outputs), budget)
    return [asyncio.run(call(ASK, Review, seed=1)) for _ in outputs]


def test_a_reply_without_any_choice_is_an_empty_answer():
    (answer,) = ask(ModelOutput(model="m", choices=[]))
    assert (answer.text, answer.cut_off, answer.withheld) == ("", False, False)


@pytest.mark.parametrize(
    ("reason", "cut_off", "withheld"),
    [
        ("stop", False, False),
        ("max_tokens", True, False),
        ("model_length", True, False),
        ("content_filter", False, True),
    ],
)
def test_how_an_answer_ended_is_told(reason, cut_off, withheld):
    (answer,) = ask(output("text", reason))
    assert (answer.cut_off, answer.withheld) == (cut_off, withheld)


def test_an_answer_without_end_is_cut_and_told_to_be():
    (answer,) = ask(output("x" * (LONGEST_REPLY + 1)))
    assert len(answer.text) == LONGEST_REPLY
    assert answer.cut_off


def test_half_a_surrogate_pair_and_control_characters_do_not_stand_in_the_way_of_writing():
    (answer,) = ask(output("half \ud83d and \x1b[2J"))
    assert json.dumps(answer.text, ensure_ascii=False).encode() == rb'"half ? and \\x1b[2J"'


def test_no_call_is_made_beyond_the_budget():
    with pytest.raises(BudgetSpent):
        ask(output("one"), output("two"), budget=1)
