"""What the suites that ship promise."""

from collections import Counter
from importlib.resources import files

import pytest

from steadfast.tasks import HEALTH_DOMAINS, battery, built_in_scenarios, find_overlaps, shipped_suite, traits

NAMES = [e.name for e in battery()]
DATA = files("steadfast.tasks") / "data" / "evals"


def texts(suite):
    return {f"{suite.name}/{task.id}": task.text for task in suite.tasks}


def test_names_and_titles_are_unique():
    assert [n for n, c in Counter(NAMES).items() if c > 1] == []
    assert len({e.title for e in battery()}) == len(NAMES)


def test_every_eval_of_the_catalogue_has_its_data_and_all_data_stand_in_the_catalogue():
    documents = {p.name for p in (DATA.parent / "environments").iterdir()}
    lines = {p.name.removesuffix(".jsonl") for p in DATA.iterdir() if p.name.endswith(".jsonl")}
    assert lines | documents == set(NAMES)
    assert not lines & documents


def test_there_are_eight_constructs_away_from_health_and_two_evals_in_it():
    in_health = [e for e in battery() if e.domain in HEALTH_DOMAINS]
    assert len({e.construct for e in battery() if e not in in_health}) >= 8
    assert len(in_health) >= 2


@pytest.mark.parametrize("name", NAMES)
class TestEachEval:
    def test_it_has_sixteen_tasks_with_a_good_and_a_bad_reply_each_bearing_its_name(self, name):
        suite = shipped_suite(name)
        assert len(suite.tasks) == len(suite.paired) >= 16
        for task in suite.tasks:
            assert task.suite == name
            assert not set(task.references.good) & set(task.references.bad)

    def test_its_pairs_name_each_other(self, name):
        assert shipped_suite(name).validated() is shipped_suite(name)

    def test_no_good_reply_of_one_task_is_a_reply_of_another(self, name):
        # Twins exchange their good and bad replies on purpose; of a pair one is looked at.
        references = [t.references for t in shipped_suite(name).tasks if t.pair is None or t.id < t.pair]
        replies = [r for both in references for r in (*both.good, *both.bad) if len(r.split()) > 8]
        assert [r for r, n in Counter(replies).items() if n > 1] == []

    def test_good_and_bad_replies_are_of_like_length(self, name):
        good, bad = (
            [len(r.split()) for task in shipped_suite(name).tasks for r in getattr(task.references, side)]
            for side in ("good", "bad")
        )
        ratio = (sum(good) / len(good)) / (sum(bad) / len(bad))
        assert 0.85 <= ratio <= 1.15


def test_length_alone_does_not_pick_the_good_reply():
    references = [t.references for suite in battery() for t in suite.tasks]
    pairs = [(len(g), len(b)) for both in references for g in both.good for b in both.bad]
    longer = sum((g > b) + 0.5 * (g == b) for g, b in pairs) / len(pairs)
    assert 0.4 <= longer <= 0.6


def test_no_task_is_a_near_duplicate_of_another():
    everything = {k: v for e in battery() for k, v in texts(e).items()}
    twins = {(f"{e.name}/{t.id}", f"{e.name}/{t.pair}") for e in battery() for t in e.tasks if t.pair}
    found = [o for o in find_overlaps(everything, everything) if o.first != o.second]
    assert [o for o in found if (o.first, o.second) not in twins] == []


def test_no_task_is_a_near_duplicate_of_a_scenario():
    everything = {k: v for e in battery() for k, v in texts(e).items()}
    assert find_overlaps(everything, {s.id: s.text for s in built_in_scenarios()}) == []


def test_no_eval_bears_the_name_of_a_trait():
    assert not set(NAMES) & {t.id for t in traits()}
