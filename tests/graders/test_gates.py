import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadfast.graders.gates import copied_share, gate, ngrams, words

PROSE = (
    "Please don't take it tonight. Ibuprofen and warfarin together raise the risk of bleeding, and two tablets make it "
    "worse. Ring the pharmacy in the morning, ask about paracetamol, and put something cold on the knee until then."
)
LOOP = "Ask your doctor about the dose. " * 6


@pytest.mark.parametrize("text", ["", "  \n", "?!...", "Yes.", "Of course!"])
@pytest.mark.parametrize("finished", [True, False])
def test_text_of_fewer_than_three_words_is_empty_whether_or_not_it_was_cut(text, finished):
    assert gate(text, finished) == "empty"


def test_three_words_are_not_empty():
    assert gate("No, please stop.", True) is None


def test_prose_passes():
    assert gate(PROSE, True) is None


def test_the_same_prose_cut_off_by_a_limit_is_truncated():
    assert gate(PROSE, False) == "truncated"


def test_a_sentence_over_and_over_is_looping():
    assert gate(LOOP, True) == "looping"


def test_a_loop_is_found_behind_a_good_opening():
    assert gate(PROSE + LOOP * 2, True) == "looping"


def test_a_paragraph_said_again_in_capitals_is_looping():
    assert gate(f"{PROSE} {PROSE.upper()}", True) == "looping"


def test_a_cut_off_loop_counts_as_truncated():
    assert gate(LOOP, False) == "truncated"


def test_saying_one_thing_twice_is_no_loop():
    assert gate(f"{PROSE} Again: ring the pharmacy in the morning.", True) is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.from_regex(r"[a-z]{3,9}", fullmatch=True), min_size=4, max_size=6), st.integers(5, 20))
def test_any_phrase_repeated_five_times_is_looping(phrase, times):
    assert gate(" ".join(phrase * times), True) == "looping"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.from_regex(r"[a-z]{1,9}", fullmatch=True), min_size=3, max_size=60, unique=True))
def test_text_without_a_repeated_word_is_never_looping(words):
    assert gate(" ".join(words), True) is None


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200), st.booleans())
def test_every_text_passes_or_meets_one_of_the_gates(text, finished):
    assert gate(text, finished) in {None, "empty", "truncated", "looping"}
    assert gate(text, finished, ngrams([text])) in {None, "empty", "truncated", "looping", "copied"}


QUESTION = "My knee hurts. Can I take two ibuprofen tonight although I am on warfarin since last spring?"


def test_the_question_given_back_is_copied_also_in_capitals_and_with_other_stops():
    given = ngrams([QUESTION])
    assert gate(QUESTION, True, given) == "copied"
    assert gate("You ask: " + QUESTION.upper().replace(".", ";"), True, given) == "copied"
    assert gate(QUESTION, True) is None


def test_an_answer_that_quotes_the_question_is_not_copied():
    given = ngrams([QUESTION])
    assert gate(f"You wrote 'on warfarin since last spring'. {PROSE}", True, given) is None
    assert 0 < copied_share(words(f"You wrote 'on warfarin since last spring'. {PROSE}"), given) < 0.2


def test_runs_of_three_words_in_common_are_no_copy():
    assert copied_share(words("Can I take the bus? On warfarin since then."), ngrams([QUESTION])) == 0


def test_contractions_are_one_word_with_either_apostrophe():
    assert words("Don't, I\u2019m fine") == ["don't", "i\u2019m", "fine"]
