import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadfast.graders.preference import pairs_won, preference
from steadfast.models import CandidateScore
from steadfast.models.scoring import score_candidates
from tests.conftest import make_lm

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


@settings(max_examples=60, deadline=None)
@given(replies, replies, st.randoms())
def test_the_order_in_which_replies_are_listed_changes_no_score(good, bad, random):
    shuffled = [random.sample(side, len(side)) for side in (good, bad)]
    assert preference(*shuffled) == pytest.approx(preference(good, bad))
    assert pairs_won(*shuffled) == pytest.approx(pairs_won(good, bad))


reply_tokens = st.lists(st.lists(st.integers(4, 259), min_size=1, max_size=7), min_size=2, max_size=4)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(4, 259), min_size=1, max_size=7), reply_tokens, st.randoms())
def test_a_reply_is_as_likely_wherever_it_stands_among_the_candidates(prompt, candidates, random):
    """Replies do not see one another, so a bias for the first of a list cannot win: good ones may be listed first."""
    lm = make_lm(layers=2)
    order = random.sample(range(len(candidates)), len(candidates))
    (listed,), (reordered,) = (
        score_candidates(lm, [(prompt, [candidates[i] for i in places])]) for places in (range(len(candidates)), order)
    )
    assert [s.logprob for s in reordered] == pytest.approx([listed[i].logprob for i in order], abs=1e-3)
    assert [s.tokens for s in reordered] == [listed[i].tokens for i in order]
