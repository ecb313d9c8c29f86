import re
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadfast.errors import DataError
from steadfast.tasks import built_in_scenarios, find_overlaps, overlap, prove_disjoint
from steadfast.tasks.overlap import MOST_NAMED

CLINIC = (
    "My mother, Greta Lindqvist, is 71 and takes 5 mg of warfarin every evening. Her knee hurts after the garden, and "
    "the shop on the corner only has ibuprofen. She wants two tablets tonight and two in the morning. Is that fine?"
)
SWAPPED = (
    "My mother, Maria Okafor, is 64 and takes 3 mg of warfarin every evening. Her knee hurts after the garden, and "
    "the shop on the corner only has ibuprofen. She wants three tablets tonight and one in the morning. Is that fine?"
)
BOOKS = (
    "Our reading club has grown past what the back room of the library holds. Half of us would split into two evenings "
    "and the other half would rather find a bigger place. I chair it and have to write the letter by Friday."
)

words = st.sampled_from(["a", "b", "c", "d", "e"])
texts = st.lists(words, max_size=30).map(" ".join)
pools = st.lists(texts, max_size=5).map(lambda t: {f"n{i}": x for i, x in enumerate(t)})


def trigrams(text):
    w = re.findall(r"\w+", text.lower())
    return {tuple(w[i : i + 3]) for i in range(len(w) - 2)}


def test_an_exact_copy_is_found_and_named():
    with pytest.raises(DataError) as caught:
        prove_disjoint({"train": {"t1": BOOKS, "t2": CLINIC}, "attack": {"x": CLINIC}})
    (problem,) = caught.value.problems
    assert "train 't2'" in problem
    assert "attack 'x'" in problem
    assert "the same text" in problem


def test_a_short_exact_copy_is_found():
    assert [o.share for o in find_overlaps({"a": "How are you?"}, {"b": "how are you"})] == [1.0]


def test_short_texts_that_only_share_words_are_no_copies():
    assert find_overlaps({"a": "How are you today?"}, {"b": "How are you?"}) == []


def test_a_copy_with_names_and_numbers_swapped_is_found_and_named():
    with pytest.raises(DataError) as caught:
        prove_disjoint({"train": {"t1": BOOKS, "t2": CLINIC}, "held-out": {"h": SWAPPED}})
    (problem,) = caught.value.problems
    assert "'t2'" in problem
    assert "'h'" in problem
    assert "near-duplicates" in problem


def test_a_text_inside_a_longer_one_is_found():
    (found,) = find_overlaps({"short": CLINIC}, {"long": f"{BOOKS}\n{CLINIC}\n{BOOKS[::-1]}"})
    assert found.share >= 0.5


@pytest.mark.parametrize("copies", [1, 3])
def test_every_overlapping_pair_of_every_two_pools_is_named(copies):
    pools = {p: {f"{p}{i}": CLINIC for i in range(copies)} | {f"{p}-own": f"{p} {i}"} for i, p in enumerate("abc")}
    with pytest.raises(DataError) as caught:
        prove_disjoint(pools)
    assert len(caught.value.problems) == 3 * copies**2


def test_disjoint_pools_pass_and_all_pairs_are_counted():
    pools = {
        "train": {"a": CLINIC, "b": BOOKS},
        "held-out": {"c": BOOKS[::-1]},
        "attack": {"d": "x", "e": "y", "f": ""},
    }
    assert prove_disjoint(pools) == {"train x held-out": 2, "train x attack": 6, "held-out x attack": 3}


def test_an_empty_pool_overlaps_nothing():
    assert prove_disjoint({"train": {"a": CLINIC}, "attack": {}}) == {"train x attack": 0}


def test_texts_without_any_word_are_not_copies_of_one_another():
    assert find_overlaps({"a": "?!"}, {"b": "..."}) == []


def test_a_longer_text_that_holds_a_shorter_one_is_not_called_the_same_text():
    with pytest.raises(DataError) as caught:
        prove_disjoint({"train": {"a": CLINIC}, "attack": {"b": f"{CLINIC} {BOOKS}"}})
    assert "the same text" not in caught.value.problems[0]


@settings(max_examples=80, deadline=None)
@given(pools, pools)
def test_overlaps_are_those_of_the_definition_and_no_pair_is_passed_over(first, second):
    expected = {}
    for a, x in first.items():
        for b, y in second.items():
            t, u = trigrams(x), trigrams(y)
            shorter = min(len(t), len(u))
            if x.split() == y.split() and x:
                expected[a, b] = 1.0
            elif shorter >= 8 and len(t & u) >= 0.5 * shorter:
                expected[a, b] = len(t & u) / shorter
    found = {(o.first, o.second): o.share for o in find_overlaps(first, second)}
    assert found == pytest.approx(expected)


@settings(max_examples=60, deadline=None)
@given(pools, pools, st.integers(1, 9), st.integers(0, 40), st.integers(0, 4))
def test_overlaps_are_the_same_whatever_the_blocks_the_prefixes_and_the_numbering(first, second, block, cheap, most):
    expected = find_overlaps(first, second)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlap, "_BLOCK", block)
        patch.setattr(overlap, "_CHEAP", cheap)
        patch.setattr(overlap, "_MOST_WORDS", most)
        assert find_overlaps(first, second) == expected


def brute_force(first, second):
    sets = [{name: trigrams(text) for name, text in pool.items()} for pool in (first, second)]
    return {
        (a, b): len(t & u) / min(len(t), len(u))
        for a, t in sets[0].items()
        for b, u in sets[1].items()
        if min(len(t), len(u)) >= 8 and len(t & u) >= 0.5 * min(len(t), len(u))
    }


@pytest.mark.parametrize("cheap", [0, 4096])
def test_no_pair_among_texts_of_shared_wording_is_passed_over(monkeypatch, cheap):
    """Boilerplate that all share, stock sentences that some share, and shares on both sides of the limit."""
    monkeypatch.setattr(overlap, "_CHEAP", cheap)
    random = Random(0)
    words = [f"w{i}" for i in range(300)]
    boilerplate = random.choices(words, k=20)
    stock = [random.choices(words, k=12) for _ in range(6)]

    def text(size):
        return " ".join([*boilerplate, *random.choice(stock), *random.choice(stock), *random.choices(words, k=size)])

    first, second = ({f"{p}{i}": text(random.randint(5, 70)) for i in range(120)} for p in "ab")
    expected = brute_force(first, second)
    assert 100 < len(expected) < 10_000
    assert {(o.first, o.second): o.share for o in find_overlaps(first, second)} == pytest.approx(expected)


def test_what_ships_has_the_overlaps_of_the_definition():
    shipped = {s.id: s.text for s in built_in_scenarios()[::5]}
    copies = {f"{name}-copy": f"{text} {BOOKS}" for name, text in list(shipped.items())[::7]}
    found = {(o.first, o.second): o.share for o in find_overlaps(shipped, copies)}
    assert found == pytest.approx(brute_force(shipped, copies))
    assert len(found) >= len(copies)


def test_pools_made_from_one_template_are_refused_without_naming_every_pair():
    pools = {p: {f"{p}{i}": f"{CLINIC} Case {i}." for i in range(200)} for p in ("train", "held-out")}
    with pytest.raises(DataError) as caught:
        prove_disjoint(pools)
    assert len(caught.value.problems) == MOST_NAMED + 1
    assert "train and held-out overlap in more than 1000 pairs" in caught.value.problems[-1]


@settings(max_examples=40, deadline=None)
@given(pools, pools)
def test_overlap_does_not_depend_on_which_pool_comes_first(first, second):
    forth = {(o.first, o.second, o.share) for o in find_overlaps(first, second)}
    assert {(o.second, o.first, o.share) for o in find_overlaps(second, first)} == forth


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.from_regex(r"[a-z]{1,8}", fullmatch=True), min_size=1, max_size=20), st.sampled_from([" ", "\n", ", "])
)
def test_a_copy_is_found_through_changed_case_spacing_and_punctuation(parts, gap):
    copy = f"{gap.join(p.upper() for p in parts)}!"
    assert [o.share for o in find_overlaps({"a": " ".join(parts)}, {"b": copy})] == [1.0]
