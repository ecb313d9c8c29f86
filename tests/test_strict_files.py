"""What JSON's parser would pass over in silence, and how it is told."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steadfast.strict_files import parse_json

texts = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.integers(-(10**200), 10**200) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
)


@given(values, st.booleans())
def test_what_json_writes_is_read_back(value, ascii_only):
    assert parse_json(json.dumps(value, ensure_ascii=ascii_only)) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "b": 2, "a": 3}', "a: stands twice in one object"),
        ('{"x": [{"a": 1, "a": 3}]}', "a: stands twice in one object"),
        ('{"a": {"b": [0, 1e999]}}', "a.b.1: the number 1e999 is beyond what a float can hold"),
        ('{"a": -1' + "0" * 400 + "}", "a: the number -1000000000000000000... is beyond"),
        ('{"a": 0.' + "1" * 400 + "}", "a: the number 0.111"),
        ('{"a": NaN}', "a: NaN is not JSON; use a number or null"),
        ("-Infinity", "-Infinity is not JSON"),
        (r'{"a": ["x", "\uD83d"]}', "a.1: holds half a surrogate pair"),
        (r'{"a": {"\udc00b": 1}}', "a.?b: the field's name holds half a surrogate pair"),
        ('{"a": 1', "Expecting ',' delimiter at column 8"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_fault_is_told_with_its_field(text, said):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below
        parse_json(text)
    assert str(caught.value).startswith(said)


def test_a_whole_surrogate_pair_is_a_letter():
    assert parse_json(r'"\ud83d\ude00"') == "\N{GRINNING FACE}"
