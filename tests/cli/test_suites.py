"""The listing of suites, and their proof without a model."""

import json
from random import Random

import pytest
import yaml

from steadfast.tasks import battery, find_suite
from steadfast.tasks.drawing import draw_items
from steadfast.tasks.twins import make_pairs, shipped_families
from steadfast.tasks.twins import pairs as pairs_module
from tests.tasks.test_twins import OWN


def test_every_suite_is_listed_with_its_size(steadfast, steadfast_json):
    rows = {r["name"]: r for r in steadfast_json("suites")}
    assert {s.name for s in battery()} | set(shipped_families()) <= rows.keys()
    assert rows["pushback"]["kind"] == "twins"
    assert (rows["pushback"]["pairs"], rows["pushback"]["items"]) == (4800, 9600)
    assert rows["pushback"]["trait"] == "corrigibility"
    assert {"name", "kind", "construct", "trait", "domain", "pairs", "items", "source"} <= rows["pushback"].keys()
    assert {r["kind"] for r in rows.values()} == {"eval", "twins", "capability", "public"}
    assert f"suites ({len(rows)})" in steadfast("suites").output


def own(tmp_path, **changes):
    file = tmp_path / "towels.yaml"
    file.write_text(yaml.safe_dump(OWN | changes))
    return file


def test_a_sound_family_is_proved(steadfast_json, tmp_path):
    proof = steadfast_json("suites", "check", own(tmp_path))
    assert (proof["suite"], proof["gold"], proof["pairs"]) == ("towels", 1.0, 400)
    assert proof["constants"]["yes"] == proof["constants"]["no"] == 0.0
    assert proof["problems"] == []
    assert (proof["cue"], proof["cue_by_wording"]) == (0.5, {"0": 0.5})


def test_the_table_shows_how_much_the_differing_words_give_away(steadfast, tmp_path):
    told = [{"lines": ["{Place} is [clean|used] today, at {time}."], "ask": "Is it?"}]
    file = own(tmp_path, wordings=told, answer="[yes it is|no it is not]", options=True)
    table = steadfast("suites", "check", file).output
    row = next(line for line in table.splitlines() if "towels" in line)
    assert row.rstrip(" │|").endswith("1.00")
    assert "cue: how often the words in which twins differ tell their sides" in table


def test_a_faulty_one_is_a_sentence_and_the_others_are_proved(steadfast, tmp_path):
    result = steadfast("suites", "check", own(tmp_path), tmp_path / "none.yaml", "--json")
    assert result.exit_code == 2
    found = json.loads(result.stdout)
    assert [s["suite"] for s in found["suites"]] == ["towels"]
    assert "no file of that name" in found["problems"][0]


def test_one_suite_that_cannot_be_loaded_or_checked_has_the_shape_of_one(steadfast, steadfast_json, tmp_path):
    sound = steadfast_json("suites", "check", own(tmp_path))
    for name, said in ((tmp_path / "none.yaml", "no file of that name"), (f"{TASKS}:broken", "out of order")):
        result = steadfast("suites", "check", name, "--json")
        found = json.loads(result.stdout)
        assert result.exit_code == 2
        assert found.keys() == sound.keys()
        assert (found["suite"], found["gold"], found["constants"]) == (str(name), None, None)
        assert said in found["problems"][0]


def test_several_suites_have_one_shape_whether_they_can_be_loaded_or_not(steadfast, tmp_path):
    result = steadfast("suites", "check", f"{TASKS}:broken", tmp_path / "none.yaml", "--json")
    found = json.loads(result.stdout)
    assert found["suites"] == []
    assert len(found["problems"]) == 2


TASKS = "tests.cli.test_suites"


def pairs():
    """Pairs that a constant wins: their check takes anything that holds a letter."""
    return [
        {
            "id": f"{i}{side}",
            "pair": f"{i}{other}",
            "messages": [{"role": "user", "content": f"Question {i}{side}?"}],
            "grader": {"kind": "program", "program": f"{TASKS}:any_letter", "args": {"right": side}},
        }
        for i in range(3)
        for side, other in (("a", "b"), ("b", "a"))
    ]


def any_letter(text, _args):
    return float(any(c.isalpha() for c in text))


def raises(_text, _args):
    raise RuntimeError("out of order")


def broken():
    return [row | {"grader": {"kind": "program", "program": f"{TASKS}:raises", "args": {}}} for row in pairs()]


def test_a_check_that_a_constant_satisfies_is_a_sentence(steadfast):
    result = steadfast("suites", "check", f"{TASKS}:pairs")
    assert result.exit_code == 2
    assert "pairs: yes earns 1.00 and may earn 0.05 at most" in result.stderr


def test_a_users_check_that_fails_is_a_sentence(steadfast):
    result = steadfast("suites", "check", f"{TASKS}:broken")
    assert result.exit_code == 2
    assert "RuntimeError: out of order" in result.stderr
    assert "Traceback" not in result.output + result.stderr


@pytest.mark.parametrize("suite", ["oversight-log"])
def test_a_suite_without_programs_is_said_to_have_none(steadfast, suite):
    result = steadfast("suites", "check", suite)
    assert result.exit_code == 2
    assert "no task of it is checked by a program" in result.stderr


def test_items_are_shown_to_be_read_the_same_ones_for_a_seed(steadfast, steadfast_json):
    pairs = steadfast_json("suites", "show", "pushback", "may-share", "--items", "4", "--seed", "3")
    assert [len(p) for p in pairs] == [2] * 4
    assert all(one["pair"] == other["id"] for one, other in pairs)
    assert pairs == steadfast_json("suites", "show", "pushback", "may-share", "--items", "4", "--seed", "3")
    assert pairs != steadfast_json("suites", "show", "pushback", "may-share", "--items", "4", "--seed", "4")
    shown = steadfast("suites", "show", "scope-discipline", "--items", "2").output
    assert shown.count("user: ") == 2
    assert "-> " in shown


def test_what_is_drawn_is_what_would_be_drawn_if_all_were_made(tmp_path):
    names = ["health-triage", "scope-discipline", str(own(tmp_path)), "pushback", "tests.tasks.test_twins:towels"]
    items = []
    for name in names:
        tasks = find_suite(name).tasks
        by_id = {t.id: t for t in tasks}
        items += [(t, by_id[t.pair]) if t.pair else (t,) for t in tasks if t.pair is None or t.id < t.pair]
    for seed, count in ((0, 5), (20261127, 40)):
        assert draw_items(names, count, seed) == Random(seed).sample(items, count)
    few = ["scope-discipline"]
    assert len(draw_items(few, 10**6, 1)) == len(find_suite("scope-discipline").tasks)


def test_the_cells_that_are_not_drawn_are_not_made(monkeypatch):
    made = []
    monkeypatch.setattr(
        pairs_module, "make_pairs", lambda f, cell, *rest: made.append(cell) or make_pairs(f, cell, *rest)
    )
    draw_items(list(shipped_families()), 3, 7)
    assert len(made) == 3


def test_a_suite_that_is_not_there_cannot_be_shown(steadfast):
    result = steadfast("suites", "show", "nowhere")
    assert result.exit_code == 2
    assert "no eval or family that ships" in result.output
