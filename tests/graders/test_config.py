import json

import pytest
import yaml
from pydantic import BaseModel

from steadfast.errors import JudgeError
from steadfast.graders import EmbeddedJudge, JudgeConfig, JudgeField, Limits, make_judge
from steadfast.graders.config import WITHOUT_COST, CustomConfig, EmbeddedConfig, LLMConfig

SPELLED = {
    "embedded": EmbeddedConfig(),
    "embedded-plain": EmbeddedConfig(head=False),
    "openai/gpt-4o": LLMConfig(model="openai/gpt-4o"),
    "openai/gpt-4o,structured=false": LLMConfig(model="openai/gpt-4o", structured=False),
    "hf/./a folder/model": LLMConfig(model="hf/./a folder/model"),
    "openai-api/mine/model:8b": LLMConfig(model="openai-api/mine/model:8b"),
    "my_package.module:Class": CustomConfig(path="my_package.module:Class"),
}


class Holder(BaseModel):
    judge: JudgeField


@pytest.mark.parametrize("spelling", SPELLED)
def test_todays_spellings_are_read_and_written_again(spelling):
    config = JudgeConfig.parse(spelling)
    assert config == SPELLED[spelling]
    assert config.spelling == spelling
    assert JudgeConfig.parse(config) is config
    assert Holder.model_validate({"judge": spelling}).model_dump() == {"judge": spelling}


@pytest.mark.parametrize(
    "config",
    [
        {"kind": "embedded", "head": False},
        {"kind": "llm", "model": "openai/gpt-4o", "repairs": 0, "limits": {"max_calls": 3}, "args": {"x": 1}},
        {"kind": "custom", "path": "tests.graders.fakes:FakeJudge", "args": {"name": "mine"}},
    ],
)
def test_a_mapping_and_a_file_say_the_same_and_what_a_recipe_writes_is_read_back(tmp_path, config):
    expected = JudgeConfig.parse(config)
    for name, text in (("j.yaml", yaml.safe_dump(config)), ("j.json", "\ufeff" + json.dumps(config))):
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert JudgeConfig.parse(str(tmp_path / name)) == expected
    written = Holder(judge=expected).model_dump(mode="json")
    assert Holder.model_validate(json.loads(json.dumps(written))).judge == expected


def test_limits_are_no_part_of_what_a_recipe_writes_for_its_protocol():
    cheap, dear = (
        Holder(judge=JudgeConfig.parse({"kind": "llm", "model": "a/b", "limits": {"max_calls": n}})) for n in (1, 9)
    )
    assert cheap.model_dump() != dear.model_dump()
    assert cheap.model_dump(context=WITHOUT_COST) == dear.model_dump(context=WITHOUT_COST) == {"judge": "a/b"}


FAULTS = {
    "no kind": ({"model": "openai/x"}, "a judge is 'embedded'"),
    "an unknown kind": ({"kind": "oracle"}, "a judge is 'embedded'"),
    "an unknown field": ({"kind": "embedded", "heads": 2}, "heads: unknown field"),
    "no model": ({"kind": "llm"}, "model: Field required"),
    "a model without its provider": ({"kind": "llm", "model": "gpt-4o"}, "model: 'gpt-4o' is not 'provider/model'"),
    "a limit of zero": ({"kind": "llm", "model": "a/b", "limits": {"max_calls": 0}}, "limits.max_calls: "),
    "endless repairs": ({"kind": "llm", "model": "a/b", "repairs": 10**6}, "repairs: "),
    "a key": ({"kind": "llm", "model": "a/b", "args": {"api_key": "x"}}, "args: 'api_key' would be written to files"),
    "a path without a class": ({"kind": "custom", "path": "module"}, "path: 'module' is not 'package.module:Class'"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_a_config_is_told_with_its_field_wherever_it_stands(tmp_path, name):
    given, message = FAULTS[name]
    with pytest.raises(JudgeError) as caught:
        JudgeConfig.parse(given)
    assert message in str(caught.value)
    path = tmp_path / "judge.yaml"
    path.write_text(yaml.safe_dump(given), encoding="utf-8")
    with pytest.raises(JudgeError) as caught:
        make_judge(str(path))
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    with pytest.raises(ValueError, match="judge"):
        Holder.model_validate({"judge": given})


@pytest.mark.parametrize("text", ["", "[1, 2", "- a list", "2", "x: 2024-13-01", "{" * 5000])
@pytest.mark.parametrize("ending", ["yaml", "json"])
def test_a_file_that_holds_no_config_is_an_error_that_names_it(tmp_path, text, ending):
    path = tmp_path / f"judge.{ending}"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(JudgeError, match=rf"judge\.{ending}"):
        JudgeConfig.parse(str(path))


def test_a_file_that_is_not_there_or_no_text_is_an_error_that_names_it(tmp_path):
    with pytest.raises(JudgeError, match=r"none\.yaml.*no such file"):
        JudgeConfig.parse(str(tmp_path / "none.yaml"))
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(JudgeError, match=r"b\.yaml.*not UTF-8"):
        JudgeConfig.parse(str(tmp_path / "b.yaml"))


@pytest.mark.parametrize("given", [3, None, [], 2.5])
def test_what_is_no_judge_at_all_is_an_error_of_the_recipes_field(given):
    with pytest.raises(ValueError, match="a judge is"):
        Holder.model_validate({"judge": given})


def test_a_judge_is_made_as_its_config_says(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    made = make_judge({"kind": "llm", "model": "openai/gpt-4o", "repairs": 1, "limits": {"max_calls": 3}})
    assert (made.name, made.settings["repairs"], made.limits) == ("openai/gpt-4o", 1, Limits(max_calls=3))
    assert make_judge("openai/gpt-4o", Limits(max_calls=9)).limits.max_calls == 9
    assert make_judge({"kind": "custom", "path": "tests.graders.fakes:FakeJudge", "args": {"name": "n"}}).name == "n"
    plain = make_judge({"kind": "embedded", "head": False})
    assert isinstance(plain, EmbeddedJudge)
    assert plain.name == "embedded-plain"


def test_a_language_model_is_the_same_judge_however_it_is_called():
    one, other = (JudgeConfig.parse(n) for n in ("openai/gpt-4o", "openai/gpt-4o,structured=false"))
    assert one.is_same_judge(other)
    assert not one.is_same_judge(JudgeConfig.parse("openai/gpt-4"))
    assert not JudgeConfig.parse("embedded").is_same_judge(JudgeConfig.parse("embedded-plain"))
    assert JudgeConfig.parse("a.b:C").is_same_judge(JudgeConfig.parse("a.b:C"))


@pytest.mark.parametrize("judge", ["hf/Org/Model", "vllm/Org/Model", "vllm/Org/Model,structured=false"])
def test_a_judge_that_is_the_model_under_test_is_known_whoever_serves_it(judge):
    config = JudgeConfig.parse(judge)
    assert config.is_judged_model("Org/Model")
    assert config.is_judged_model("hf/Org/Model")
    assert not config.is_judged_model("Org/Model-2")
    assert not JudgeConfig.parse("embedded").is_judged_model("embedded")


def test_a_folder_is_known_as_the_model_under_test_by_another_path(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    assert JudgeConfig.parse(f"hf/{tmp_path}/model").is_judged_model("./model")
