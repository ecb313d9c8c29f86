"""Two sessions can tell whether they used the same model, and which file changed if not."""

import json
import shutil
from datetime import date

import pytest

from steadfast.models import load_model
from steadfast.models.identity import hash_file, identify, snapshot_files
from steadfast.models.pretrained import hash_weights


@pytest.fixture
def folder(tiny_model_dir, tmp_path):
    return shutil.copytree(tiny_model_dir, tmp_path / "model")


def changed_files(before, now):
    return {name for name, _ in before.files.items() ^ now.files.items()}


def edit(file):
    file.write_text(file.read_text() + " ")


@pytest.mark.parametrize(
    "name",
    ["chat_template.jinja", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"],
)
def test_a_file_that_was_edited_between_two_sessions_is_named(folder, name):
    before = load_model(str(folder), device="cpu").identity
    edit(folder / name)
    now = load_model(str(folder), device="cpu").identity
    assert changed_files(before, now) == {name}
    assert now.combined != before.combined
    assert load_model(str(folder), device="cpu").identity == now


def test_new_and_lost_files_and_code_change_it(folder):
    before = identify(folder)
    (folder / "code").mkdir()
    (folder / "code" / "modeling.py").write_text("x = 1")
    (folder / "chat_template.jinja").unlink()
    assert changed_files(before, identify(folder)) == {"chat_template.jinja", "code/modeling.py"}


def test_what_nobody_loads_is_no_part_of_it(folder):
    before = identify(folder)
    for name in ("README.md", "optimizer.pt", "trainer_state.json", ".cache"):
        (folder / name).write_text("x")
    assert identify(folder) == before


def test_it_is_written_as_plain_data(folder):
    identity = load_model(str(folder), device="cpu", chat_template_kwargs={"enable_thinking": False}).identity
    written = json.loads(json.dumps(identity.as_dict()))
    assert written["files"] == identity.files
    assert written["rendering"] == {"chat_template_kwargs": {"enable_thinking": False}}
    assert written["combined"] == identity.combined


def test_a_date_in_the_template_and_its_arguments_are_part_of_it(folder):
    template = folder / "chat_template.jinja"
    template.write_text("{{ strftime_now('%Y') }}" + template.read_text())
    one = load_model(str(folder), device="cpu", today=date(2024, 1, 1)).identity
    other = load_model(str(folder), device="cpu", today=date(2025, 1, 1), chat_template_kwargs={"x": 1}).identity
    assert one.rendering == {"date": "2024-01-01"}
    assert other.rendering == {"date": "2025-01-01", "chat_template_kwargs": {"x": 1}}
    assert other.files == one.files
    assert other.combined != one.combined


def test_each_file_is_read_once_a_process_unless_it_changes(folder, monkeypatch):
    reads = []
    digest = __import__("hashlib").file_digest
    monkeypatch.setattr("hashlib.file_digest", lambda stream, kind: reads.append(stream.name) or digest(stream, kind))
    for _ in range(3):
        identify(folder)
        hash_weights(folder)
    assert len(reads) == len(snapshot_files(folder))
    edit(folder / "config.json")
    assert hash_file(folder / "config.json") != identify(folder).files["tokenizer.json"]
    assert len(reads) == len(snapshot_files(folder)) + 1
