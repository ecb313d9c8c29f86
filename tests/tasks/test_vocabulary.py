import pytest
from hypothesis import given
from hypothesis import strategies as st

from steadfast.tasks.vocabulary import content_words, jaccard, shared_vocabulary

words = st.frozensets(st.sampled_from("abcdefgh"), max_size=6)


def test_function_words_numbers_and_short_words_carry_no_content():
    assert content_words("The nurse would give her 20 mg of it, and the Nurse left at 9.") == {"nurse", "left"}


@given(words, words)
def test_jaccard_is_symmetric_and_one_for_equal_sets(first, second):
    assert jaccard(first, second) == jaccard(second, first)
    assert 0 <= jaccard(first, second) <= 1
    assert jaccard(first, first) == (1.0 if first else 0.0)


def test_known_value():
    assert jaccard(frozenset("abc"), frozenset("bcd")) == 0.5


@given(st.lists(words, min_size=4, max_size=8), st.integers(1, 4))
def test_a_group_shares_all_of_its_vocabulary_with_a_copy_when_taken_whole(texts, size):
    assert shared_vocabulary(texts, texts, len(texts)) in (0.0, 1.0)
    value = shared_vocabulary(texts, texts, size)
    assert value is not None
    assert 0 <= value <= 1


def test_parts_of_one_group_never_hold_the_same_text():
    texts = [frozenset({f"word{i}"}) for i in range(10)]
    assert shared_vocabulary(texts, None, 5) == 0.0


def test_groups_in_different_words_share_nothing_and_a_mixture_something():
    first, second = [frozenset({"sea", "boat"})] * 4, [frozenset({"hill", "goat"})] * 4
    assert shared_vocabulary(first, second, 2) == 0.0
    assert shared_vocabulary(first, [*first, *second], 4) == pytest.approx(0.5, abs=0.3)


@pytest.mark.parametrize(("first", "second", "size"), [(3, None, 2), (3, 1, 2), (1, 3, 2), (4, 4, 0), (0, None, 0)])
def test_a_group_too_small_for_the_parts_has_no_figure(first, second, size):
    texts = [frozenset({"sea"})] * 4
    assert shared_vocabulary(texts[:first], None if second is None else texts[:second], size) is None
