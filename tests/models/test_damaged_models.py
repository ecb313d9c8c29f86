"""Whatever is wrong with a model's or an adapter's files, a sentence names the folder; no traceback of a library's."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save_file

from steadfast.errors import SteadfastError
from steadfast.messages import Message
from steadfast.models import AdapterConfig, load_model
from steadfast.models.adapters import applied
from tests.conftest import make_lm

WEIGHTS, CONFIG, TOKENIZER = "model.safetensors", "config.json", "tokenizer.json"


def change_json(name, **fields):
    def change(folder: Path):
        data = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**data, **fields}))

    return change


def drop_json(name, *fields):
    def change(folder: Path):
        data = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({k: v for k, v in data.items() if k not in fields}))

    return change


def write(name, content):
    def change(folder: Path):
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return change


def remove(*names):
    def change(folder: Path):
        for name in names:
            (folder / name).unlink()

    return change


def cut(name, share):
    def change(folder: Path):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * share)])

    return change


def tensors(name, alter):
    def change(folder: Path):
        held = load((folder / name).read_bytes())
        altered = alter(held)
        save_file(held if altered is None else altered, folder / name, metadata={"format": "pt"})

    return change


def pickled(name, new):
    def change(folder: Path):
        torch.save(load((folder / name).read_bytes()), folder / new)
        if new != name:
            (folder / name).unlink()

    return change


def template(text):
    def change(folder: Path):
        (folder / "chat_template.jinja").write_text(text)

    return change


def fill(key, value, where=slice(None)):
    def alter(held):
        held[key] = held[key].clone()
        held[key].view(-1)[where] = value

    return alter


def pop(key):
    return lambda held: {k: v for k, v in held.items() if k != key}


def add(key, tensor):
    return lambda held: held.update({key: tensor})


def as_type(key, dtype):
    return lambda held: held.update({key: held[key].to(dtype)})


NORM, Q = "model.norm.weight", "model.layers.0.self_attn.q_proj.weight"
HOSTILE = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"

MODEL = {
    "no config": remove(CONFIG),
    "no weights": remove(WEIGHTS),
    "no tokenizer": remove(TOKENIZER, "tokenizer_config.json"),
    "no tokenizer.json": remove(TOKENIZER),
    "empty config": write(CONFIG, ""),
    "config cut off": cut(CONFIG, 0.5),
    "config not utf-8": write(CONFIG, b"\xff\xfe\x00{"),
    "config a list": write(CONFIG, "[1, 2]"),
    "config null": write(CONFIG, "null"),
    "config nested deep": write(CONFIG, "[" * 100_000),
    "no model type": drop_json(CONFIG, "model_type", "architectures"),
    "unknown model type": change_json(CONFIG, model_type="frobnicator"),
    "model type a number": change_json(CONFIG, model_type=7),
    "of another architecture": change_json(CONFIG, model_type="gpt2"),
    "an encoder": change_json(CONFIG, model_type="bert", architectures=["BertModel"]),
    "code of its own": change_json(
        CONFIG, model_type="mine", auto_map={"AutoConfig": "mine.C", "AutoModelForCausalLM": "mine.M"}
    ),
    "hidden size too large": change_json(CONFIG, hidden_size=64),
    "hidden size gigantic": change_json(CONFIG, hidden_size=10**12),
    "hidden size a word": change_json(CONFIG, hidden_size="32"),
    "hidden size negative": change_json(CONFIG, hidden_size=-32),
    "hidden size null": change_json(CONFIG, hidden_size=None),
    "hidden size a fraction": change_json(CONFIG, hidden_size=32.5),
    "vocabulary too small": change_json(CONFIG, vocab_size=100),
    "vocabulary gigantic": change_json(CONFIG, vocab_size=10**10),
    "more layers than weights": change_json(CONFIG, num_hidden_layers=6),
    "a million layers": change_json(CONFIG, num_hidden_layers=10**6),
    "fewer layers than weights": change_json(CONFIG, num_hidden_layers=2),
    "no heads": change_json(CONFIG, num_attention_heads=0),
    "heads that do not divide": change_json(CONFIG, num_attention_heads=7),
    "too many key heads": change_json(CONFIG, num_key_value_heads=4),
    "unknown activation": change_json(CONFIG, hidden_act="frob"),
    "unknown rope": change_json(CONFIG, rope_parameters={"rope_type": "frob"}),
    "unknown quantization": change_json(CONFIG, quantization_config={"quant_method": "frob"}),
    "weights cut off": cut(WEIGHTS, 0.7),
    "weights' header cut off": cut(WEIGHTS, 0.001),
    "weights empty": write(WEIGHTS, ""),
    "weights a page of the web": write(WEIGHTS, "<html>not found</html>" * 50),
    "weights an LFS pointer": write(WEIGHTS, "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"),
    "weights pickled under their name": pickled(WEIGHTS, WEIGHTS),
    "weights pickled": pickled(WEIGHTS, "pytorch_model.bin"),
    "weights with a wrong length of header": write(WEIGHTS, (2**62).to_bytes(8, "little") + b"{}"),
    "a tensor missing": tensors(WEIGHTS, pop(NORM)),
    "a tensor too many": tensors(WEIGHTS, add("model.extra.weight", torch.zeros(3))),
    "a tensor of another shape": tensors(WEIGHTS, add(NORM, torch.ones(16))),
    "a tensor of whole numbers": tensors(WEIGHTS, as_type(Q, torch.int32)),
    "all names changed": tensors(WEIGHTS, lambda held: {f"x.{k}": v for k, v in held.items()}),
    "NaN": tensors(WEIGHTS, fill(Q, float("nan"), 3)),
    "infinity": tensors(WEIGHTS, fill(NORM, float("inf"))),
    "an index of missing shards": lambda f: (
        (f / WEIGHTS).unlink(),
        write("model.safetensors.index.json", json.dumps({"weight_map": {NORM: "model-1-of-2.safetensors"}}))(f),
    ),
    "an index outside the folder": lambda f: (
        (f / WEIGHTS).rename(f.parent / "elsewhere.safetensors"),
        write("model.safetensors.index.json", json.dumps({"weight_map": {NORM: "../elsewhere.safetensors"}}))(f),
    ),
    "an index that is none": lambda f: (
        (f / WEIGHTS).unlink(),
        write("model.safetensors.index.json", '{"weight_map": [1]}')(f),
    ),
    "an adapter beside it": write("adapter_config.json", '{"peft_type": "LORA", "base_model_name_or_path": "x"}'),
    "tokenizer cut off": cut(TOKENIZER, 0.5),
    "tokenizer empty": write(TOKENIZER, "{}"),
    "tokenizer a list": write(TOKENIZER, "[]"),
    "tokenizer of unknown model": change_json(TOKENIZER, model={"type": "Frob"}),
    "tokenizer without words": change_json(TOKENIZER, model={"type": "BPE", "vocab": {}, "merges": []}),
    "tokenizer config a list": write("tokenizer_config.json", "[]"),
    "tokenizer config of wrong types": change_json("tokenizer_config.json", eos_token=5, model_max_length="x"),
    "more tokens than rows": change_json(
        TOKENIZER,
        added_tokens=[
            {"id": 900, "content": "<x>", "special": False, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False}
        ],
    ),
    "generation config cut off": cut("generation_config.json", 0.5),
    "template with a syntax error": template("{% for m in messages %}"),
    "template that raises": template("{{ raise_exception('no') }}"),
    "template that divides by zero": template(HOSTILE + "{{ 1 // 0 }}"),
    "template that escapes": template(HOSTILE + "{{ ''.__class__.__mro__[1].__subclasses__() }}"),
    "template with an endless range": template(HOSTILE + "{% for i in range(10 ** 12) %}x{% endfor %}"),
    "template that calls itself": template("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
    "template that imports": template("{% import 'os' as os %}{{ os }}"),
    "template that drops all": template("Hello!"),
    "template empty": template(""),
}  # fmt: skip

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
A = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"

ADAPTER = {
    "no config": remove(ADAPTER_CONFIG),
    "no weights": remove(ADAPTER_WEIGHTS),
    "weights pickled": pickled(ADAPTER_WEIGHTS, "adapter_model.bin"),
    "weights pickled under their name": write(ADAPTER_WEIGHTS, pickle.dumps({"a": 1})),
    "weights cut off": cut(ADAPTER_WEIGHTS, 0.6),
    "weights empty": write(ADAPTER_WEIGHTS, ""),
    "no tensors": tensors(ADAPTER_WEIGHTS, lambda held: {}),
    "config cut off": cut(ADAPTER_CONFIG, 0.4),
    "config a list": write(ADAPTER_CONFIG, "[]"),
    "config a number": write(ADAPTER_CONFIG, "3"),
    "no peft type": drop_json(ADAPTER_CONFIG, "peft_type"),
    "prefix tuning": change_json(ADAPTER_CONFIG, peft_type="PREFIX_TUNING"),
    "IA3": change_json(ADAPTER_CONFIG, peft_type="IA3"),
    "peft type a number": change_json(ADAPTER_CONFIG, peft_type=3),
    "unknown peft type": change_json(ADAPTER_CONFIG, peft_type="FROB"),
    "rank a word": change_json(ADAPTER_CONFIG, r="four"),
    "rank zero": change_json(ADAPTER_CONFIG, r=0),
    "rank of another": change_json(ADAPTER_CONFIG, r=8),
    "rank gigantic": change_json(ADAPTER_CONFIG, r=10**12),
    "alpha a word": change_json(ADAPTER_CONFIG, lora_alpha="big"),
    "alpha null": change_json(ADAPTER_CONFIG, lora_alpha=None),
    "alpha not finite": change_json(ADAPTER_CONFIG, lora_alpha=float("nan")),
    "targets unknown": change_json(ADAPTER_CONFIG, target_modules=["frob"]),
    "targets null": change_json(ADAPTER_CONFIG, target_modules=None),
    "targets a number": change_json(ADAPTER_CONFIG, target_modules=7),
    "targets a broken pattern": change_json(ADAPTER_CONFIG, target_modules="([", layers_to_transform=None),
    "targets in part": change_json(ADAPTER_CONFIG, target_modules=["q_proj"]),
    "targets too many": change_json(ADAPTER_CONFIG, layers_to_transform=None, target_modules="all-linear",
                                    layers_pattern=None, exclude_modules=None, modules_to_save=["lm_head"]),
    "layers elsewhere": change_json(ADAPTER_CONFIG, layers_to_transform=[0]),
    "layers a word": change_json(ADAPTER_CONFIG, layers_to_transform="all"),
    "biases": change_json(ADAPTER_CONFIG, bias="all"),
    "pissa": change_json(ADAPTER_CONFIG, init_lora_weights="pissa"),
    "initialisation unknown": change_json(ADAPTER_CONFIG, init_lora_weights="frob"),
    "initialisation a list": change_json(ADAPTER_CONFIG, init_lora_weights=[1]),
    "task unknown": change_json(ADAPTER_CONFIG, task_type="FROB"),
    "for classification": change_json(ADAPTER_CONFIG, task_type="SEQ_CLS"),
    "megatron": change_json(ADAPTER_CONFIG, megatron_config={"a": 1}, megatron_core="os"),
    "a tensor missing": tensors(ADAPTER_WEIGHTS, lambda held: dict(list(held.items())[1:])),
    "a tensor too many": tensors(ADAPTER_WEIGHTS, add("base_model.model.x.lora_A.weight", torch.zeros(4, 32))),
    "all names changed": tensors(ADAPTER_WEIGHTS, lambda held: {f"x.{k}": v for k, v in held.items()}),
    "a tensor of another shape": tensors(ADAPTER_WEIGHTS, lambda h: h.update({next(iter(h)): torch.zeros(4, 9)})),
    "NaN": tensors(ADAPTER_WEIGHTS, lambda held: held.update({k: v * float("nan") for k, v in held.items()})),
    "whole numbers": tensors(ADAPTER_WEIGHTS, lambda held: {k: v.to(torch.int32) for k, v in held.items()}),
}  # fmt: skip


@pytest.fixture(scope="module")
def sound_adapter(tiny_model_dir, tmp_path_factory):
    loaded = load_model(str(tiny_model_dir), device="cpu")
    policy = loaded.fresh_policy(AdapterConfig(rank=4, layers=2), seed=0)
    folder = tmp_path_factory.mktemp("sound-adapter")
    policy.save(folder)
    return folder


def use(folder):
    loaded = load_model(str(folder), device="cpu")
    loaded.chat.encode([Message(role="user", content="Hello!")])
    assert loaded.chat.faults() == []
    return loaded


def test_the_sound_model_and_adapter_load(tiny_model_dir, sound_adapter):
    with applied(use(tiny_model_dir).lm, sound_adapter) as adapter:
        assert adapter.modules


@pytest.mark.parametrize("damage", MODEL)
def test_a_damaged_model_is_refused_in_a_sentence_that_names_its_folder(damage, tiny_model_dir, tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on standard input"))
    folder = shutil.copytree(tiny_model_dir, tmp_path / "model")
    MODEL[damage](folder)
    with pytest.raises(SteadfastError) as refusal:
        use(folder)
    assert str(folder) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 900


@pytest.mark.parametrize("damage", ADAPTER)
def test_a_damaged_adapter_is_refused_in_a_sentence_that_names_its_folder(damage, sound_adapter, tmp_path):
    folder = shutil.copytree(sound_adapter, tmp_path / "adapter")
    ADAPTER[damage](folder)
    lm = make_lm()
    before = lm.state_dict()
    with pytest.raises(SteadfastError) as refusal, applied(lm, folder):
        pass
    assert str(folder) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert lm.state_dict().keys() == before.keys()


def test_an_adapter_of_a_larger_model_is_refused(sound_adapter):
    with pytest.raises(SteadfastError, match="does not fit this model"), applied(make_lm(layers=3), sound_adapter):
        pass


def test_code_that_comes_with_a_model_is_run_only_when_it_is_trusted(tiny_model_dir, tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    folder = shutil.copytree(tiny_model_dir, tmp_path / "model")
    (folder / "mine.py").write_text(
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        "class C(LlamaConfig):\n    model_type = 'mine'\n"
        "class M(LlamaForCausalLM):\n    config_class = C\n"
    )
    change_json(CONFIG, model_type="mine", auto_map={"AutoConfig": "mine.C", "AutoModelForCausalLM": "mine.M"})(folder)
    with pytest.raises(SteadfastError, match="--trust-remote-code"):
        load_model(str(folder), device="cpu")
    loaded = load_model(str(folder), device="cpu", trust_remote_code=True)
    assert type(loaded.lm).__name__ == "M"
    assert "mine.py" in loaded.identity.files
