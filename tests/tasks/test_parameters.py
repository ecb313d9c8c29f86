"""Typed parameters: what each kind takes, and how rules compare it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steadfast.tasks.parameters import Boolean, Choice, Number, Text

SIDES = Choice(options=("left", "Right", "straight on"))
KINDS = [SIDES, Number(), Boolean(), Text()]

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["true", "-2.50 "]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
edges = st.integers(-4, 4).map(lambda n: n / 2)
conditions = st.one_of(
    edges,
    st.tuples(st.sampled_from(["<", "<=", ">", ">=", "=", "!="]), edges).map(lambda c: f"{c[0]} {c[1]}"),
    st.tuples(edges, edges).map(sorted).map(lambda c: f"{c[0]} to {c[1]}"),
)


@given(st.sampled_from(KINDS), values)
def test_any_value_is_taken_or_refused_in_a_sentence_and_what_was_taken_is_taken_again_unchanged(kind, value):
    try:
        read = kind.read(value)
    except ValueError:
        with pytest.raises(ValueError, match=r"^takes .{1,180}$"):
            kind.read(value)
    else:
        assert kind.read(read) == read
        assert kind.read(json.loads(json.dumps(read))) == read


@given(st.floats(allow_nan=False, allow_infinity=False, width=32).map(lambda f: round(f, 3)))
def test_a_number_written_out_is_the_number(number):
    assert Number().read(f" {number:.3f} ") == number


@pytest.mark.parametrize("value", ["1,200", "1e3", "0x10", "12 kg", "", "+5", ".5", "\u0663"])
def test_a_text_that_could_be_another_number_is_no_number(value):
    with pytest.raises(ValueError, match="takes a number"):
        Number().read(value)


@given(st.lists(conditions, min_size=1, max_size=4), st.integers(-12, 12).map(lambda n: n / 4))
def test_a_numbers_samples_meet_conditions_in_every_way_that_any_number_does(several, number):
    kind = Number()
    met = [kind.fits(c, number) for c in several]
    assert met in [[kind.fits(c, s) for c in several] for s in kind.samples(several)]


@pytest.mark.parametrize(
    ("condition", "fitting"),
    [
        ("Right", ["Right"]),
        (["Right", "left"], ["left", "Right"]),
        ({"not": "Right"}, ["left", "straight on"]),
        ({"not": ["Right", "left"]}, ["straight on"]),
    ],
)
def test_choices_are_compared_as_written(condition, fitting):
    assert [o for o in SIDES.samples([condition]) if SIDES.fits(condition, o)] == fitting


@pytest.mark.parametrize(
    ("condition", "fitting", "others"),
    [
        (5, [5], [4.5, 6]),
        ([5, "> 7"], [5, 8], [6, 7]),
        ("< 5", [4.5, -1], [5]),
        ("<=5", [5], [5.5]),
        ("> -2.5", [-2], [-2.5]),
        (">= 5", [5], [4.5]),
        ("= 5", [5], [4]),
        ("!= 5", [4, 6], [5]),
        ("1 to 12", [1, 12, 6.5], [0, 12.5]),
    ],
)
def test_numbers_are_compared_as_written(condition, fitting, others):
    number = Number()
    assert [v for v in (*fitting, *others) if number.fits(condition, v)] == fitting
    samples = number.samples([condition])
    assert {number.fits(condition, v) for v in samples} == {True, False}
