"""Inputs that once failed or were read wrongly, and what is made of each of them now."""

from pathlib import Path

import pytest

from steadfast.errors import DataError
from steadfast.tasks import Taxonomy, load_tasks

CASES = Path(__file__).parents[1] / "cases"

READ = {
    "good": ["a", "b"],
    "bom": ["a"],
    "healthbench": ["0001"],
    "no_statements": ["a"],
    "chinese": ["zh"],
    "nul": ["a"],
}
REFUSED = {
    "twice_key": ["1: domain: stands twice in one object; keep one of them"],
    "blank": ["1: messages.0.content: the message is blank", "2: messages.0.content: the message is blank"],
    "same_statement": ["1: rubric.0: met: 'Vinegar does not heal.' is an unmet statement too"],
    "own_trait": ["1: trait: unknown trait 'warmth'", "1: domain: unknown domain 'banking'"],
    "surrogate_half": ["1: messages.0.content: holds half a surrogate pair"],
}


@pytest.mark.parametrize("name", READ)
def test_it_is_read(name):
    assert [t.id for t in load_tasks(CASES / f"{name}.jsonl")] == READ[name]


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_with_line_and_field(name):
    path = CASES / f"{name}.jsonl"
    with pytest.raises(DataError) as caught:
        load_tasks(path)
    assert len(caught.value.problems) == len(REFUSED[name])
    for problem, expected in zip(caught.value.problems, REFUSED[name], strict=True):
        assert problem.startswith(f"{path}:{expected}")


def test_pitfalls_of_healthbench_are_points_below_zero_and_nothing_has_statements():
    (task,) = load_tasks(CASES / "healthbench.jsonl")
    assert [(c.points, c.met, c.unmet) for c in task.rubric] == [(6, (), ()), (-8, (), ())]


def test_a_nul_stays_in_the_text():
    assert "\0" in load_tasks(CASES / "nul.jsonl")[0].text


def test_a_trait_of_the_users_is_read_with_her_definitions_and_else_she_is_told_how_to_define_it(tmp_path):
    (tmp_path / "traits.yaml").write_text("warmth: Is warm.\n")
    (tmp_path / "domains.yaml").write_text("banking: accounts and loans\n")
    known = Taxonomy.load(tmp_path / "traits.yaml", tmp_path / "domains.yaml")
    (task,) = load_tasks(CASES / "own_trait.jsonl", known)
    assert (task.trait, task.domain) == ("warmth", "banking")
    with pytest.raises(DataError, match="as --traits FILE"):
        load_tasks(CASES / "own_trait.jsonl")
