"""A run on twins with two seeds: what trains, what measures, and what the report says of it."""

import json

import polars as pl
import pytest
from pydantic import ValidationError

from steadfast.errors import DataError, RecipeError, SteadfastError
from steadfast.report.json_summary import summarize
from steadfast.report.page import write_report
from steadfast.study import run_recipe
from steadfast.study.data import StudyData
from tests.study.examples import content, recipe, save_model

TRAINED = ("updated-record", "pushback")
TWINS = {"families": list(TRAINED), "formats": ["chat"], "wordings": [0, 1], "pairs": 8}
LADDER = {
    "families": [*TRAINED, "missing-figure", "may-share"],
    "domains": ["health", "law"],
    "formats": ["chat", "form"],
    "pairs": 4,
    "sampled": True,
}
EVALUATION = {
    "evals": [],
    "choice": False,
    "chat_eval": None,
    "trait_items": 0,
    "capability_items": 0,
    "max_new_tokens": 6,
    "judge": "tests.study.word_judges:OtherWordJudge",
    "twins": LADDER,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


def changes(model, **more):
    training = content(model)["training"] | {"advantage": "centered", "prompts_per_step": 4, "steps": 2}
    return {
        "seeds": [0, 1],
        "arms": ["baseline", "health-only", "shuffled", "flipped"],
        "primary": {"rung": "new domain", "arm": "health-only"},
        "data": {"standard_prompts": 60, "train_on": ["twins"], "twins": TWINS},
        "training": training,
        "evaluation": EVALUATION,
    } | more


@pytest.fixture(scope="module")
def finished(model, tmp_path_factory):
    return run_recipe(recipe(model, **changes(model)), tmp_path_factory.mktemp("run"))


def twins_of(directory, condition="plain"):
    results = pl.read_parquet(directory / "results.parquet")
    return results.filter((pl.col("kind") == "twins") & (pl.col("condition") == condition))


def test_every_arm_is_trained_and_measured_with_every_seed_on_the_same_items(finished):
    results = twins_of(finished)
    counts = {(c, seed): n for c, seed, n in results.group_by("checkpoint", "seed").len().iter_rows()}
    assert len(counts) == 1 + 4 * 2
    assert set(counts.values()) == {4 * 2 * 2 * 4 * 2}
    assert results.filter(pl.col("checkpoint") == "pre-RL")["seed"].null_count() == 128
    assert set(results["group"]) == {"records", "permissions"}
    for seed in (0, 1):
        assert (finished / "arms" / "health-only" / f"seed-{seed}" / "adapter" / "adapter_model.safetensors").is_file()


def test_the_same_items_are_answered_at_the_training_temperature_too_and_the_report_shows_both(finished):
    key = ["checkpoint", "seed", "task"]
    plain, sampled = twins_of(finished), twins_of(finished, "sampled")
    both = plain.join(sampled, on=key, suffix="_sampled", nulls_equal=True)
    assert both.height == plain.height == sampled.height
    assert (both["answer"] != both["answer_sampled"]).mean() > 0.5, "a random model hardly draws its likeliest answer"
    rung = summarize(finished)["ladders"][0]["results"][0]
    assert isinstance(rung["sampled"], float)
    page = write_report(finished).read_text()
    assert "answers are drawn at the training temperature of 1," in page
    assert "sampled 0.000" in page
    assert page.count("never trained on") >= 4, "wordings 2 and 3 of both families are measured and were not trained"


def test_both_twins_stand_in_every_batch_and_the_shuffled_arm_learns_the_same_scores(finished):
    rollouts = pl.read_parquet(finished / "arms" / "shuffled" / "seed-0" / "rollouts.parquet")
    own = rollouts.filter(pl.col("pool") == "trait")
    for _, step in own.group_by("step"):
        tasks = set(step["task"])
        assert {t[:-1] + ("b" if t.endswith("a") else "a") for t in tasks} == tasks
    assert own["learned_reward"].null_count() == 0


def shuffling(directory):
    """Of each group in which completions earned differently: whether it learned the scores in their own order."""
    rollouts = pl.read_parquet(directory / "rollouts.parquet").drop_nulls("reward")
    groups = rollouts.sort("completion").partition_by("step", "task", "pool")
    kept = [g for g in groups if g["reward"].n_unique() > 1]
    assert all(sorted(g["reward"]) == pytest.approx(sorted(g["learned_reward"])) for g in kept)
    return [g["reward"].to_list() == pytest.approx(g["learned_reward"].to_list()) for g in kept]


def test_the_shuffled_arm_learns_its_scores_in_another_order_and_no_other_arm_does(model, tmp_path):
    training = content(model)["training"] | {"steps": 3, "group_size": 6, "prompts_per_step": 4}
    done = run_recipe(recipe(model, arms=["baseline", "trait", "shuffled"], share=1.0, training=training), tmp_path)
    own, shuffled = (shuffling(done / "arms" / arm / "seed-0") for arm in ("trait", "shuffled"))
    assert own
    assert all(own)
    assert shuffled
    assert not all(shuffled)


def test_a_family_among_the_suites_is_told_where_it_belongs(model):
    file = "src/steadfast/tasks/data/twins/pushback.yaml"
    with pytest.raises(RecipeError, match=r"'pushback' is a family of twins; name it in data\.twins\.families"):
        StudyData.load(recipe(model, suites=[file]))


def test_the_one_sided_arm_sees_one_twin_of_each_pair(model):
    data = StudyData.load(recipe(model, **changes(model, arms=["baseline", "health-only", "one-sided"])))
    seen = data.slices["one-sided"]
    assert 2 * len({t.id for t in seen}) == len(data.slices["health-only"])
    assert not {t.id for t in seen} & {t.pair for t in seen}


def test_a_flipped_rubric_exchanges_its_statements_and_what_has_no_opposite_is_refused(model):
    data = StudyData.load(recipe(model, arms=["baseline", "trait", "flipped"]))
    for own, other in zip(data.slices["trait"], data.slices["flipped"], strict=True):
        assert [(c.met, c.unmet) for c in own.rubric] == [(c.unmet, c.met) for c in other.rubric]
    arm = {"name": "against", "suites": ["standard"], "reward": "flipped"}
    with pytest.raises(RecipeError, match="has no opposite"):
        _ = StudyData.load(recipe(model, arms=["baseline", arm])).slices


@pytest.mark.parametrize(
    ("twins", "message"),
    [({"domains": ["helth"]}, "no family has cases in 'helth'"), ({"wordings": [0, 9]}, "no wording 9; it has 4")],
)
def test_twins_that_are_not_there_are_not_left_out_in_silence(model, twins, message):
    ladder = EVALUATION | {"twins": LADDER | twins}
    with pytest.raises((RecipeError, DataError), match=message):
        StudyData.load(recipe(model, **changes(model, evaluation=ladder)))


def test_the_report_shows_the_ladder_with_intervals_over_seeds(finished):
    summary = summarize(finished)
    ladder = next(one for one in summary["ladders"] if one["arm"] == "health-only")
    assert ladder["rungs"] == ["new values", "new wording", "new domain", "new format", "near family", "far family"]
    assert {c["control"] for c in ladder["contrasts"]} == {"pre-RL", "baseline", "shuffled", "flipped"}
    assert all(len(r["by_seed"]) == (1 if r["arm"] == "pre-RL" else 2) for r in ladder["results"])
    assert "domains never trained on" in summary["primary"]
    html = write_report(finished).read_text()
    assert "Transfer ladder" in html
    assert "2 training seeds" in html
    assert json.loads(json.dumps(summary))["seeds"] == [0, 1]


def test_the_flipped_arm_is_rewarded_for_the_twins_answer(model):
    data = StudyData.load(recipe(model, **changes(model)))
    own = {t.id: t for t in data.slices["health-only"]}
    assert {t.domain for t in own.values()} == {"health"}
    assert all(t.split == "train" and t.suite in TRAINED for t in own.values())
    assert [t.id for t in data.slices["flipped"]] == list(own)
    for task in data.slices["flipped"]:
        assert task.messages == own[task.id].messages
        assert task.grader == own[task.pair].grader


def test_the_shuffled_arm_differs_from_the_leading_one_in_its_reward_alone(model):
    data = StudyData.load(recipe(model, **changes(model)))
    lead, shuffled = (data.recipe.arm(name) for name in ("health-only", "shuffled"))
    assert data.schedule(lead, 0) == data.schedule(shuffled, 0)
    assert (lead.reward, shuffled.reward) == ("own", "shuffled")
    assert lead.scope == shuffled.scope


def test_arms_of_one_seed_share_the_standard_prompts_and_seeds_differ(model):
    data = StudyData.load(recipe(model, **changes(model, share=0.5)))
    one, other = (data.schedule(data.recipe.arm(a), 0) for a in ("baseline", "health-only"))
    again = data.schedule(data.recipe.arm("health-only"), 1)
    places = [(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True)]
    shared = [(a.task.id, b.task.id) for a, b in places if b.pool == "standard"]
    assert shared
    assert all(a == b for a, b in shared)
    assert again != other


def test_training_and_measured_twins_are_proved_apart(model):
    compared = StudyData.load(recipe(model, **changes(model))).prove_pools_disjoint()
    assert compared["training twins x measured twins (equality)"] > 0


def test_a_primary_measure_that_no_suite_gives_is_refused(model):
    ladder = EVALUATION | {"twins": LADDER | {"domains": ["health"]}}
    with pytest.raises(RecipeError, match=r"no twins of evaluation\.twins stand on 'new domain' for arm 'health-only'"):
        StudyData.load(recipe(model, **changes(model, evaluation=ladder)))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"training": {"advantage": "grpo"}}, "cancels the coupling of twins"),
        ({"training": {"advantage": "centered", "prompts_per_step": 3}}, "it must be even, not 3"),
        ({"data": {"train_on": ["twins"]}}, "`twins` must say which families"),
        ({"seeds": [0, 0]}, "0 stands there twice"),
        ({"seeds": []}, "seeds"),
        ({"primary": {"rung": "new domain", "arm": "nobody"}}, "no arm is named 'nobody'"),
        ({"primary": {"rung": "new domain", "arm": "shuffled"}}, "'shuffled' is what arms are held against"),
        ({"data": {}, "primary": None, "arms": ["baseline", "trait", "one-sided"]}, "arm 'one-sided' trains on twins"),
        ({"data": {}, "primary": {"rung": "new domain"}}, "a rung needs twins"),
    ],
)
def test_a_recipe_that_cannot_train_on_twins_is_a_sentence(model, more, message):
    with pytest.raises(ValidationError, match=message):
        recipe(model, **changes(model, **more))


def generous():
    """A family whose check pays whatever is said."""
    return lost() | {"name": "generous", "check": "tests.study.test_twins_run:pays_everything"}


def lost():
    """A family whose check fails at its work."""
    return {
        "name": "lost",
        "title": "Clean or used",
        "trait": "truthfulness",
        "group": "records",
        "measures": "Whether an answer follows the list.",
        "label": "number",
        "answer": "[{a}|{b}]",
        "check": "tests.study.test_twins_run:fails",
        "wordings": [{"lines": ["We have {a} [clean|used] ones and {b} [used|clean] ones."], "ask": "Clean ones?"}],
        "domains": {"health": [{"place": "the laundry"}], "law": [{"place": "the court"}]},
    }


def pays_everything(_text, _args):
    return 1.0


def fails(_text, _args):
    raise KeyError("list")


@pytest.mark.parametrize(
    ("family", "message"),
    [("generous", "generous: .* earns 1.00 and may earn 0.05 at most"), ("lost", "failed: KeyError: 'list'")],
)
@pytest.mark.parametrize("place", ["trained", "measured"])
def test_a_check_that_pays_a_constant_or_fails_is_refused_before_any_training(model, tmp_path, family, message, place):
    name = f"tests.study.test_twins_run:{family}"
    made = changes(model)
    if place == "trained":
        made["data"] = made["data"] | {"twins": {**TWINS, "families": [*TRAINED, name], "wordings": [0]}}
    else:
        made["evaluation"] = made["evaluation"] | {"twins": {**LADDER, "families": [*TRAINED, name]}}
    with pytest.raises(SteadfastError, match=message):
        run_recipe(recipe(model, **made), tmp_path)
    assert not (tmp_path / "arms").exists()
