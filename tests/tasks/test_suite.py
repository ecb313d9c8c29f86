"""What the shipped battery promises."""

from collections import Counter
from importlib.resources import files

import pytest
from steadfast.tasks.battery import HEALTH_DOMAINS

from steadfast.errors import DataError
from steadfast.evals import battery, select
from steadfast.tasks import built_in_scenarios, find_overlaps, traits

NAMES = [e.name for e in battery()]
DATA = files("steadfast.tasks") / "data" / "evals"


def texts(evaluation):
    return {f"{evaluation.name}/{i.id}": "\n".join(m.content for m in i.messages) for i in evaluation.items()}


def test_names_and_titles_are_unique():
    assert [n for n, c in Counter(NAMES).items() if c > 1] == []
    assert len({e.title for e in battery()}) == len(NAMES)


def test_every_eval_of_the_catalogue_has_a_data_file():
    assert [n for n in NAMES if not (DATA / f"{n}.jsonl").is_file()] == []


def test_every_data_file_stands_in_the_catalogue():
    assert sorted(p.name for p in DATA.iterdir() if p.name.endswith(".jsonl")) == sorted(f"{n}.jsonl" for n in NAMES)


def test_there_are_eight_constructs_away_from_health_and_two_evals_in_it():
    in_health = [e for e in battery() if e.domain in HEALTH_DOMAINS]
    assert len({e.construct for e in battery() if e not in in_health}) >= 8
    assert len(in_health) >= 2


@pytest.mark.parametrize("name", NAMES)
class TestEachEval:
    def items(self, name):
        return select([name])[0].items()

    def test_it_has_sixteen_items_with_a_question_a_good_and_a_bad_reply(self, name):
        items = self.items(name)
        assert len(items) >= 16
        for item in items:
            assert item.messages[-1].role == "user"
            assert item.good
            assert item.bad
            assert not set(item.good) & set(item.bad)

    def test_no_good_reply_of_one_item_is_a_reply_of_another(self, name):
        replies = [r for item in self.items(name) for r in (*item.good, *item.bad) if len(r.split()) > 8]
        assert [r for r, n in Counter(replies).items() if n > 1] == []

    def test_good_and_bad_replies_are_of_like_length(self, name):
        good, bad = (
            [len(r.split()) for item in self.items(name) for r in getattr(item, side)] for side in ("good", "bad")
        )
        ratio = (sum(good) / len(good)) / (sum(bad) / len(bad))
        assert 0.85 <= ratio <= 1.15


def test_length_alone_does_not_pick_the_good_reply():
    pairs = [(len(g), len(b)) for e in battery() for i in e.items() for g in i.good for b in i.bad]
    longer = sum((g > b) + 0.5 * (g == b) for g, b in pairs) / len(pairs)
    assert 0.4 <= longer <= 0.6


def test_no_item_is_a_near_duplicate_of_another():
    everything = {k: v for e in battery() for k, v in texts(e).items()}
    assert [o for o in find_overlaps(everything, everything) if o.first != o.second] == []


def test_no_item_is_a_near_duplicate_of_a_scenario():
    everything = {k: v for e in battery() for k, v in texts(e).items()}
    assert find_overlaps(everything, {s.id: s.text for s in built_in_scenarios()}) == []


def test_no_eval_bears_the_name_of_a_trait():
    assert not set(NAMES) & {t.id for t in traits()}


def test_evals_are_chosen_by_name_in_the_order_asked_for_and_all_of_them_for_none():
    assert [e.name for e in select([NAMES[3], NAMES[0]])] == [NAMES[3], NAMES[0]]
    assert [e.name for e in select(None)] == NAMES
    assert select([]) == []


def test_every_unknown_name_is_reported_in_one_go():
    with pytest.raises(DataError) as caught:
        select(["nope", NAMES[0], "neither"])
    assert [("'nope'" in p, "'neither'" in p) for p in caught.value.problems] == [(True, False), (False, True)]
