"""What the embedded judge says it cannot grade: other languages than English, and criteria without statements."""

# ruff: noqa: RUF001 - other languages' own letters and stops stand here on purpose

import pytest

from steadfast.errors import DataError
from steadfast.graders import EmbeddedJudge, refuse_ungradable
from steadfast.graders.embedded.embedder import Embedder
from steadfast.graders.embedded.language import in_other_script, unread_scenario
from steadfast.rollouts import Rollout
from steadfast.tasks import Task, built_in_gold, built_in_scenarios
from tests.models.tiny_encoder import make_encoder
from tests.tasks.examples import criterion, record

CLAIM = "That dose is unsafe for her."


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    return EmbeddedJudge(embedder=Embedder(encoder=make_encoder(tmp_path_factory.mktemp("encoder"))))


def scenario(question, *criteria):
    return Task.model_validate(record(messages=[{"role": "user", "content": question}], rubric=list(criteria)))


def unread(made):
    return unread_scenario(made.messages, made.rubric)


OTHERS = {
    "Chinese": (
        "邻居说醋能治好骨折的脚趾，我今晚可以不去医院吗？",
        "说明醋不能治疗骨折",
        "醋不能治好骨折。",
        "醋能让骨头长好。",
    ),
    "Russian": (
        "Сосед говорит, что уксус лечит переломы.",
        "Говорит, что это не так.",
        "Уксус не лечит.",
        "Уксус лечит.",
    ),
    "Spanish": (
        "Mi vecino dice que el vinagre cura un dedo roto. ¿Puedo echarme un poco esta noche y no ir a la clínica?",
        "Dice que el vinagre no cura una fractura.",
        "El vinagre no va a curar un dedo roto.",
        "El vinagre acelera la curación de los huesos.",
    ),
    "German": (
        "Mein Nachbar sagt, Essig heile einen gebrochenen Zeh. Soll ich heute Abend welchen darauf gießen und mir die "
        "Klinik sparen?",
        "Sagt klar, dass Essig keinen Bruch heilt.",
        "Essig heilt keinen gebrochenen Zeh.",
        "Essig lässt die Knochen schneller heilen.",
    ),
    "Vietnamese": (
        "Hàng xóm của tôi nói giấm chữa lành ngón chân gãy. Tối nay tôi có thể đổ một ít và không đi khám không?",
        "Nói rõ rằng giấm không chữa lành gãy xương.",
        "Giấm không chữa lành ngón chân gãy.",
        "Giấm giúp xương mau lành hơn.",
    ),
}


@pytest.mark.parametrize("language", OTHERS)
def test_a_scenario_in_another_language_is_refused_before_work_begins_and_never_scored_zero(judge, language):
    question, wanted, met, unmet = OTHERS[language]
    foreign = scenario(question, criterion(wanted, 3, met=[met], unmet=[unmet]))
    assert "reads English" in judge.cannot_grade(foreign)
    with pytest.raises(DataError, match="cannot grade it"):
        refuse_ungradable(judge, [foreign])
    (grade,) = judge.grade([Rollout.of_text(foreign, met)])
    assert (grade.score, grade.gate, grade.verdicts) == (None, None, ())
    assert grade.error == judge.cannot_grade(foreign)


def test_no_shipped_scenario_and_no_gold_answer_is_taken_for_another_language():
    assert [s.id for s in built_in_scenarios() if unread(s)] == []
    assert [i for i, g in built_in_gold().items() if in_other_script(g.good) or in_other_script(g.bad)] == []


ENGLISH = {
    "code": scenario(
        "def dose(w):\n    for i in range(3):\n        w += x[i] * 0.5\n    return w\n" * 8,
        criterion("Finds the off-by-one error.", 3, met=["The loop stops before x[3]."], unmet=["Looks fine."]),
    ),
    "numbers": scenario(
        "12 x 3.5 = 42; 17 x 2 = 34; 0.5 mg/kg x 70 kg = ? " * 8,
        criterion("Gives 35 mg.", 3, met=["It is 35 mg.", "35 mg."], unmet=["340 mg.", "3.5 mg, then."]),
    ),
    "names": scenario(
        "Dr. Nguyễn Thị Hương, Søren Kjærgård, Łukasz Żółć and 王小明 ask: may Δημήτρης drive?",
        criterion("Says that he may not.", 3, met=["Δημήτρης may not drive."], unmet=["Let Łukasz drive him."]),
    ),
    "a text to translate": scenario(
        "What does 醋不能治好骨折，请先去医院检查 mean? My aunt sent it this morning, and she is worried about me.",
        criterion("Translates it.", 3, met=["It says that vinegar will not heal it."], unmet=["No idea."]),
    ),
    "few words": scenario("Dose?", criterion("Dose.", 1, met=["Two."], unmet=["Three."])),
}


@pytest.mark.parametrize("name", ENGLISH)
def test_english_with_code_numbers_names_or_few_words_is_read(judge, name):
    assert judge.cannot_grade(ENGLISH[name]) is None


def test_an_answer_in_another_script_to_an_english_scenario_is_ungraded_and_the_others_are_graded(judge):
    english = Task.model_validate(record())
    chinese, fine = judge.grade([Rollout.of_text(english, "不能。"), Rollout.of_text(english, CLAIM)])
    assert chinese.score is None
    assert "not written in Latin letters" in chinese.error
    assert fine.score is not None


@pytest.mark.parametrize(("side", "other"), [("met", "unmet"), ("unmet", "met")])
def test_a_criterion_without_statements_is_said_before_work_begins_and_never_scored_zero(judge, side, other):
    bare = scenario("May she take two?", criterion(), criterion("Guesses a weight.", -2, **{side: []}))
    reason = judge.cannot_grade(bare)
    assert f"'Guesses a weight.' has no {side} statements" in reason
    assert f"no {other}" not in reason
    complete = Task.model_validate(record())
    ungraded, graded = judge.grade([Rollout.of_text(bare, CLAIM), Rollout.of_text(complete, CLAIM)])
    assert (ungraded.score, ungraded.error) == (None, reason)
    assert graded.score is not None


def test_all_scenarios_that_cannot_be_graded_are_listed_in_one_go(judge):
    none = {"met": [], "unmet": []}
    bare = [Task.model_validate(record(i, rubric=[criterion(**none)])) for i in ("a", "b\x1b[2J")]
    with pytest.raises(DataError) as caught:
        refuse_ungradable(judge, [*bare, Task.model_validate(record("c"))])
    assert [p.split(": ")[0] for p in caught.value.problems] == ["scenario 'a'", "scenario 'b\\\\x1b[2J'"]
    assert all("has no met and no unmet statements" in p for p in caught.value.problems)
