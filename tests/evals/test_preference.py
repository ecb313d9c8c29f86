"""A preference compares likelihoods: known values by hand, and what may not change it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadfast.graders.preference import Nats, ReplyLikelihood, compare_nats, compare_replies
from steadfast.models.scoring import score_candidates
from tests.conftest import make_lm

nats = st.floats(-90, 0)
replies = st.lists(nats, min_size=1, max_size=3)


def reply(own: float, mismatched: float, alone: float = -9.0, ends: float = -2.0) -> ReplyLikelihood:
    return ReplyLikelihood(Nats(own, ends), Nats(mismatched, -3.0), Nats(alone, -4.0))


def test_a_reply_that_is_likelier_everywhere_does_not_win_by_it():
    """By hand: the good reply gains -10 - -12 = 2 nats of its conversation, the bad one -5 - -4 = -1."""
    good, bad = reply(-10.0, -12.0, alone=-11.0, ends=-6.0), reply(-5.0, -4.0, alone=-3.0, ends=-1.0)
    found = compare_replies([good], [bad])
    assert good.pmi == 2.0
    assert bad.pmi == -1.0
    assert (found["pmi"].share, found["pmi"].nats) == (1.0, 3.0)
    assert found["pmi"].graded == pytest.approx(0.9525741268)
    assert (found["plain"].share, found["plain"].nats) == (0.0, -5.0)
    assert (found["ends"].share, found["ends"].nats) == (0.0, -5.0)
    assert (found["alone"].share, found["alone"].nats) == (0.0, -8.0)


def test_ends_move_no_measure_of_words():
    found = [compare_replies([reply(-8.0, -9.0, ends=e)], [reply(-8.0, -8.0)]) for e in (-1.0, -40.0)]
    assert {m: c for m, c in found[0].items() if m != "ends"} == {m: c for m, c in found[1].items() if m != "ends"}
    assert found[0]["ends"].share == 1.0
    assert found[1]["ends"].share == 0.0


def test_all_pairs_count_alike_and_a_tie_counts_half():
    assert compare_nats([-1.0, -3.0], [-2.0]).share == 0.5
    assert compare_nats([-1.0], [-2.0, -3.0]).share == 1.0
    assert compare_nats([-3.0], [-1.0, -2.0]).share == 0.0
    assert compare_nats([-1.0, -2.0], [-2.0]).share == 0.75


@settings(max_examples=60, deadline=None)
@given(replies, replies)
def test_swapping_good_and_bad_turns_a_comparison_round(good, bad):
    one, other = compare_nats(good, bad), compare_nats(bad, good)
    assert other.share == pytest.approx(1 - one.share)
    assert other.graded == pytest.approx(1 - one.graded)
    assert other.nats == pytest.approx(-one.nats)


@settings(max_examples=60, deadline=None)
@given(replies, replies, st.floats(1.5, 4))
def test_a_model_that_only_becomes_more_certain_wins_no_pair_by_it(good, bad, sharper):
    assert compare_nats([g * sharper for g in good], [b * sharper for b in bad]).share == compare_nats(good, bad).share


@settings(max_examples=60, deadline=None)
@given(replies, replies, st.randoms())
def test_the_order_in_which_replies_are_listed_changes_no_score(good, bad, random):
    shuffled = compare_nats(random.sample(good, len(good)), random.sample(bad, len(bad)))
    assert shuffled.share == pytest.approx(compare_nats(good, bad).share)
    assert shuffled.nats == pytest.approx(compare_nats(good, bad).nats)


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
