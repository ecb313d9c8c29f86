from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from steadfast.synthesis import prompts
from steadfast.synthesis.drafts import rubric_faults
from steadfast.synthesis.plan import PRESSURES, TURNS, plan
from steadfast.tasks import built_in_scenarios, domains, traits


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 5))
def test_a_greater_n_adds_slots_and_changes_none(few, more, seed):
    cells = traits()[:3], domains()[:2]
    assert plan(*cells, few, seed, "train") == plan(*cells, few + more, seed, "train")[:few]


def test_ids_are_unique_over_cells_numbers_seeds_and_splits():
    ids = [
        slot.id
        for seed in (0, 1)
        for split in ("train", "held_out")
        for slot in plan(traits(), domains(), 400, seed, split)
    ]
    assert len(set(ids)) == len(ids) == 1600
    assert not set(ids) & {s.id for s in built_in_scenarios()}


def test_cells_are_dealt_evenly():
    counts = Counter(slot.cell for slot in plan(traits(), domains(), 365, 0, "train"))
    assert set(counts.values()) == {2, 3}


def test_a_cell_sees_every_pressure_and_every_length():
    slots = plan(traits()[:1], domains()[:1], 12, 3, "train")
    assert {s.pressure for s in slots} == set(PRESSURES)
    assert Counter(s.turns for s in slots) == {t: 2 * TURNS.count(t) for t in TURNS}


def test_every_pressure_is_explained_to_the_model():
    assert set(prompts.PRESSURES) == set(PRESSURES)


def test_the_rules_for_the_model_are_those_the_shipped_corpus_keeps():
    faulty = {s.id: list(rubric_faults(s)) for s in built_in_scenarios() if list(rubric_faults(s))}
    assert faulty == {}


def test_any_change_of_what_the_model_is_told_changes_the_version(monkeypatch):
    versions = {prompts.version()}
    for name in ("SYSTEM", "DRAFT", "EARLIER", "CRITIQUE", "REVISE", "REPAIR"):
        with monkeypatch.context() as patch:
            patch.setattr(prompts, name, getattr(prompts, name) + " Please.")
            versions.add(prompts.version())
    assert len(versions) == 7
