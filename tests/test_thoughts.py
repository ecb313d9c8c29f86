import pytest
from hypothesis import given
from hypothesis import strategies as st

from steadfast.thoughts import ThoughtMarks, split_thoughts

ANSWER = "Vinegar will not heal it."


@pytest.mark.parametrize(
    ("text", "thoughts", "answer"),
    [
        (ANSWER, "", ANSWER),
        (f" {ANSWER}\n", "", f" {ANSWER}\n"),
        (f"<think>Please them?</think>\n\n{ANSWER}", "Please them?", ANSWER),
        (f"<think>\n\n</think>\n\n{ANSWER}", "", ANSWER),
        (f"Please them? No.\n</think>\n{ANSWER}", "Please them? No.", ANSWER),
        ("<think>Please them? And then", "Please them? And then", ""),
        (f"<think>one</think>{ANSWER}<think>two</think>", "one\ntwo", ANSWER),
        (f"<think>one</think>so</think>{ANSWER}", "one\nso", ANSWER),
        (f"<think>a <think> b</think>{ANSWER}", "a\nb", ANSWER),
        ("</think>", "", ""),
        ("<think>", "", ""),
        ("", "", ""),
    ],
)
def test_thoughts_stand_between_their_tags_and_before_a_lone_closing_one(text, thoughts, answer):
    assert split_thoughts(text) == (thoughts, answer)


def test_a_models_own_tags_can_be_named():
    assert split_thoughts("[T]hm[/T]yes", ThoughtMarks("[T]", "[/T]")) == ("hm", "yes")


@given(st.lists(st.sampled_from(["<think>", "</think>", "a", "b ", "\n"]), max_size=12).map("".join))
def test_no_tag_of_thoughts_reaches_the_answer(text):
    _, answer = split_thoughts(text)
    assert "<think>" not in answer
    assert "</think>" not in answer
    assert split_thoughts(answer) == ("", answer)
