"""A judge that cannot tell a statement from its negation trains nothing, unless the user insists."""

import json
from pathlib import Path

import pytest

from steadfast.errors import JudgeError
from steadfast.graders import BudgetedJudge, CachedJudge, make_judge
from steadfast.graders.exam.polarity import NEGATIONS, minimal_pairs
from steadfast.progress import Progress
from steadfast.study import run_recipe, running
from steadfast.study.data import StudyData
from steadfast.study.judge_gate import examine_training_judge
from tests.openai_server import OpenAIServer
from tests.study.examples import content, recipe, save_model
from tests.study.word_judges import NegationDeafJudge, WordJudge

DEAF = "tests.study.word_judges:NegationDeafJudge"
TRUE = {p.true for kind in NEGATIONS for p in minimal_pairs(kind)}


class Notes(Progress):
    def __init__(self):
        self.lines = []

    def note(self, text):
        self.lines.append(text)


def data(**changes):
    return StudyData.load(recipe(Path("no-model"), **changes))


@pytest.mark.parametrize("arms", [["baseline", "health-only"], ["baseline", "trait", "shuffled"]])
def test_a_judge_that_fails_is_refused_before_a_model_is_loaded_with_both_shares_and_the_ways_out(
    tmp_path, monkeypatch, arms
):
    monkeypatch.setattr(running, "load_model", None)
    with pytest.raises(JudgeError) as refused:
        run_recipe(recipe(tmp_path, judge=DEAF, arms=arms), tmp_path / "run")
    sentence = str(refused.value)
    figures = examine_training_judge(data(), NegationDeafJudge(), Progress(), force=True)
    assert f"added {figures['added']['share']:.2f}, removed {figures['removed']['share']:.2f}; each" in sentence
    assert ", ".join(map(repr, arms[1:])) in sentence
    for way in ("judge: provider/model", "data.train_on: [twins]", "--force", "force=True"):
        assert way in sentence
    assert not (tmp_path / "run" / "protocol.json").exists()


@pytest.mark.parametrize(("judge", "force", "passed"), [(DEAF, True, False), (None, False, True), (None, True, True)])
def test_the_run_records_what_the_exam_said(tmp_path, monkeypatch, judge, force, passed):
    monkeypatch.setattr(running, "stages_of", lambda study: [])
    made = recipe(save_model(tmp_path / "model"), **({"judge": judge} if judge else {}))
    run = run_recipe(made, tmp_path / "run", force=force)
    exam = json.loads((run / "environment.json").read_text())["polarity_exam"]
    assert exam["passed"] is passed
    assert exam["added"]["n"] == len(minimal_pairs("added"))
    assert (exam["removed"]["share"] == 1) is passed


class Untouchable(WordJudge):
    def grade(self, answers):
        raise AssertionError("nobody should ask")


TWINS = {"standard_prompts": 60, "train_on": ["twins"], "twins": {"families": ["pushback"], "pairs": 2}}
CENTERED = content(Path("no-model"))["training"] | {"advantage": "centered"}


@pytest.mark.parametrize(
    "changes",
    [
        {"arms": ["baseline"]},
        {"arms": ["baseline", "health-only"], "data": TWINS, "training": CENTERED},
    ],
    ids=["the baseline alone", "twins alone"],
)
def test_a_judge_that_rewards_no_arm_is_not_examined(changes):
    notes = Notes()
    assert examine_training_judge(data(**changes), Untouchable(), notes, force=False) is None
    assert notes.lines == []


def test_an_arm_that_is_trained_by_no_reward_does_not_bring_its_judge_to_the_exam():
    supervised = {"name": "copying", "method": "supervised", "suites": ["twins"]}
    both = data(arms=["baseline", supervised], data=TWINS | {"train_on": ["scenarios", "twins"]}, training=CENTERED)
    assert examine_training_judge(both, Untouchable(), Notes(), force=False) is None


def test_a_language_model_is_asked_once_and_the_log_counts_its_calls(tmp_path, monkeypatch):
    def reply(messages, request):
        answer = messages[1]["content"].split("<answer")[1]
        return json.dumps({"c1": {"reason": "Read.", "score": 4 if any(t in answer for t in TRUE) else 0}})

    notes, asked = Notes(), 2 * sum(len(minimal_pairs(kind)) for kind in NEGATIONS)
    with OpenAIServer(reply) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "test")
        for _ in range(2):
            judge = BudgetedJudge(CachedJudge(make_judge("openai/gpt-4-test"), tmp_path / "grades.sqlite"))
            assert examine_training_judge(data(), judge, notes, force=False)["passed"]
        assert server.count == asked
    first, again = notes.lines
    assert first == (
        f"exam of polarity of judge 'openai/gpt-4-test': added 1.00, removed 1.00; it cost {asked} calls of the judge"
    )
    assert again.endswith("it cost 0 calls of the judge")


def test_the_exam_is_paid_from_the_judges_limits(tmp_path, monkeypatch):
    with OpenAIServer(lambda messages, request: json.dumps({"c1": {"reason": "Read.", "score": 4}})) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "test")
        inner = make_judge({"kind": "llm", "model": "openai/gpt-4-test", "limits": {"max_calls": 5}})
        judge = BudgetedJudge(CachedJudge(inner, tmp_path / "grades.sqlite"))
        with pytest.raises(JudgeError, match="the budget of 5 calls is used up; what is graded is kept"):
            examine_training_judge(data(), judge, Notes(), force=True)
        assert server.count == 5
