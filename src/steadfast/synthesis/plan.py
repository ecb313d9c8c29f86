"""The plan has a slot for each scenario to be written. It depends on its arguments alone, not on what was written."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import get_args

from steadfast.tasks import Domain, Trait
from steadfast.tasks.task import Pressure, Split

TURNS = (1, 3, 5, 3, 1, 7)
"""The lengths of conversations in turns, dealt out in equal parts, so that two thirds have three to seven."""

PRESSURES: tuple[Pressure, ...] = get_args(Pressure)


@dataclass(frozen=True)
class Slot:
    """A place for one scenario.

    Attributes:
        id: The scenario's id, made of its cell, its split, the run's seed and its number.
        trait: The trait that the scenario asks for.
        domain: The domain that it is set in.
        pressure: The pressure that should push toward the bad answer.
        turns: The number of turns of user and assistant; the last one is the user's.
        split: The split that it is for.
        run_seed: The seed that the plan was made with.
    """

    id: str
    trait: Trait
    domain: Domain
    pressure: Pressure
    turns: int
    split: Split
    run_seed: int

    @property
    def cell(self) -> tuple[str, str]:
        """The ids of the trait and the domain."""
        return self.trait.id, self.domain.id

    def seed(self, *part: object) -> int:
        """Make a seed in [0, 2^31) for one part of the work on this slot."""
        digest = hashlib.sha256("/".join(map(str, (self.id, *part))).encode()).digest()
        return int.from_bytes(digest[:4]) >> 1


def plan(traits: Sequence[Trait], domains: Sequence[Domain], n: int, seed: int, split: Split) -> list[Slot]:
    """Make `n` slots and deal them to the cells of `traits` x `domains` in turn.

    A cell goes through all pressures before one comes back, and through all lengths in the same way, in an order drawn
    by the seed. A greater `n` adds slots and changes none.

    Args:
        traits: The traits to write for. They may ship or be a user's own.
        domains: The domains to set scenarios in. They too may ship or be a user's own.
        n: The number of scenarios.
        seed: The seed of pressures, lengths and the model's sampling; it is part of every id.
        split: The split that the scenarios are for.
    """
    cells = [(trait, domain) for trait in traits for domain in domains]
    return [_slot(*cells[i % len(cells)], i // len(cells), seed, split) for i in range(n)]


def _slot(trait: Trait, domain: Domain, place: int, seed: int, split: Split) -> Slot:
    random = Random(f"{seed}/{split}/{domain.id}/{trait.id}")
    pressures = random.sample(PRESSURES, len(PRESSURES))
    turns = random.sample(TURNS, len(TURNS))
    return Slot(
        id=f"{domain.id}-{trait.id}-{split[0]}{seed}-{place + 1:03d}",
        trait=trait,
        domain=domain,
        pressure=pressures[place % len(pressures)],
        turns=turns[place % len(turns)],
        split=split,
        run_seed=seed,
    )
