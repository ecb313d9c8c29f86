"""Items drawn from suites: pairs where tasks come in pairs, and single tasks elsewhere."""

from collections.abc import Sequence
from random import Random

from steadfast.tasks.suite import Suite, suite_or_family
from steadfast.tasks.task import Task
from steadfast.tasks.traits import Taxonomy
from steadfast.tasks.twins import FORMATS, PAIRS_PER_CELL, Family, pairs_at

Item = tuple[Task, ...]
"""A task, or the two of a pair."""


def draw_items(names: Sequence[str], count: int, seed: int, taxonomy: Taxonomy | None = None) -> list[Item]:
    """Draw items of several suites with a seed, without replacement.

    It is drawn before anything is made: of a family only the cells that the drawn pairs lie in.

    Args:
        names: The suites, as `find_suite` takes them.
        count: The number of items; all, in a random order, where there are fewer.
        seed: The seed of the draw.
        taxonomy: The traits and domains that tasks may name; None means those that ship.

    Raises:
        DataError: There is no such suite, or it is faulty.
    """
    sources = [_items(suite_or_family(name, taxonomy)[0]) for name in names]
    where = [(which, place) for which, source in enumerate(sources) for place in range(_size(source))]
    drawn = Random(seed).sample(where, min(count, len(where)))
    made: dict[tuple[int, int], Item] = {}
    for which, source in enumerate(sources):
        places = [place for of, place in drawn if of == which]
        items = pairs_at(source, places) if isinstance(source, Family) else [source[place] for place in places]
        made |= {(which, place): item for place, item in zip(places, items, strict=True)}
    return [made[each] for each in drawn]


def _items(found: Suite | Family) -> Family | list[Item]:
    if isinstance(found, Family):
        return found
    by_id = {t.id: t for t in found.tasks}
    return [(t, by_id[t.pair]) if t.pair else (t,) for t in found.tasks if t.pair is None or t.id < t.pair]


def _size(source: Family | list[Item]) -> int:
    return len(source.domains) * len(FORMATS) * PAIRS_PER_CELL if isinstance(source, Family) else len(source)
