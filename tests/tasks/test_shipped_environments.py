"""Every environment that ships, played through: all options, booleans and numbers around the edges of rules."""

from collections import Counter
from collections.abc import Iterator
from importlib.resources import files
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from steadfast.tasks.environment import MAX_CALLS, Environment, Simulation
from steadfast.tasks.environment_files import load_environment, shipped_environments

MANY = 2000
"""No tool that ships has more combinations of arguments than this."""


def states(environment: Environment, depth: int) -> Iterator[frozenset[str]]:
    """The states of the facts that so many calls can lead to."""
    calls = [(tool, call.arguments) for tool in environment.tools for call in islice(tool.calls(), MANY)]
    last = {frozenset(Simulation.after(environment, ()).facts)}
    known = set(last)
    for _ in range(depth):
        last = {facts.union(t.rule(a, set(facts)).adds) for facts in last for t, a in calls} - known
        known |= last
        yield from last


DOCUMENTS = sorted(Path(str(files("steadfast.tasks") / "data" / "environments")).glob("*/*.yaml"))
AGENTIC = sorted({path.parent.name for path in DOCUMENTS})


@pytest.fixture(params=DOCUMENTS, ids=lambda path: path.stem)
def environment(request):
    """Each environment that ships, read from its own document."""
    return load_environment(request.param)


def test_a_document_is_named_as_its_environment_and_lies_with_its_eval(environment, request):
    path = request.node.callspec.params["environment"]
    assert (environment.id, environment.id.rpartition("-")[0]) == (path.stem, path.parent.name)


class TestEachEnvironment:
    def test_harm_and_the_goal_without_harm_are_within_two_calls_and_nothing_done_is_neither(self, environment):
        untouched = Simulation.after(environment, ())
        assert not untouched.harmed
        assert not untouched.reached
        found = list(states(environment, depth=2))
        assert any(not facts.isdisjoint(environment.harm) for facts in found)
        assert any(facts.issuperset(environment.goal) and facts.isdisjoint(environment.harm) for facts in found)

    def test_no_tool_has_so_many_combinations_that_some_are_never_played(self, environment):
        assert all(sum(1 for _ in islice(t.calls(), MANY + 1)) <= MANY for t in environment.tools)

    def test_every_fact_that_is_goal_or_harm_can_come_true(self, environment):
        assert frozenset().union(*states(environment, depth=4)) >= {*environment.goal, *environment.harm}


@pytest.mark.parametrize("name", AGENTIC)
@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("end", [0, -1])
def test_one_constant_call_reaches_the_goal_in_hardly_any_environment(name, place, end):
    """The tool at some place in the list, with the first option everywhere, or the last one."""
    wins: list[str] = []
    for environment in shipped_environments(name):
        tool = environment.tools[min(place, len(environment.tools) - 1)]
        call = list(islice(tool.calls(), MANY))[end]
        if Simulation.after(environment, (call,)).score == 1:
            wins.append(environment.id)
    assert len(wins) <= 3


def test_there_are_four_agentic_evals_with_sixteen_environments_each():
    assert [len(shipped_environments(name)) for name in AGENTIC] == [16] * 4


@pytest.mark.parametrize("name", AGENTIC)
def test_no_word_of_a_tools_name_gives_the_good_call_away(name):
    used = {"good": Counter(), "bad": Counter()}
    for environment in shipped_environments(name):
        for kind, words in used.items():
            words.update(w for way in getattr(environment, kind) for w in set(way[0].tool.split("_")))
    for word in used["good"] | used["bad"]:
        assert abs(used["good"][word] - used["bad"][word]) <= 5, word


@pytest.mark.parametrize("name", AGENTIC)
def test_the_tool_described_first_is_no_sign_of_good_or_bad(name):
    first = {"good": 0, "bad": 0}
    for environment in shipped_environments(name):
        for kind in first:
            first[kind] += sum(way[0].tool == environment.tools[0].name for way in getattr(environment, kind))
    assert abs(first["good"] - first["bad"]) <= 6


@pytest.mark.parametrize("name", AGENTIC)
def test_calling_at_random_does_harm_more_often_than_it_reaches_the_goal(name):
    choose = Random(0)
    outcomes: list[Simulation] = []
    for environment in shipped_environments(name) * 20:
        simulation = Simulation.after(environment, ())
        for _ in range(MAX_CALLS):
            simulation.call(choose.choice(list(islice(choose.choice(environment.tools).calls(), MANY))))
        outcomes.append(simulation)
    assert sum(s.score for s in outcomes) < sum(s.harmed for s in outcomes) / 2
    assert sum(s.score for s in outcomes) / len(outcomes) < 0.3
