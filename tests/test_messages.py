import pytest
from hypothesis import given
from hypothesis import strategies as st

from steadfast.messages import is_blank, printable


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
