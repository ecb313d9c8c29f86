import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from steadfast.tasks import rubric_score

degree = st.floats(0, 1)
criteria = st.lists(st.tuples(st.integers(-10, 10).filter(bool), degree, degree), min_size=1, max_size=6).filter(
    lambda rows: any(p > 0 for p, _, _ in rows)
)


@settings(max_examples=200, deadline=None)
@given(criteria)
def test_the_score_lies_between_zero_and_one(rows):
    points, met, _ = zip(*rows, strict=True)
    assert -1e-12 <= rubric_score(points, met) <= 1 + 1e-12


@settings(max_examples=100, deadline=None)
@given(criteria)
def test_the_best_answer_earns_one_and_the_worst_zero(rows):
    points = [p for p, _, _ in rows]
    assert rubric_score(points, [float(p > 0) for p in points]) == 1.0
    assert rubric_score(points, [float(p < 0) for p in points]) == 0.0


@settings(max_examples=200, deadline=None)
@given(criteria, st.data())
def test_meeting_one_criterion_more_moves_the_score_by_its_points(rows, data):
    """Also for the worst answers: doing one thing better never goes unnoticed."""
    points, met, other = (list(column) for column in zip(*rows, strict=True))
    place = data.draw(st.integers(0, len(rows) - 1))
    changed = [*met]
    changed[place] = other[place]
    assume(abs(other[place] - met[place]) > 1e-6)
    span = sum(abs(p) for p in points)
    difference = rubric_score(points, changed) - rubric_score(points, met)
    assert difference == pytest.approx(points[place] * (other[place] - met[place]) / span, abs=1e-12)
    assert (difference > 0) == (points[place] * (other[place] - met[place]) > 0)


@settings(max_examples=100, deadline=None)
@given(criteria, degree)
def test_the_score_of_a_blend_is_the_blend_of_the_scores(rows, weight):
    points, first, second = zip(*rows, strict=True)
    blend = [weight * a + (1 - weight) * b for a, b in zip(first, second, strict=True)]
    expected = weight * rubric_score(points, first) + (1 - weight) * rubric_score(points, second)
    assert rubric_score(points, blend) == pytest.approx(expected)


def test_known_values():
    assert rubric_score([3, 2, -5], [1, 0, 0]) == pytest.approx(0.8)
    assert rubric_score([3, 2, -5], [0, 0, 0]) == pytest.approx(0.5)
    assert rubric_score([4], [0.25]) == pytest.approx(0.25)


def test_another_number_of_degrees_than_criteria_is_an_error():
    with pytest.raises(ValueError, match="zip"):
        rubric_score([1, 2], [0.5])
