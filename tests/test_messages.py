import pytest
from hypothesis import given
from hypothesis import strategies as st

from steadfast.messages import is_blank, printable, split_thoughts

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
        (f"<think>one</think>{ANSWER}<think>two</think>", "one\n\ntwo", ANSWER),
        (f"<think>one</think>so</think>{ANSWER}", "one\n\nso", ANSWER),
        (f"<think>a <think> b</think>{ANSWER}", "a <think> b", ANSWER),
        (f"{ANSWER} <think>was that right", "was that right", ANSWER),
        ("</think>", "", ""),
        ("<think>", "", ""),
        ("", "", ""),
    ],
)
def test_thoughts_stand_between_their_tags_and_before_a_lone_closing_one(text, thoughts, answer):
    assert split_thoughts(text) == (thoughts, answer)


def test_a_models_own_tags_can_be_named():
    assert split_thoughts("[T]hm[/T]yes", "[T]", "[/T]") == ("hm", "yes")


@given(st.lists(st.sampled_from(["<think>", "</think>", "a", "b ", "\n"]), max_size=12).map("".join))
def test_no_tag_of_thoughts_reaches_the_answer(text):
    _, answer = split_thoughts(text)
    assert "<think>" not in answer
    assert "</think>" not in answer
    assert split_thoughts(answer) == ("", answer)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\x00b\x07\x7f\x9b", "a\\x00b\\x07\\x7f\\x9b"),
        ("a\u202eb\u2066c", "a\\u202eb\\u2066c"),
        ("a\r\nb\rc", "a\nb\\x0dc"),
        ("\ud800 half", "? half"),
        ("não, 不能, 👩‍👩‍👧, עברית", "não, 不能, 👩‍👩‍👧, עברית"),
    ],
)
def test_control_characters_and_bidirectional_overrides_are_shown_as_escapes(text, shown):
    assert printable(text) == shown


@given(st.text(st.characters(codec=None)))
def test_printable_text_can_be_written_stays_as_it_is_and_holds_no_control_character(text):
    once = printable(text)
    assert printable(once) == once
    assert once.encode().decode() == once
    assert all(letter in "\t\n" or letter >= " " for letter in once)


@pytest.mark.parametrize("text", ["", " \n\t", "\u200b", "\ufeff", "\u00a0\u2003", "\x00"])
def test_text_that_shows_nothing_is_blank(text):
    assert is_blank(text)


@pytest.mark.parametrize("text", ["a", "?", "不", "\U0001f44d", " . "])
def test_text_that_shows_something_is_not_blank(text):
    assert not is_blank(text)
