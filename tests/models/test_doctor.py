"""Doctor says of a model what would go right and wrong with it, by table and by JSON."""

import json
import shutil

import pytest
from peft.tuners.tuners_utils import BaseTunerLayer
from typer.testing import CliRunner

from steadfast.cli import app
from steadfast.errors import ChatTemplateError, UnsupportedModelError
from steadfast.messages import Message
from steadfast.models import AdapterConfig, load_model
from steadfast.models.doctor import examine, refused
from tests.conftest import CHAT_TEMPLATE, make_tokenizer
from tests.models.architectures import ARCHITECTURES, tiny

NAMES = ["weights", "identity", "loading", "agreement", "training", "vocabulary", "prompt", "end of turn", "context"]


@pytest.fixture
def folder(tiny_model_dir, tmp_path):
    return shutil.copytree(tiny_model_dir, tmp_path / "model")


def doctor(*arguments):
    result = CliRunner().invoke(app, ["doctor", *map(str, arguments), "--device", "cpu", "--json"])
    return result.exit_code, {c["name"]: c for c in json.loads(result.stdout)["checks"]}


def with_template(folder, source):
    (folder / "chat_template.jinja").write_text(source)
    return folder


def save_adapter(folder, target):
    loaded = load_model(str(folder), device="cpu")
    loaded.fresh_policy(AdapterConfig(rank=4, layers=2), seed=0).save(target)
    return target


def test_a_sound_model_passes_every_check(folder):
    code, checks = doctor("--model", folder)
    assert code == 0
    assert list(checks) == NAMES
    assert {c["status"] for c in checks.values()} == {"ok"}
    assert checks["agreement"]["figures"]["sampled"] < 1e-3
    assert checks["agreement"]["figures"]["path"] == "packed"
    assert checks["prompt"]["figures"]["rendered"].endswith("<|user|>How are you?<|end|><|assistant|>")
    assert checks["end of turn"]["figures"]["tokens"] == ["<|end|>"]
    assert checks["context"]["figures"]["context_length"] == 512
    assert checks["identity"]["figures"]["files"].keys() >= {"model.safetensors", "chat_template.jinja"}


def test_the_table_shows_the_rendered_conversation(folder):
    result = CliRunner().invoke(app, ["doctor", "--model", str(folder), "--device", "cpu"])
    assert result.exit_code == 0
    assert "<|system|>Be brief.<|end|><|user|>Hello!<|end|>" in result.stdout


def test_an_adapter_is_looked_at_with_its_model(folder, tmp_path):
    adapter = save_adapter(folder, tmp_path / "adapter")
    code, checks = doctor("--model", folder, "--adapter", adapter)
    assert code == 0
    assert checks["adapter"]["figures"]["modules"] == 14
    assert checks["adapter"]["status"] == "ok"
    assert checks["agreement"]["status"] == "ok"


def test_an_adapter_of_another_base_or_one_that_does_not_fit_is_refused(folder, tmp_path):
    adapter = save_adapter(folder, tmp_path / "adapter")
    config = adapter / "adapter_config.json"
    data = json.loads(config.read_text())
    config.write_text(json.dumps({**data, "base_model_name_or_path": "someone/else"}))
    code, checks = doctor("--model", folder, "--adapter", adapter)
    assert (code, checks["adapter"]["status"]) == (2, "refused")
    assert "trained on someone/else" in checks["adapter"]["sentence"]
    config.write_text(json.dumps({**data, "target_modules": ["q_proj"]}))
    code, checks = doctor("--model", folder, "--adapter", adapter)
    assert (code, checks["adapter"]["status"]) == (2, "refused")
    assert "agreement" not in checks


@pytest.mark.parametrize(
    ("source", "name", "status"),
    [
        (CHAT_TEMPLATE.replace("<|end|>", ""), "end of turn", "refused"),
        (
            "{{ messages[-1].content }}<|end|>{% if add_generation_prompt %}<|assistant|>{% endif %}",
            "prompt",
            "refused",
        ),
        ("{% for m in messages %}", "prompt", "refused"),
        (CHAT_TEMPLATE.replace("messages %}", "messages if m.role != 'system' %}"), "prompt", "note"),
        ("{{ strftime_now('%Y') }}" + CHAT_TEMPLATE, "prompt", "note"),
    ],
    ids=["no end", "drops turns", "broken", "no system", "date"],
)
def test_what_a_template_does_is_told(folder, source, name, status):
    code, checks = doctor("--model", with_template(folder, source))
    assert checks[name]["status"] == status
    assert code == (2 if status == "refused" else 0)


def test_a_model_that_cannot_be_loaded_is_one_refused_check(folder):
    (folder / "config.json").write_text("{")
    code, checks = doctor("--model", folder)
    assert code == 2
    assert list(checks) == ["loading"]
    assert str(folder) in checks["loading"]["sentence"]


@pytest.mark.parametrize(("option", "value"), [("--dtype", "float33"), ("--device", "frob"), ("--device", "meta")])
def test_an_unknown_type_or_device_is_refused(folder, option, value):
    result = CliRunner().invoke(app, ["doctor", "--model", str(folder), option, value, "--json"])
    assert result.exit_code == 2
    assert value in json.loads(result.stdout)["checks"][0]["sentence"]


def test_examining_leaves_the_model_as_it_was(folder, tmp_path):
    adapter = save_adapter(folder, tmp_path / "adapter")
    loaded = load_model(str(folder), device="cpu")
    before = {k: v.clone() for k, v in loaded.lm.state_dict().items()}
    assert refused(examine(loaded, adapter)) == []
    after = loaded.lm.state_dict()
    assert after.keys() == before.keys()
    assert all(after[k].equal(v) for k, v in before.items())


def test_special_tokens_beyond_the_embedding_are_noted_and_a_text_with_them_refused(folder):
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"pad_token": "<|pad|>"})
    tokenizer.save_pretrained(folder)
    loaded = load_model(str(folder), device="cpu")
    checks = {c.name: c for c in examine(loaded)}
    assert checks["vocabulary"].status == "note"
    assert checks["vocabulary"].figures["beyond"] == ["<|pad|>"]
    assert loaded.chat.encode_reply("Hello") == loaded.tokenizer.encode("Hello")
    with pytest.raises(ChatTemplateError, match=f"{folder}: the text has token .* id 260"):
        loaded.chat.encode([Message(role="user", content="Hello <|pad|>")])
    with pytest.raises(ChatTemplateError, match="id 260"):
        loaded.chat.encode_reply("Hello <|pad|>")


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_every_architecture_is_measured_rightly_or_refused_by_name(name, tmp_path):
    tiny(name).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    loaded = load_model(str(tmp_path), device="cpu")
    checks = {c.name: c for c in examine(loaded)}
    assert refused(list(checks.values())) == []
    assert max(checks["agreement"].figures[k] for k in ("scored", "sampled")) < 1e-3
    if checks["training"].status == "note":
        assert type(loaded.lm).__name__ in checks["training"].sentence
        with pytest.raises(UnsupportedModelError, match=type(loaded.lm).__name__):
            loaded.fresh_policy(AdapterConfig(rank=4), seed=0)
    else:
        loaded.release(loaded.fresh_policy(AdapterConfig(rank=4), seed=0))
    assert not any(isinstance(m, BaseTunerLayer) for m in loaded.lm.modules())


def test_a_model_with_long_rotary_embeddings_is_read_up_to_where_they_change(tmp_path):
    rope = {"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 64}
    factors = {"short_factor": [1.0] * 4, "long_factor": [1.0, 2.0, 4.0, 8.0]}
    tiny(
        "Phi-3", sliding_window=None, original_max_position_embeddings=64, rope_parameters=rope | factors
    ).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    checks = {c.name: c for c in examine(load_model(str(tmp_path)))}
    assert checks["context"].status == "note"
    assert "reads 64 tokens here, of the 512" in checks["context"].sentence
    with pytest.raises(ChatTemplateError, match="exceed the 64 tokens"):
        load_model(str(tmp_path)).chat.encode([Message(role="user", content="x" * 50)], max_new_tokens=20)
