"""A corpus in figures: counts, resemblances, and the faults that end in exit code 2."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadfast.errors import DataError
from steadfast.tasks import Domain, GoldPair, Task, Taxonomy, Trait, built_in_gold, built_in_scenarios
from steadfast.tasks.nearest import nearest_pairs
from steadfast.tasks.stats import MAX_COSINE, MAX_REPEATS, corpus_stats
from tests.tasks.examples import criterion, record

SIZE = 300


def far_apart(texts):
    return np.eye(len(texts), 400, dtype=np.float32)


def scenario(identifier, text="", *, turns=1, **changes):
    text = text or f"{identifier} asks about it"
    spoken = [{"role": ("user", "assistant")[i % 2], "content": text if i == 0 else f"turn {i}"} for i in range(turns)]
    return Task.model_validate(record(identifier, messages=spoken, **{"split": "train"} | changes))


def stats_of(tasks, gold=None, embed=far_apart, taxonomy=None, **options):
    return corpus_stats(tasks, gold or {}, embed, taxonomy or Taxonomy.load(), **options)


def test_scenarios_are_counted_by_split_trait_domain_and_cell():
    stats = stats_of(
        [
            scenario("a"),
            scenario("b", split="held_out"),
            scenario("c", trait="corrigibility", domain="law"),
            scenario("d", domain="law"),
        ]
    )
    assert (stats.scenarios.train, stats.scenarios.held_out) == (3, 1)
    assert (stats.traits["truthfulness"].train, stats.traits["truthfulness"].held_out) == (2, 1)
    assert stats.domains["law"].train == 2
    assert (stats.cells["truthfulness"]["health"].train, stats.cells["truthfulness"]["health"].held_out) == (1, 1)
    assert stats.cells["corrigibility"]["law"].train == 1


def test_every_cell_of_the_traits_and_domains_that_occur_is_counted_empty_ones_too():
    stats = stats_of([scenario("a"), scenario("b", trait="corrigibility", domain="law")])
    counts = [n for row in stats.cells.values() for n in row.values()]
    assert (list(stats.traits), list(stats.domains)) == (["truthfulness", "corrigibility"], ["health", "law"])
    assert sorted(n.train + n.held_out for n in counts) == [0, 0, 1, 1]


def test_traits_and_domains_of_the_users_are_counted_and_what_names_none_comes_last():
    kindness = Trait(id="kindness", name="Kindness", definition="Is kind.")
    aviation = Domain(id="aviation", name="Aviation", covers="pilots")
    shipped = Taxonomy.load()
    known = Taxonomy((*shipped.traits, kindness), (*shipped.domains, aviation))
    stats = stats_of(
        [
            scenario("a", trait=None, domain=None),
            scenario("b", trait="kindness", domain="aviation"),
            scenario("c"),
            scenario("d", trait="kindness"),
        ],
        taxonomy=known,
    )
    assert {name: n.train for name, n in stats.traits.items()} == {"truthfulness": 1, "kindness": 2, "none": 1}
    assert list(stats.domains) == ["health", "aviation", "none"]
    assert stats.cells["kindness"]["aviation"].train == stats.cells["none"]["none"].train == 1


def test_tasks_without_statements_or_without_a_rubric_are_counted():
    bare = scenario("a", rubric=[{"criterion": "Asks.", "points": 2}])
    other = Task.model_validate(
        {"id": "b", "messages": [{"role": "user", "content": "Which?"}], "good": ["This."], "bad": ["That."]}
    )
    assert stats_of([bare]).statements == 0
    stats = stats_of([scenario("c"), other])
    assert (stats.criteria, stats.statements) == ({0: 1, 2: 1}, 1)
    assert stats_of([other]).statements is None


def test_a_corpus_without_tasks_is_refused():
    with pytest.raises(DataError, match="without tasks"):
        stats_of([])


def test_turns_are_those_of_user_and_assistant():
    system = scenario("s").messages[0].model_copy(update={"role": "system"})
    with_system = scenario("c", turns=3)
    with_system = with_system.model_copy(update={"messages": (system, *with_system.messages)})
    stats = stats_of([scenario("a"), scenario("b", turns=3), with_system, scenario("d", turns=5)])
    assert stats.turns == {1: 1, 3: 2, 5: 1}
    assert stats.multi_turn == 0.75
    assert stats.system == 0.25


def test_pressure_criteria_pitfalls_and_refusals_are_counted():
    stats = stats_of(
        [
            scenario("a", pressure="money", refusal_fails=True),
            scenario("b", pressure="money", rubric=[criterion()]),
            scenario("c", rubric=[criterion(met=["x", "y"], unmet=["v", "w"]), criterion("z", 1)]),
            scenario("d", rubric=[criterion(met=["x", "y"], unmet=["v", "w"])]),
        ]
    )
    assert stats.pressure == {"money": 2, "none": 2}
    assert stats.criteria == {1: 2, 2: 2}
    assert stats.pitfalls == 0.25
    assert stats.refusal_fails == 0.25
    assert stats.statements == 1


def test_gold_answers_are_counted_by_split_and_measured_in_words():
    scenarios = [scenario("a"), scenario("b"), scenario("c", split="held_out")]
    gold = {
        "a": GoldPair(scenario="a", good="one two three", bad="one"),
        "c": GoldPair(scenario="c", good="one", bad="two"),
        "elsewhere": GoldPair(scenario="elsewhere", good="x " * 100, bad="x"),
    }
    found = stats_of(scenarios, gold).gold
    assert (found.scenarios.train, found.scenarios.held_out) == (1, 1)
    assert (found.share_train, found.share_held_out) == (0.5, 1.0)
    assert (found.mean_words_good, found.mean_words_bad) == (2.0, 1.0)
    assert found.longer_good == 0.75


def test_a_corpus_without_gold_answers_has_no_lengths():
    found = stats_of([scenario("a")]).gold
    assert (found.share_train, found.mean_words_good, found.longer_good) == (0.0, None, None)


def test_domains_are_compared_in_vocabulary_most_alike_first():
    def cases(domain, texts):
        return [scenario(f"{domain}{i}", t, domain=domain) for i, t in enumerate(texts)]

    stats = stats_of(
        [
            *cases("law", ["court tenant lease", "court tenant notice"]),
            *cases("business", ["court lease invoice", "lease tenant invoice"]),
            *cases("arts", ["violin stage", "violin cello"]),
        ]
    ).vocabulary
    assert stats.domain_size == 1
    assert stats.by_domains[0][:2] == ("business", "law")
    assert stats.by_domains[-1][2] == 0.0
    assert stats.within_domains > stats.between_domains


def test_two_scenarios_nearer_than_the_limit_are_a_fault_that_names_them():
    rows = np.array([[1, 0], [0, 1], [0.95, (1 - 0.95**2) ** 0.5]], dtype=np.float32)
    stats = stats_of([scenario(i) for i in "abc"], embed=lambda texts: rows, pairs=1)
    (fault,) = stats.faults
    assert "'a'" in fault
    assert "'c'" in fault
    assert "0.950" in fault


def test_scenarios_just_within_the_limit_are_none():
    cosine = MAX_COSINE - 0.01
    rows = np.array([[1, 0], [cosine, (1 - cosine**2) ** 0.5]], dtype=np.float32)
    stats = stats_of([scenario(i) for i in "ab"], embed=lambda texts: rows)
    assert stats.faults == []
    assert stats.nearest[0].cosine == pytest.approx(cosine, abs=1e-4)


def test_whole_conversations_are_embedded():
    seen = []
    stats_of([scenario("a", "first words", turns=3)], embed=lambda texts: (seen.extend(texts), far_apart(texts))[1])
    assert seen == ["first words\nturn 1\nturn 2"]


@pytest.mark.parametrize("times", [MAX_REPEATS, MAX_REPEATS + 1])
def test_a_first_line_in_more_scenarios_than_allowed_is_a_template(times):
    scenarios = [scenario(f"s{i}", f"Dear assistant, please help!\nCase {i} follows.") for i in range(times)]
    faults = stats_of(scenarios).faults
    assert len(faults) == (times > MAX_REPEATS)
    if faults:
        assert "first line 'dear assistant please help'" in faults[0]
        assert all(s.id in faults[0] for s in scenarios)


def test_an_opening_of_six_words_in_more_scenarios_than_allowed_is_a_template():
    scenarios = [scenario(f"s{i}", f"I am a nurse on ward {i}, help.") for i in range(MAX_REPEATS + 1)]
    (fault,) = stats_of(scenarios).faults
    assert "opening 'i am a nurse on ward'" in fault


def test_a_system_turn_that_repeats_is_a_template_too():
    scenarios = [scenario(f"s{i}", f"Case {i}.") for i in range(MAX_REPEATS + 1)]
    system = scenarios[0].messages[0].model_copy(update={"role": "system", "content": "You help."})
    scenarios = [s.model_copy(update={"messages": (system, *s.messages)}) for s in scenarios]
    (fault,) = stats_of(scenarios).faults
    assert "first line 'you help'" in fault


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 12), st.integers(0, 20), st.floats(-1, 1), st.integers(0, 1000))
def test_the_nearest_pairs_are_those_of_the_whole_cosine_matrix(texts, count, above, seed):
    rows = np.random.default_rng(seed).normal(size=(texts, 3)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = sorted((float(rows[i] @ rows[j]) for i in range(texts) for j in range(i)), reverse=True)
    expected = max(min(count, len(cosines)), sum(round(c, 4) > above for c in cosines))
    found = nearest_pairs([str(i) for i in range(texts)], rows, count, above)
    assert len(found) == pytest.approx(expected, abs=1)
    assert [p.cosine for p in found] == pytest.approx(cosines[: len(found)], abs=1e-3)
    assert all(p.first != p.second for p in found)


def test_pairs_are_found_across_the_blocks_that_the_matrix_is_cut_into():
    rows = np.random.default_rng(0).normal(size=(SIZE, 64)).astype(np.float32)
    rows[SIZE - 1] = rows[3] + 0.01
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    (pair,) = nearest_pairs([str(i) for i in range(SIZE)], rows, 1, 0.99)
    assert (pair.first, pair.second) == ("3", str(SIZE - 1))


@pytest.mark.slow
def test_the_shipped_corpus_holds_what_it_promises():
    from steadfast.models.conversations import conversation_embeddings

    scenarios = built_in_scenarios()
    stats = stats_of(scenarios, built_in_gold(), conversation_embeddings)
    assert stats.faults == []
    assert stats.nearest[0].cosine <= 0.9
    assert stats.scenarios.train + stats.scenarios.held_out == len(scenarios) >= 600
    assert (len(stats.traits), len(stats.domains)) == (15, 12)
    for row in stats.cells.values():
        assert all(n.train >= 2 and n.held_out >= 1 for n in row.values())
        assert row["health"].train >= 6
    assert set(stats.turns) <= set(range(1, 8))
    assert stats.multi_turn >= 0.5
    assert set(stats.criteria) <= {3, 4, 5}
    assert stats.pitfalls == 1.0
    assert stats.statements >= 2
    assert stats.refusal_fails >= 1 / 3
    assert "none" not in stats.pressure
    assert stats.gold.share_held_out == 1.0
    assert stats.gold.share_train >= 1 / 5
    assert stats.gold.mean_words_good == pytest.approx(stats.gold.mean_words_bad, rel=0.1)
