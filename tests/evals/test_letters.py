"""The A/B question that compares references for models that show no likelihoods."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadfast.evals.letters import pair_score, parse_letter, question
from steadfast.messages import Message


@pytest.mark.parametrize(
    "text",
    ["A", " b".upper(), "(A)", "B.", "**A**", "[B]", "Answer: A", "Final answer: (B)", "A\n", "<think>B?</think> A"],
)
def test_a_bare_letter_is_read(text):
    assert parse_letter(text) in ("A", "B")


@pytest.mark.parametrize(
    "text", ["", "a", "C", "A B", "AB", "A or B", "I pick A", "Answer:", "A because it is kind", "None"]
)
def test_anything_else_is_not_read(text):
    assert parse_letter(text) is None


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_any_reply_is_a_letter_or_nothing(text):
    assert parse_letter(text) in ("A", "B", None)


def test_a_pair_with_one_unreadable_letter_has_no_score():
    assert pair_score("A", None) is None
    assert pair_score(None, "B") is None
    assert (pair_score("A", "B"), pair_score("B", "A"), pair_score("A", "A")) == (1.0, 0.0, 0.5)


def test_the_conversation_is_quoted_in_one_turn_with_both_replies():
    messages = question(
        (Message(role="system", content="Be brief."), Message(role="user", content="Why?")), "first", "second"
    )
    assert [m.role for m in messages] == ["user"]
    text = messages[0].text
    assert "System: Be brief." in text
    assert text.index("first") < text.index("second")
