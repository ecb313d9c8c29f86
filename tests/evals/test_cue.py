"""What the differing words of twins give away by themselves."""

import pytest

from steadfast.evals.cue import cues
from steadfast.evals.proof import prove
from steadfast.tasks.task import ProgramGrader, Task
from steadfast.tasks.twins import read_family, shipped_families, twins_of

FIXED = "{Who} says that the gate is [open|shut]."
EXCHANGED = "{Who} says that the gate is {state}."
DOMAINS = ("health", "science", "law", "arts")
STATES = ("[open|shut]", "[shut|open]")


def family(*lines, cases):
    """A family over a gate, with one wording for each line."""
    return read_family(
        {
            "name": "gates",
            "title": "May one pass",
            "trait": "truthfulness",
            "group": "verdicts",
            "measures": "Whether an answer follows the gate.",
            "label": "decision",
            "answer": "[pass|wait]",
            "options": True,
            "wordings": [{"lines": [line, "It is {time}."], "ask": "What now?"} for line in lines],
            "domains": dict.fromkeys(DOMAINS, cases),
        },
        "gates",
    )


def cue_of(*lines, cases):
    return prove("gates", twins_of(family(*lines, cases=cases), formats=["chat"], pairs=40)).cue_by_wording


def test_a_word_that_always_points_the_same_way_gives_the_answer_away():
    assert cue_of(FIXED, cases=[{"who": "the guard"}, {"who": "the porter"}]) == {"0": 1.0}


def test_words_that_exchange_their_meaning_from_case_to_case_are_near_chance():
    cases = [{"who": who, "state": STATES[i % 2]} for i, who in enumerate(("the guard", "the porter"))]
    assert cue_of(EXCHANGED, cases=cases)["0"] == pytest.approx(0.5, abs=0.12)


def test_each_wording_is_told_by_itself_and_the_suite_by_their_mean():
    cases = [{"who": who, "state": STATES[i % 2]} for i, who in enumerate(("the guard", "the porter"))]
    proof = prove("gates", twins_of(family(FIXED, EXCHANGED, cases=cases), formats=["chat"], pairs=80))
    assert proof.cue_by_wording["0"] == 1.0
    assert proof.cue_by_wording["1"] < 0.65
    assert proof.cue == pytest.approx(sum(proof.cue_by_wording.values()) / 2)


def test_codes_drawn_anew_give_the_answer_away_by_which_was_named_first():
    told = "Pass on {code}, wait on {other_code}. The sign shows [{code}|{other_code}]."
    assert cue_of(told, cases=[{"who": "the guard"}]) == {"0": 1.0}
    first, second = "Pass on {code}, wait on {other_code}", "Wait on {other_code}, pass on {code}"
    balanced = "{Order}. The sign shows [{code}|{other_code}]."
    assert cue_of(balanced, cases=[{"order": first}, {"order": second}])["0"] == pytest.approx(0.5, abs=0.12)


def test_twins_of_the_same_words_in_another_order_give_nothing_away():
    assert cue_of("Gate [one|two] is open, gate [two|one] is shut.", cases=[{"who": "the guard"}]) == {"0": 0.5}


def paired(i, domain=None):
    """A pair without a wording, as a user's own file may hold it."""
    return tuple(
        Task(
            id=f"{i}{side}",
            pair=f"{i}{other}",
            suite="own",
            domain=domain,
            messages=[{"role": "user", "content": f"Gate {i} is {state}."}],
            grader=ProgramGrader(program="twin", args={"label": "decision", "right": side, "wrong": other}),
        )
        for side, other, state in (("a", "b", "open"), ("b", "a", "shut"))
    )


def test_pairs_of_one_domain_without_wordings_are_told_by_halves():
    assert cues([paired(i) for i in range(6)]) == {"all": 1.0}


def test_a_single_pair_and_tasks_that_are_not_paired_have_no_cue():
    assert cues([paired(0)]) == {}
    assert prove("own", [paired(0)[0]]).cue is None


@pytest.mark.parametrize(("name", "wordings"), [("false-premise", "0123"), ("angry-request", "0123")])
def test_families_whose_words_exchange_their_meaning_stay_near_chance(name, wordings):
    found = prove(name, twins_of(shipped_families()[name], pairs=24)).cue_by_wording
    assert "".join(found) == wordings
    assert all(cue == pytest.approx(0.5, abs=0.15) for cue in found.values()), found
