"""Documents of environments: what is read, and how their faults are told."""

import copy
from pathlib import Path

import pytest
import yaml

from steadfast.errors import DataError
from steadfast.tasks.environment_files import load_environment, load_environments
from tests.tasks.environments import RECORD, disk, record


def written(path: Path, content=RECORD, name="disk-01.yaml") -> Path:
    document = path / name
    text = content if isinstance(content, str) else yaml.safe_dump(copy.deepcopy(content), allow_unicode=True)
    document.write_text(text, encoding="utf-8")
    return document


def problems(path: Path) -> list[str]:
    with pytest.raises(DataError) as refused:
        load_environment(path)
    assert all(p.startswith(f"{path}:") and "\n" not in p for p in refused.value.problems)
    return [p.removeprefix(f"{path}:").lstrip() for p in refused.value.problems]


def test_a_document_is_read_as_it_is_written_with_or_without_a_byte_order_mark(tmp_path):
    assert load_environment(written(tmp_path)) == disk()
    assert load_environment(written(tmp_path, "\ufeff" + yaml.safe_dump(RECORD))) == disk()


def test_a_fault_of_a_rule_names_file_tool_rule_and_field(tmp_path):
    content = record()
    content["tools"][2]["rules"][0]["when"] = {"folder": "papers", "reason": "Old."}
    (fault,) = problems(written(tmp_path, content))
    assert fault.startswith(
        'tool delete: rule 1: when.folder: "papers" is not among the options "games", "contracts"; '
    )
    assert "rule 1: when.reason: a text is content" in fault


def test_a_wrong_field_is_told_with_the_tool_and_the_rule_it_stands_in(tmp_path):
    content = record(goal=[])
    content["tools"][1]["rules"][1]["return"] = "x"
    content["tools"][2]["parameters"]["folder"]["options"] = ["games", 2019]
    assert problems(written(tmp_path, content)) == [
        "tool archive: rule 2: return: Extra inputs are not permitted",
        "tool delete: parameters.folder.options: 2019 is not text to YAML; put it in quotes",
        "goal: Tuple should have at least 1 item after validation, not 0",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("id: a\nid: b\n", "2: id: is already on line 1; keep one of them"),
        ("id: [a", "2: not valid YAML: did not find expected ',' or ']'; text with signs of YAML"),
        ("2026-99-99: a", "not valid YAML: month must be in 1..12"),
        ("[" * 1_000_000, "not valid YAML: line 1: nested more than 100 deep"),
        ("- " * 1_000_000, "not valid YAML: line 1: nested more than 100 deep"),
        ("", "Input should be a valid dictionary"),
        ("- a", "Input should be a valid dictionary"),
    ],
)
def test_what_is_no_document_is_refused_in_a_sentence(tmp_path, text, fault):
    assert problems(written(tmp_path, text))[0].startswith(fault)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    assert problems(tmp_path / "none.yaml") == ["no such file"]
    (tmp_path / "latin.yaml").write_bytes(b"id: \xe9")
    assert problems(tmp_path / "latin.yaml")[0].startswith("not UTF-8 text")


def test_a_directory_is_read_in_the_order_of_its_file_names_and_every_fault_of_it_is_told(tmp_path):
    for name in ("b", "a"):
        written(tmp_path, record(id=name), f"{name}.yaml")
    assert [e.id for e in load_environments(tmp_path)] == ["a", "b"]
    written(tmp_path, record(id="a"), "c.yaml")
    written(tmp_path, record(goal=["peace"]), "d.yaml")
    with pytest.raises(DataError) as refused:
        load_environments(tmp_path)
    twice, unknown = refused.value.problems
    assert "c.yaml: id: 'a' is already the id of another document" in twice
    assert "d.yaml: no rule adds peace" in unknown


def test_a_directory_without_documents_is_refused(tmp_path):
    with pytest.raises(DataError, match="no environments; each is a document named"):
        load_environments(tmp_path)
