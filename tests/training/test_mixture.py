import pytest
from hypothesis import given
from hypothesis import strategies as st

from steadfast.training.mixture import build_mixture, slice_slots
from tests.training.examples import scheduled, task


def prompts(pool, count):
    return [scheduled(task(f"{pool}-{i}", f"{pool} {i}"), pool) for i in range(count)]


TRAIT, STANDARD, OTHER = prompts("trait", 7), prompts("standard", 50), prompts("standard", 90)[50:]


def mixture(own, **changes):
    return build_mixture(own, STANDARD, **{"steps": 10, "prompts_per_step": 8, "share": 0.25, "seed": 0} | changes)


@given(slots=st.integers(1, 3000), share=st.floats(0, 1))
def test_the_share_is_exact_over_the_run(slots, share):
    assert sum(slice_slots(slots, share)) == round(share * slots)


@given(slots=st.integers(40, 2000), share=st.floats(0.02, 0.98))
def test_the_slice_is_spread_evenly(slots, share):
    """Every stretch of the run holds its part of the slice, give or take one prompt."""
    marks = slice_slots(slots, share)
    exact = round(share * slots) / slots
    for start in range(0, slots, 17):
        stretch = marks[start : start + 40]
        assert abs(sum(stretch) - exact * len(stretch)) <= 1.0 + 1e-9


def test_arms_see_byte_identical_shared_prompts_in_the_same_order():
    arm, baseline = mixture(TRAIT), mixture(OTHER)
    flags = slice_slots(80, 0.25)
    flat_arm, flat_baseline = [p for s in arm for p in s], [p for s in baseline for p in s]
    shared = [(a, b) for a, b, in_slice in zip(flat_arm, flat_baseline, flags, strict=True) if not in_slice]
    assert len(shared) == 60
    for ours, theirs in shared:
        assert ours.task.model_dump_json() == theirs.task.model_dump_json()
    assert sum(p.pool == "trait" for p in flat_arm) == 20
    assert not any(p.pool == "trait" for p in flat_baseline)


def test_every_slice_prompt_is_used_before_any_is_used_again():
    own = [p.task.id for step in mixture(TRAIT) for p in step if p.pool == "trait"]
    assert sorted(own[:7]) == sorted(p.task.id for p in TRAIT)
    assert sorted(own[7:14]) == sorted(p.task.id for p in TRAIT)
    assert own[:7] != own[7:14]


def test_another_seed_gives_another_order():
    assert mixture(TRAIT) == mixture(TRAIT)
    assert mixture(TRAIT) != mixture(TRAIT, seed=1)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_outside_0_1_is_an_error(share):
    with pytest.raises(ValueError, match="between 0 and 1"):
        mixture(TRAIT, share=share)


def test_an_empty_slice_with_a_share_is_an_error():
    with pytest.raises(ValueError, match="no prompts"):
        mixture([])


def twins(count):
    made = [task(f"twin-{i}{side}", f"twin {i} {side}") for i in range(count) for side in "ab"]
    other = {"a": "b", "b": "a"}
    return [scheduled(t.model_copy(update={"pair": t.id[:-1] + other[t.id[-1]]}), "trait") for t in made]


@pytest.mark.parametrize("extra", [0, 1, 3])
def test_twins_share_a_step_and_every_task_is_used(extra):
    own = twins(5) + prompts("trait", extra)
    steps = mixture(own, in_pairs=True, share=0.5, steps=20)
    for step in steps:
        ids = [p.task.id for p in step]
        assert all(p.task.pair in ids for p in step if p.task.pair)
    assert {p.task.id for step in steps for p in step if p.pool == "trait"} == {p.task.id for p in own}


def test_an_odd_step_cannot_hold_twins():
    with pytest.raises(ValueError, match="must be even, not 7"):
        mixture(twins(2), in_pairs=True, prompts_per_step=7)
