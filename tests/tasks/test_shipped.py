"""What the shipped corpus promises."""

from collections import Counter

import pytest

from steadfast.tasks import built_in_gold, built_in_scenarios, domains, find_overlaps, prove_disjoint, traits

CORPUS = built_in_scenarios()


def test_there_are_fifteen_traits_and_twelve_domains_each_defined_in_its_own_words():
    assert len(traits()) == 15
    assert len(domains()) == 12
    assert len({t.id for t in traits()}) == 15
    assert len({d.id for d in domains()}) == 12
    assert sum(t.starred for t in traits()) == 7
    assert all(len({t.definition, t.good, t.failure}) == 3 for t in traits())
    assert len({t.definition for t in traits()}) == 15


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_every_trait_has_scenarios_in_each_split(split):
    assert {s.trait for s in CORPUS if s.split == split} == {t.id for t in traits()}


def test_every_domain_has_scenarios():
    assert {s.domain for s in CORPUS} == {d.id for d in domains()}


def test_there_are_enough_scenarios_in_all_in_health_and_outside_it():
    count = Counter(s.domain for s in CORPUS)
    assert len(CORPUS) >= 60
    assert count["health"] >= 24
    assert len(CORPUS) - count["health"] >= 36


def test_at_least_half_the_scenarios_are_multi_turn():
    multi_turn = [s for s in CORPUS if any(m.role == "assistant" for m in s.messages)]
    assert len(multi_turn) >= len(CORPUS) / 2


def test_every_rubric_has_three_to_five_criteria_with_a_pitfall_among_them():
    assert {len(s.rubric) for s in CORPUS} <= {3, 4, 5}
    assert [s.id for s in CORPUS if not any(c.points < 0 for c in s.rubric)] == []


def test_no_statement_stands_on_both_sides_of_its_criterion():
    assert [s.id for s in CORPUS for c in s.rubric if set(c.met) & set(c.unmet)] == []


def test_ids_are_unique():
    assert [i for i, n in Counter(s.id for s in CORPUS).items() if n > 1] == []


def test_every_scenario_has_its_split_written_down():
    assert {s.split for s in CORPUS} == {"train", "held_out"}


def test_every_scenario_is_graded_by_a_rubric_with_statements_on_both_sides():
    assert [s.id for s in CORPUS if s.grader.kind != "rubric"] == []
    assert [s.id for s in CORPUS for c in s.rubric if not c.met or not c.unmet] == []


def test_no_two_scenarios_are_near_duplicates():
    texts = {s.id: s.text for s in CORPUS}
    assert [o for o in find_overlaps(texts, texts) if o.first != o.second] == []


def test_the_pools_prove_disjoint():
    pools = {split: {s.id: s.text for s in CORPUS if s.split == split} for split in ("train", "held_out")}
    assert prove_disjoint(pools) == {"train x held_out": len(pools["train"]) * len(pools["held_out"])}


def test_every_gold_pair_belongs_to_a_scenario_and_every_held_out_scenario_has_one():
    gold = built_in_gold()
    assert all(name == pair.scenario for name, pair in gold.items())
    assert set(gold) <= {s.id for s in CORPUS}
    assert {s.id for s in CORPUS if s.split == "held_out"} <= set(gold)


def test_the_two_gold_answers_differ_and_neither_is_a_statement_of_a_rubric():
    statements = {t.strip() for s in CORPUS for c in s.rubric for t in (*c.met, *c.unmet)}
    for name, pair in built_in_gold().items():
        assert pair.good != pair.bad, name
        assert pair.good.strip() not in statements, name
        assert pair.bad.strip() not in statements, name
