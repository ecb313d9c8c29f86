import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadfast.evals.tasks import pairs_won, preference
from steadfast.models import CandidateScore

tokens = st.integers(1, 80)
per_token = st.floats(-12, 0)
replies = st.lists(st.builds(lambda p, n: CandidateScore(p * n, n), per_token, tokens), min_size=1, max_size=3)


@settings(max_examples=100, deadline=None)
@given(replies, replies)
def test_swapping_good_and_bad_turns_a_preference_round(good, bad):
    assert preference(bad, good) == pytest.approx(1 - preference(good, bad))
    assert 0 <= preference(good, bad) <= 1


@settings(max_examples=100, deadline=None)
@given(replies, replies, st.floats(-5, 5))
def test_a_shift_of_every_token_alike_changes_nothing(good, bad, shift):
    def shifted(scores):
        return [CandidateScore(s.logprob + shift * s.tokens, s.tokens) for s in scores]

    assert preference(shifted(good), shifted(bad)) == pytest.approx(preference(good, bad), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(per_token, st.lists(tokens, min_size=2, max_size=6))
def test_replies_alike_in_likelihood_a_token_are_indifferent_whatever_their_length(p, lengths):
    scores = [CandidateScore(p * n, n) for n in lengths]
    assert preference(scores[:1], scores[1:]) == pytest.approx(0.5)


@settings(max_examples=60, deadline=None)
@given(replies, replies, st.floats(0.01, 3))
def test_a_likelier_good_reply_raises_the_preference(good, bad, gain):
    better = [CandidateScore(good[0].logprob + gain * good[0].tokens, good[0].tokens), *good[1:]]
    assert preference(better, bad) > preference(good, bad)


def test_known_values():
    a, b = CandidateScore(-10.0, 10), CandidateScore(-40.0, 20)
    assert preference([a], [b]) == pytest.approx(0.731058578)
    assert preference([a, b], [b]) == pytest.approx((0.731058578 + 0.5) / 2)


def test_pairs_won_is_the_share_of_pairs_with_the_good_reply_ahead():
    a, b, c = (CandidateScore(-p * 7, 7) for p in (1.0, 2.0, 3.0))
    assert pairs_won([a, c], [b]) == 0.5
    assert pairs_won([a], [b, c]) == 1.0
    assert pairs_won([c], [a, b]) == 0.0
