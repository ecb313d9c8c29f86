"""Files that something went wrong with: no traceback, no bug, and every message names the file."""

import json
import random
from copy import deepcopy

import pytest
import yaml
from typer.testing import CliRunner

from steadfast.cli import app
from tests.tasks.examples import record

WEIRD = [
    None, True, 0, -1, 1e308, 10**400, "", " ", "\u200b", "x" * 5000, "\x00", "\x1b[31m", "[bold]x[/nope]", "\u202e",
    [], {}, [[]], [None], {"a": {"b": []}}, "醋", "../../etc/passwd", "a:b", "://", {"kind": "nope"}, "null", "1e5",
]  # fmt: skip
SEEDS = range(40)


def places(value, path=()):
    """The path of everything inside a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        yield (*path, key)
        yield from places(child, (*path, key))


def mutated(value, dice):
    """The value with a few of its parts replaced, taken out or renamed."""
    value = json.loads(json.dumps(value))
    for _ in range(dice.randint(1, 3)):
        *outer, last = dice.choice(list(places(value)) or [(None,)])
        if last is None:
            break
        holder = value
        for key in outer:
            holder = holder[key]
        match dice.choice(["replace", "replace", "take out", "rename"]):
            case "replace":
                holder[last] = deepcopy(dice.choice(WEIRD))
            case "take out":
                del holder[last]
            case "rename" if isinstance(holder, dict):
                holder[f"{last}s"] = holder.pop(last)
    return value


def damaged(text, dice):
    """The text's bytes, cut off or with a few of them changed, more often than not as they were."""
    content = bytearray(text.encode())
    match dice.choice(["whole", "whole", "whole", "cut", "flipped", "marked"]):
        case "cut":
            content = content[: dice.randrange(len(content))]
        case "flipped":
            for _ in range(3):
                content[dice.randrange(len(content))] = dice.randrange(256)
        case "marked":
            content = b"\xef\xbb\xbf" + content
    return bytes(content)


def call(names, *args):
    """Run a command on files of which one or more are damaged; it succeeds, or names one of them."""
    result = CliRunner().invoke(app, [str(a) for a in args])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert "Traceback" not in result.output
    assert "this is a bug" not in result.output
    assert result.exit_code in (0, 2)
    if result.exit_code == 2:
        assert any(str(name) in result.output for name in names), result.output
    assert not {"\x1b", "\x9b", "\u202e"} & set(result.output)


@pytest.mark.parametrize("seed", SEEDS)
def test_scenarios_answers_and_gold(tmp_path, seed):
    dice = random.Random(seed)
    scenarios, answers, gold = (tmp_path / f"{name}.jsonl" for name in ("scenarios", "answers", "gold"))
    rows = [record(name) for name in "ab"]
    rows += [{"id": "c", "messages": rows[0]["messages"], "good": ["No."], "bad": ["Yes."]}]
    rows += [{"prompt_id": "d", "prompt": "Is it?", "rubrics": [{"criterion": "Asks", "points": 6, "tags": ["t"]}]}]
    told = [{"scenario": n, "answer": f"It is unsafe, {n}."} for n in "abd"]
    pairs = [{"scenario": n, "good": "It is unsafe.", "bad": "It is fine."} for n in "abd"]
    for file, lines in ((scenarios, rows), (answers, told), (gold, pairs)):
        chosen = [mutated(line, dice) if dice.random() < 0.4 else line for line in lines]
        file.write_bytes(damaged("".join(json.dumps(line) + "\n" for line in chosen), dice))
    judge = ("--judge", "tests.cli.judges:HalfJudge")
    call([scenarios], "check", scenarios)
    call([scenarios, answers], "grade", "--scenarios", scenarios, "--answers", answers, *judge)
    call([scenarios, gold], "judges", "exam", "--scenarios", scenarios, "--gold", gold, *judge)


@pytest.mark.parametrize("seed", SEEDS)
def test_yaml_of_suites_traits_and_judges(tmp_path, seed):
    dice = random.Random(seed)
    contents = {
        "suite": {"name": "s", "construct": "c", "kind": "eval", "tasks": [record("a"), record("b")]},
        "traits": {"kindness": "Is kind.", "patience": {"definition": "Waits.", "starred": True}},
        "judge": {"kind": "custom", "path": "tests.cli.judges:HalfJudge", "args": {}},
    }
    files = {name: tmp_path / f"{name}.yaml" for name in contents}
    for name, file in files.items():
        content = mutated(contents[name], dice) if dice.random() < 0.6 else contents[name]
        file.write_bytes(damaged(yaml.safe_dump(content, allow_unicode=True), dice))
    call(files.values(), "check", files["suite"], "--traits", files["traits"], "--judge", files["judge"])


@pytest.mark.parametrize("seed", SEEDS)
def test_recipes(tmp_path, seed, monkeypatch):
    monkeypatch.setattr("steadfast.study.run_recipe", stopped)
    dice = random.Random(seed)
    recipe = {
        "name": "r",
        "seed": 3,
        "arms": ["baseline", {"name": "own", "suites": ["scenarios"], "pool": "trait"}],
        "judge": {"kind": "embedded"},
        "model": {"name": "./tiny", "dtype": "float32", "chat_template_kwargs": {"x": 1}},
        "training": {"steps": 3, "learning_rate": 0.1, "adapter": {"rank": 2}},
        "evaluation": {"evals": ["oversight-log"], "judge": "embedded-plain", "public_limit": 2},
    }
    file = tmp_path / "recipe.yaml"
    file.write_bytes(damaged(yaml.safe_dump(mutated(recipe, dice), allow_unicode=True), dice))
    call([file], "run", file)


def stopped(*args):
    """A recipe that can be read is not run here."""
    raise SystemExit(0)
