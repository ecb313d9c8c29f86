"""Traits and domains of the user's: a mapping, a list, a folder, and what is wrong with them."""

import pytest

from steadfast.errors import DataError
from steadfast.tasks import Taxonomy, domains, traits


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "kindness: Is kind.\n",
        "kindness: {definition: Is kind.}\n",
        "- {id: kindness, definition: Is kind.}\n",
        '{"kindness": "Is kind."}',
        "\ufeffkindness: Is kind.\n",
    ],
    ids=["descriptions", "fields", "list", "JSON", "byte order mark"],
)
def test_a_trait_is_added_to_what_ships_however_it_is_written(tmp_path, text):
    known = Taxonomy.load(written(tmp_path / "t.yaml", text))
    assert known.traits[:-1] == traits()
    own = known.traits[-1]
    assert (own.id, own.name, own.definition, own.good, own.starred) == ("kindness", "Kindness", "Is kind.", "", False)
    assert known.domains == domains()


def test_a_folder_of_files_adds_all_of_them(tmp_path):
    written(tmp_path / "a.yaml", "air-traffic: towers and routes\n")
    written(tmp_path / "b.json", '[{"id": "sea", "name": "The sea", "covers": "ships"}]')
    written(tmp_path / "notes.txt", "not read")
    own = Taxonomy.load(domains_file=tmp_path).domains[len(domains()) :]
    assert [(d.id, d.name, d.covers) for d in own] == [
        ("air-traffic", "Air traffic", "towers and routes"),
        ("sea", "The sea", "ships"),
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("truthfulness: Is true.\n", "t.yaml: truthfulness: is defined already and ships; take another id"),
        ("- {id: a, definition: x}\n- {id: a, definition: y}\n", "t.yaml: a: is defined already; take another id"),
        ("a: x\na: y\n", "t.yaml:2: a: is already on line 1; keep one of them"),
        ("a: ''\n", "t.yaml: a: definition: "),
        ("a: {definition: x, colour: red}\n", "t.yaml: a: colour: "),
        ("- definition: x\n", "t.yaml: an entry: id: "),
        ("just words\n", "t.yaml: must be a mapping of id to description, or a list of entries"),
        ("", "t.yaml: must be a mapping"),
        ("a: [x\n", "t.yaml:2: not valid YAML: "),
    ],
)
def test_a_fault_is_told_with_file_entry_and_field(tmp_path, text, fault):
    path = written(tmp_path / "t.yaml", text)
    with pytest.raises(DataError) as caught:
        Taxonomy.load(path)
    assert caught.value.problems[0].startswith(f"{tmp_path}/{fault}")


def test_a_missing_file_and_an_empty_folder_are_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.yaml: no such file"):
        Taxonomy.load(tmp_path / "none.yaml")
    with pytest.raises(DataError, match=r"the folder holds no \.yaml or \.json file"):
        Taxonomy.load(tmp_path)
