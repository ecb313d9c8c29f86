"""The texts that a probed run reads: gold replies by trait, right and wrong answers to twins, and plain sentences."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

import polars as pl

from steadfast.errors import ChatTemplateError, SteadfastError
from steadfast.evals.mismatched import GREETING
from steadfast.evals.rows import PLAIN
from steadfast.messages import Message
from steadfast.models.activations import Text
from steadfast.models.chat import ChatTemplate
from steadfast.probing.directions import half_of
from steadfast.strict_files import read_yaml
from steadfast.study.data import StudyData
from steadfast.tasks import Task

TWINS_SET = "twins"
"""The name of the set of right and wrong answers to the run's twins. Both twins exchange their answers, so the words of
good and bad are the same over a pair, and nothing but their fit to the conversation tells them apart."""

FEWEST_PAIRS = 3
"""A trait with fewer pairs in a half has no direction of its own; it counts in that of all traits."""


@dataclass(frozen=True)
class Pair:
    """A good and a bad reply to one conversation.

    Attributes:
        set: The trait, or `TWINS_SET`.
        id: The id of its task.
        unit: Its cluster: the id of its task, or the first id of twins.
        good: The good reply's tokens, after those of the conversation.
        bad: The bad reply's.
    """

    set: str
    id: str
    unit: str
    good: Text
    bad: Text


def gold_pairs(data: StudyData, chat: ChatTemplate, most: int | None, note: Callable[[str], None]) -> list[Pair]:
    """Make the pairs of gold replies of the recipe's scenarios, by trait.

    Args:
        data: The recipe's data.
        chat: The model's chat template.
        most: How many of each trait at most, the first by a hash; None for all.
        note: It is told of scenarios that the model cannot be shown.

    Raises:
        SteadfastError: No scenario has gold replies that can be shown.
    """
    found: list[Pair] = []
    counts: Counter[str] = Counter()
    for task in _by_hash([t for t in data.scenarios if t.references.good and t.references.bad]):
        if task.trait and (most is None or counts[task.trait] < most):
            replies = (task.references.good[0], task.references.bad[0])
            made = _pairs(chat, task.trait, task, task.id, task.messages, replies, note)
            counts[task.trait] += len(made)
            found += made
    found.sort(key=lambda pair: pair.set)
    if len(found) < 2 * FEWEST_PAIRS or len({half_of(p.unit) for p in found}) < 2:
        raise SteadfastError(
            f"{len(found)} of the recipe's scenarios have a good and a bad gold reply that the model can be shown, and "
            f"a direction needs {FEWEST_PAIRS} in each half; name a file of them in the recipe's data.gold"
        )
    return found


def twin_pairs(data: StudyData, chat: ChatTemplate, most: int, note: Callable[[str], None]) -> list[Pair]:
    """Make the pairs of right and wrong answers to `most` pairs of the run's twins; none if it measures none."""
    twins = _by_hash([t for suite in data.ladder for t in suite.tasks if _is_checked(t)])
    units = list(dict.fromkeys(first_of_twins(t) for t in twins))[:most]
    found: list[Pair] = []
    for task in twins:
        if first_of_twins(task) in units:
            replies = (str(task.grader.args["right"]), str(task.grader.args["wrong"]))  # type: ignore[union-attr]
            found += _pairs(chat, TWINS_SET, task, first_of_twins(task), task.messages, replies, note)
    return found


def steered_twins(data: StudyData, count: int) -> list[Task]:
    """Choose the twins that the cause is tried on: whole pairs of the half that made no direction."""
    twins = _by_hash([t for suite in data.ladder for t in suite.tasks if _is_checked(t)])
    units = [u for u in dict.fromkeys(first_of_twins(t) for t in twins) if half_of(u) == "try"]
    kept = set(units[:count])
    return [t for t in twins if first_of_twins(t) in kept]


def sentiment_pairs(chat: ChatTemplate) -> list[Pair]:
    """Make pairs of plain positive and negative sentences, each said in answer to a greeting."""
    prompt = chat.encode(GREETING)
    found: list[Pair] = []
    for number, said in enumerate(_data("sentiment")):
        positive, negative = (chat.encode_reply(said[key]) for key in ("positive", "negative"))
        name = f"sentiment-{number}"
        found.append(Pair("sentiment", name, name, (prompt, positive), (prompt, negative)))
    return found


def neutral_texts() -> tuple[str, ...]:
    """Return plain texts on no matter of conduct."""
    return tuple(_data("neutral"))


def open_questions() -> list[tuple[Message, ...]]:
    """Return harmless questions that call for some sentences."""
    return [(Message(role="user", content=text),) for text in _data("open_questions")]


def own_answers(
    data: StudyData, results: pl.DataFrame, chat: ChatTemplate, name: str, seed: int | None, count: int
) -> list[tuple[str, Text]]:
    """Return a checkpoint's own answers from the run's results, each with its task.

    Args:
        data: The recipe's data.
        results: The rows of one checkpoint's attack and dose, or of all that were not attacked.
        chat: The model's chat template.
        name: The checkpoint's name.
        seed: Its training seed.
        count: How many tasks are looked at; those without an answer are left out.
    """
    tasks = {
        t.id: t for p in data.parts() for t in p.answered if t.environment is None and p.suite.kind != "capability"
    }
    of = results.filter(
        (pl.col("checkpoint") == name)
        & pl.col("seed").eq_missing(pl.lit(seed, dtype=pl.Int64))
        & (pl.col("condition") == PLAIN)
        & pl.col("answer").is_not_null()
    )
    answers: dict[str, str] = dict(of.select("task", "answer").iter_rows())
    found: list[tuple[str, Text]] = []
    for task in _by_hash(list(tasks.values()))[:count]:
        said = answers.get(task.id, "").strip()
        try:
            reply = chat.encode_reply(said) if said else []
            if reply:
                found.append((task.id, (chat.encode(task.messages, max_new_tokens=len(reply)), reply)))
        except ChatTemplateError:
            continue
    return found


def first_of_twins(task: Task) -> str:
    """Return the cluster of a task: its id, or the first id of twins."""
    return min(task.id, task.pair or task.id)


def _is_checked(task: Task) -> bool:
    grader = task.grader
    return grader.kind == "program" and {"right", "wrong"} <= set(grader.args) and task.pair is not None


def _by_hash(tasks: Sequence[Task]) -> list[Task]:
    """Order tasks by their twins' hash, so that a few of them are of all kinds, and the same in every run."""
    return sorted(tasks, key=lambda t: (sha256(first_of_twins(t).encode()).digest(), t.id))


def _pairs(
    chat: ChatTemplate,
    name: str,
    task: Task,
    unit: str,
    messages: Sequence[Message],
    replies: tuple[str, str],
    note: Callable[[str], None],
) -> list[Pair]:
    try:
        good, bad = (chat.encode_reply(r) for r in replies)
        prompt = chat.encode(messages, max_new_tokens=max(len(good), len(bad)))
    except ChatTemplateError as error:
        note(f"{task.id} is left out: {error}")
        return []
    return [Pair(name, task.id, unit, (prompt, good), (prompt, bad))]


@cache
def _data(name: str) -> list[Any]:
    return read_yaml(Path(str(files("steadfast.probing") / "data" / f"{name}.yaml")))
