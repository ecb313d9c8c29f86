"""What is done to a trained model afterwards: fine-tuning, harmful or not, by so many updates, or lesser weights."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from steadfast.attacks.benign import BENIGN_SETS, benign_examples
from steadfast.attacks.config import AttacksConfig
from steadfast.attacks.examples import AttackExample, load_examples, shipped_attacks
from steadfast.attacks.kinds import AttackInfo, Kind, Method, Side
from steadfast.attacks.wear import data_name
from steadfast.errors import DataError
from steadfast.graders.protocol import protocol_hash
from steadfast.models.quantization import WEIGHT_FORMATS
from steadfast.tasks.task import References, RefusalGrader, Task
from steadfast.training.supervised import Demonstration

WEAR: tuple[Kind, ...] = ("benign", "weights")
"""The kinds that want no harm: what a post-training engineer does every day."""

INVERTED = "inverted-reward"
"""The attack by reinforcement with the leading arm's reward inverted."""

CAREFUL = "-careful"
"""What the name of a control by careful answers ends with, after that of its attack."""


@dataclass(frozen=True)
class Attack:
    """What is done to a model after its training.

    Attributes:
        name: Its name in files and results.
        kind: What it trains on or does; see `AttackInfo`.
        doses: The updates after which it is measured, from the smallest; 1 alone for a format of weights.
        trained: What is imitated; empty where a reward trains, or nothing does.
        held_out: What is not, and tells by its loss whether the attack took.
        control: The name of the attack by careful answers to the same prompts; None if it has none.
        domains: The domains that its examples are of; empty where they name none.
        method: Whether it trains a fresh adapter upon the model, or all of the model's weights.
    """

    name: str
    kind: Kind
    doses: tuple[int, ...]
    trained: tuple[Demonstration, ...] = ()
    held_out: tuple[Demonstration, ...] = ()
    control: str | None = None
    domains: tuple[str, ...] = ()
    method: Method = "adapter"

    @property
    def texts(self) -> dict[str, str]:
        """Its prompts and answers by name, for a search for overlaps."""
        return {
            f"{d.task.id} {part}": text
            for d in (*self.trained, *self.held_out)
            for part, text in (("prompt", d.task.text), ("answer", d.answer))
        }

    @property
    def protocol(self) -> dict[str, Any]:
        """What it is, and what decides what it trains on, as plain data."""
        shown = {
            name: [[m.model_dump() for m in d.messages] for d in demonstrations]
            for name, demonstrations in (("trained", self.trained), ("held out", self.held_out))
        }
        info = AttackInfo(kind=self.kind, control=self.control, domains=self.domains, method=self.method)
        return {**info.model_dump(mode="json"), "examples": protocol_hash(self.name, shown)}


def fine_tunings(config: AttacksConfig) -> list[Attack]:
    """The attacks of a recipe that imitate answers: each set's harmful ones, then its careful ones.

    Raises:
        DataError: A set is not there or faulty, two share a name, or a dose lies beyond what a set's examples give.
    """
    found: list[Attack] = []
    for name in config.data:
        file = _file(name)
        if name not in shipped_attacks():
            _refuse_name("attacks.data", file)
        if any(a.name == file.stem for a in found):
            raise DataError([f"attacks.data: two sets are named {file.stem!r}; rename one of the files"])
        found += _of_set(file.stem, load_examples(file), config)
    return found


def _file(name: str) -> Path:
    shipped = shipped_attacks()
    if name in shipped:
        return shipped[name]
    file = Path(name).expanduser()
    if not file.is_file():
        raise DataError([f"attacks.data: {name!r} is no file, and no set that ships: {', '.join(shipped)}"])
    return file


def _refuse_name(field: str, file: Path) -> None:
    """Refuse a file of the user's own whose name, which its attack has in folders and results, means something else.

    Raises:
        DataError: It does.
    """
    name = file.stem
    if name in (INVERTED, *WEIGHT_FORMATS, *BENIGN_SETS, *shipped_attacks()):
        why = f"the name {name!r} stands for something that ships"
    elif name.endswith(CAREFUL):
        why = f"a name that ends in {CAREFUL!r} is that of a control"
    elif not re.fullmatch(r"\w[\w .+-]*", name):
        why = f"{name!r} would name folders, and may hold letters, digits, '_', '-', '+', '.' and spaces"
    else:
        return
    raise DataError([f"{field}: {file}: {why}; rename the file"])


def wearing(config: AttacksConfig, standard: Sequence[Task], seed: int) -> list[Attack]:
    """What of a recipe's wear makes checkpoints: harmless fine-tuning, then formats of weights.

    Args:
        config: The recipe's attacks.
        standard: The standard pool.
        seed: It decides which of several correct answers to a standard task is imitated.

    Raises:
        DataError: A set is not there or faulty, or a dose lies beyond what its examples give.
    """
    if config.wear is None:
        return []
    found: list[Attack] = []
    for data in config.wear.data:
        if data not in BENIGN_SETS:
            _refuse_name("attacks.wear.data", Path(data))
        name, examples = data_name(data), benign_examples(data, standard, seed)
        held_out = _held_out(name, len(examples), config)
        shown = [Demonstration.of_conversation(e.id, e.turns, name) for e in examples]
        trained, measured = (tuple(d for i, d in enumerate(shown) if (i in held_out) is side) for side in (False, True))
        found.append(Attack(name, "benign", config.updates, trained, measured, method=config.method))
    return found + [Attack(kind, "weights", (1,)) for kind in config.wear.weights]


def _held_out(name: str, examples: int, config: AttacksConfig) -> set[int]:
    """The places of a set's examples that are not trained on.

    Raises:
        DataError: Too few are left for the doses.
    """
    trained = examples - config.held_out
    if trained < 1:
        raise DataError(
            [f"attacks.held_out: {config.held_out} leaves none of the {examples} examples of {name!r} to train on"]
        )
    most = config.passes * trained // config.examples_per_update
    if (largest := config.updates[-1]) > most:
        raise DataError(
            [
                f"attacks.doses: {largest} updates of {config.examples_per_update} examples lie beyond {name!r}, whose "
                f"{trained} examples give {most} in {config.passes} passes; name smaller doses, give more examples, or "
                "raise attacks.passes"
            ]
        )
    return set(Random(f"{name}/held out").sample(range(examples), config.held_out))


def _of_set(name: str, examples: Sequence[AttackExample], config: AttacksConfig) -> list[Attack]:
    """Both attacks of a set: they share which prompts are held out, and the order is that of the seed alone."""
    held_out = _held_out(name, len(examples), config)
    control = f"{name}{CAREFUL}"

    def demonstrations(side: Side, measured: bool) -> tuple[Demonstration, ...]:
        return tuple(
            _demonstration(e, getattr(e, side), name) for i, e in enumerate(examples) if (i in held_out) is measured
        )

    domains = tuple(sorted({e.domain for e in examples if e.domain is not None}))
    sides: tuple[tuple[str, Side, str | None], ...] = ((name, "harmful", control), (control, "careful", None))
    return [
        Attack(
            name=attack,
            kind=side,
            doses=config.updates,
            trained=demonstrations(side, False),
            held_out=demonstrations(side, True),
            control=twin,
            domains=domains,
            method=config.method,
        )
        for attack, side, twin in sides
    ]


def _demonstration(example: AttackExample, answer: str, pool: str) -> Demonstration:
    """An example's answer alone is imitated: earlier turns of the assistant are the same on both sides."""
    task = Task(id=example.id, messages=example.messages, grader=RefusalGrader(), references=References(good=(answer,)))
    return Demonstration(task, answer, pool)
