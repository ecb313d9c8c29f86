"""A run that asks its checkpoints under personas too: what is asked, what stays as it was, going on after a stop."""

import shutil

import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal
from pydantic import ValidationError

from steadfast.errors import RecipeError, SteadfastError
from steadfast.report import summarize, write_report
from steadfast.study import load_recipe, run_recipe, stages
from steadfast.study.data import StudyData
from tests.study.examples import content, recipe, save_model

PERSONAS = {"names": ["flatterer", "terse"], "wordings": [1, 3], "evals": ["oversight-log", "trait:truthfulness"]}
CONDITIONS = ("persona:flatterer/1", "persona:flatterer/3", "persona:terse/1", "persona:terse/3")
CHECKPOINTS = ("pre-RL", "health-only", "baseline")
OWN = [
    {
        "name": "shouter",
        "kind": "benign",
        "wordings": ["Shout every word."],
        "check": {"program": "tests.study.test_personas_run:shouted"},
    }
]


def shouted(text, args):
    return float(text.isupper())


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


def changes(model, personas, **more):
    made = content(model)
    training = made["training"] | {"steps": 2}
    evaluation = made["evaluation"] | {"trait_items": 8, "personas": personas} | more
    return {"training": training, "evaluation": evaluation}


def run(model, folder, personas, **more):
    return run_recipe(recipe(model, **changes(model, personas, **more)), folder)


@pytest.fixture(scope="module")
def plain(model, tmp_path_factory):
    """The same recipe without personas."""
    return run(model, tmp_path_factory.mktemp("plain"), None)


@pytest.fixture(scope="module")
def finished(model, tmp_path_factory):
    return run(model, tmp_path_factory.mktemp("run"), PERSONAS)


def rows(directory, **chosen):
    return pl.read_parquet(directory / "results.parquet").filter(**chosen)


def test_every_checkpoint_is_asked_under_every_wording_and_the_named_suites_alone(finished):
    found = rows(finished)
    assert set(found["condition"]) == {"plain", "constant", *CONDITIONS}
    for condition in CONDITIONS:
        under = found.filter(condition=condition)
        assert set(under["checkpoint"]) == set(CHECKPOINTS)
        assert set(under["suite"]) == {"oversight-log", "trait:truthfulness"}
        assert under["score"].null_count() == 0


def test_rows_under_a_persona_pair_with_the_plain_ones_of_the_same_suites(finished):
    key = ["checkpoint", "seed", "suite", "grader", "judge", "task"]
    found = rows(finished).filter(pl.col("suite").is_in(PERSONAS["evals"]))
    expected = set(found.filter(condition="plain").select(key).iter_rows())
    for condition in CONDITIONS:
        under = found.filter(pl.col("condition") == condition, pl.col("grader") != "followed")
        assert set(under.select(key).iter_rows()) == expected


def test_the_named_arms_alone_are_asked_under_personas_and_others_may_be_added(finished, model, tmp_path):
    chosen = [c for c in CHECKPOINTS if c not in ("pre-RL", "baseline")]
    some = run(model, tmp_path, PERSONAS | {"arms": chosen[:1]})
    found = rows(some).filter(pl.col("condition").str.starts_with("persona"))
    assert set(found["checkpoint"]) == {"pre-RL", "baseline", chosen[0]}
    assert run(model, tmp_path, PERSONAS) == some
    assert_frame_equal(rows(some).drop("seconds", strict=False), rows(finished).drop("seconds", strict=False))
    with pytest.raises(ValidationError, match=r"evaluation\.personas\.arms: no arm is named 'nobody'; there are: "):
        recipe(model, **changes(model, PERSONAS | {"arms": ["nobody"]}))


def test_benign_personas_alone_have_rows_of_whether_they_were_followed(finished):
    followed = rows(finished, grader="followed")
    assert set(followed["condition"]) == {"persona:terse/1", "persona:terse/3"}
    assert set(followed["protocol"]) == {"at-most-words"}
    assert set(followed["score"]) <= {0.0, 1.0}
    answers = rows(finished, condition="persona:terse/1").filter(grader="rubric")
    assert set(followed.select("suite", "task").iter_rows()) == set(answers.select("suite", "task").iter_rows())


def test_plain_rows_and_adapters_are_untouched_bit_for_bit_when_personas_are_asked_too(plain, finished):
    for checkpoint in ("pre-RL", *(f"{arm}/seed-0" for arm in CHECKPOINTS[1:])):
        one, other = (pl.read_parquet(d / "rows" / checkpoint / "plain.parquet") for d in (plain, finished))
        assert one.equals(other, null_equal=True)
    for arm in CHECKPOINTS[1:]:
        one, other = (d / "arms" / arm / "seed-0" / "adapter" / "adapter_model.safetensors" for d in (plain, finished))
        assert one.read_bytes() == other.read_bytes()


def test_likelihoods_of_every_checkpoint_are_others_under_a_persona(finished):
    key = ["checkpoint", "task"]
    words = rows(finished, grader="plain_words", suite="oversight-log")
    for condition in CONDITIONS:
        both = words.filter(condition="plain").join(words.filter(condition=condition), on=key, suffix="_under")
        assert len(both) == 3 * 16
        assert (both["nats"] != both["nats_under"]).mean() > 0.9, condition


def test_a_run_that_stops_within_a_persona_goes_on_and_ends_in_the_same_rows(finished, model, tmp_path, monkeypatch):
    directory = tmp_path / "run"
    shutil.copytree(finished, directory)
    shutil.rmtree(directory / "rows" / "baseline")
    shutil.rmtree(directory / "rows" / "health-only" / "seed-0" / "persona-terse")
    half = directory / "rows" / "pre-RL" / "persona-flatterer" / "3.parquet"
    table = pl.read_parquet(half)
    table.filter(pl.col("task") != table["task"][0]).write_parquet(half)
    (directory / "results.parquet").unlink()
    asked = []
    measure = stages.measure

    def stop_within_personas(subject, parts, *args, condition, **settings):
        asked.append((subject.name, condition.name, sum(p.requests for p in parts)))
        if len(asked) == 4:
            raise KeyboardInterrupt
        return measure(subject, parts, *args, condition=condition, **settings)

    monkeypatch.setattr(stages, "measure", stop_within_personas)
    with pytest.raises(KeyboardInterrupt):
        run(model, directory, PERSONAS)
    assert not (directory / "results.parquet").is_file()
    run(model, directory, PERSONAS)
    assert asked[0] == ("pre-RL", "persona:flatterer/3", asked[0][2])
    assert 1 <= asked[0][2] <= 2, "of the persona that was half measured, the missing task alone is asked"
    assert asked[3] == asked[4], "what was interrupted is asked again"
    key = ["checkpoint", "seed", "condition", "suite", "grader", "judge", "task"]
    ours, theirs = (rows(d).sort(key) for d in (directory, finished))
    alone = (pl.col("condition") == asked[0][1]) & (pl.col("checkpoint") == "pre-RL")
    assert ours.filter(~alone).equals(theirs.filter(~alone), null_equal=True)
    # A task that is asked without its batch has the same likelihoods up to rounding.
    exact = [c for c in ours.columns if c not in ("score", "nats")]
    ours, theirs = ours.filter(alone), theirs.filter(alone)
    assert ours.select(exact).equals(theirs.select(exact), null_equal=True)
    for column in ("score", "nats"):
        assert ours[column].to_list() == pytest.approx(theirs[column].to_list(), abs=1e-4)


def test_a_finished_run_with_personas_is_not_measured_again(finished, model, monkeypatch):
    monkeypatch.setattr(stages, "measure", lambda *args, **settings: pytest.fail("it was measured again"))
    run(model, finished, PERSONAS)


def test_the_report_says_the_same_of_the_plain_condition_with_and_without_personas(plain, finished):
    one, other = (summarize(d) for d in (plain, finished))
    assert one.keys() == other.keys()
    for key in one.keys() - {"protocol", "seconds", "seconds_by_part", "persistence"}:
        assert one[key] == other[key], key
    assert one["persistence"] is None
    assert other["persistence"]["personas"]
    assert write_report(finished).is_file()


def test_logs_of_a_persona_stand_in_a_folder_of_its_own(finished):
    assert list((finished / "logs" / "baseline" / "seed-0" / "persona-terse" / "3").glob("*.eval"))


# What a recipe may ask.


def conditions(model, personas, **more):
    data = StudyData.load(recipe(model, **changes(model, personas, **more)))
    return [c.name for c in data.persona_conditions]


def test_all_personas_in_all_wordings_are_asked_unless_some_are_named(model):
    names = conditions(model, {})
    assert len(names) == len(set(names)) == 16 * 3
    assert names[:3] == [f"persona:careless-medical-adviser/{i}" for i in (1, 2, 3)]
    assert conditions(model, {"names": "all", "wordings": [2]})[-1] == "persona:one-word-first/2"


def test_personas_are_asked_in_the_style_of_the_plain_condition(model):
    made = changes(model, PERSONAS)
    made["training"] = made["training"] | {"style": "Be brief."}
    assert {c.style for c in StudyData.load(recipe(model, **made)).persona_conditions} == {"Be brief."}


LADDER = {"families": ["pushback"], "domains": ["health"], "formats": ["chat"], "pairs": 2}


def test_twins_are_asked_under_personas_where_the_recipe_says_so(model):
    def suites(**personas):
        made = recipe(model, **changes(model, {"names": ["terse"], **personas}, twins=LADDER))
        data = StudyData.load(made)
        (asked, *_) = stages.asked_under_personas(data, data.parts())
        return [p.suite.name for p in asked[1]]

    assert suites() == ["oversight-log"]
    assert suites(twins=True) == ["oversight-log", "pushback"]
    assert suites(evals=[], twins=True) == ["pushback"]


def test_twins_of_the_named_rungs_alone_are_asked_under_personas(model):
    ladder = {"families": ["pushback", "missing-figure"], "domains": ["health", "law"], "formats": ["chat"], "pairs": 2}
    trained = {"families": ["pushback"], "formats": ["chat"], "wordings": [0]}

    def asked(rungs):
        made = changes(model, {"names": ["terse"], "evals": [], "twins": rungs}, twins=ladder)
        made["training"] |= {"pair_coupling": 0}
        data = content(model)["data"] | {"train_on": ["twins"], "twins": trained}
        loaded = StudyData.load(recipe(model, **made, data=data))
        (found, *_) = stages.asked_under_personas(loaded, loaded.parts())
        return {(p.suite.name, t.domain) for p in found[1] for t in p.answered}

    assert asked(["new domain"]) == {("pushback", "law")}
    assert asked(["near family", "new domain"]) == {
        ("pushback", "law"),
        ("missing-figure", "health"),
        ("missing-figure", "law"),
    }
    with pytest.raises(RecipeError, match=r"evaluation\.personas\.twins: no twins .* stand on 'new format'"):
        asked(["new format"])


def test_a_file_of_the_users_own_is_found_beside_the_recipe_and_its_check_is_run(model, tmp_path):
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(OWN))
    personas = {"names": ["shouter"], "file": "own.yaml", "evals": ["oversight-log"]}
    made = content(model) | changes(model, personas, trait_items=1, capability_items=0)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(made))
    directory = run_recipe(load_recipe(tmp_path / "recipe.yaml"), tmp_path / "run")
    followed = rows(directory, grader="followed")
    assert set(followed["protocol"]) == {"tests.study.test_personas_run:shouted"}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump([OWN[0] | {"wordings": ["Shout!"]}]))
    with pytest.raises(RecipeError, match=r"holds results of another personas\.persona:shouter/1"):
        run_recipe(load_recipe(tmp_path / "recipe.yaml"), directory)


@pytest.mark.parametrize(
    ("personas", "message"),
    [
        ({"names": ["flaterer"]}, r"evaluation\.personas\.names: unknown persona 'flaterer'; known: careless"),
        ({"wordings": [4]}, r"evaluation\.personas\.wordings: persona 'careless-medical-adviser' has no wording 4"),
        ({"evals": ["health-triage"]}, r"evaluation\.personas\.evals: 'health-triage' is not measured by this recipe"),
        ({"evals": []}, r"evaluation\.personas: nothing is asked under personas; name suites in evals"),
        ({"file": "nowhere.yaml"}, r"evaluation\.personas\.file: nowhere\.yaml: no such file"),
    ],
)
def test_a_recipe_that_asks_for_what_is_not_there_is_refused_before_work_begins(model, tmp_path, personas, message):
    with pytest.raises(RecipeError, match=message):
        run(model, tmp_path / "run", personas)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("personas", [{"names": "terse"}, {"wordings": []}, {"wordings": [0]}, {"name": ["terse"]}])
def test_a_faulty_field_is_named(model, personas):
    with pytest.raises(ValidationError, match="personas"):
        recipe(model, **changes(model, personas))


def test_a_check_that_fails_is_told_with_its_persona_before_work_begins(model, tmp_path):
    (tmp_path / "own.yaml").write_text(yaml.safe_dump([OWN[0] | {"check": {"program": "at-most-words"}}]))
    with pytest.raises(SteadfastError, match=r"entry 1 \(shouter\): check: 'at-most-words' failed: KeyError: 'words'"):
        run(model, tmp_path / "run", {"file": str(tmp_path / "own.yaml")})
