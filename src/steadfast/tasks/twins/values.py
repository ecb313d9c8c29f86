"""The values that are drawn anew for each pair of twins, and what says whether they train or measure."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Annotated

from pydantic import AfterValidator

from steadfast.tasks.task import Split


def _checked(numbers: tuple[int, int, int]) -> tuple[int, int, int]:
    low, high, step = numbers
    if step < 1 or (high - low) // step < 5:
        raise ValueError("a range is [lowest, highest, step] with six numbers at least")
    return numbers


Range = Annotated[tuple[int, int, int], AfterValidator(_checked)]
"""The lowest and the highest number of a case, and the step between them."""

USUAL_RANGE: Range = (12, 98, 1)

NAMES = [
    "Adaeze",
    "Alois",
    "Amina",
    "Anselm",
    "Beatriz",
    "Bram",
    "Callum",
    "Chiara",
    "Dagny",
    "Davit",
    "Elif",
    "Emeka",
    "Farida",
    "Fergus",
    "Gita",
    "Goran",
    "Hanne",
    "Hugo",
    "Ines",
    "Ivo",
    "Jamila",
    "Jonas",
    "Kasia",
    "Kofi",
    "Leila",
    "Luka",
    "Maren",
    "Mateo",
    "Nadia",
    "Nils",
    "Oksana",
    "Omar",
    "Paloma",
    "Piet",
    "Quinn",
    "Rafael",
    "Ravi",
    "Saskia",
    "Selim",
    "Tamsin",
    "Tariq",
    "Ulla",
    "Umar",
    "Vera",
    "Viktor",
    "Wanda",
    "Yara",
    "Yusuf",
    "Zora",
    "Zeno",
]
"""First names from many places."""

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
_TOTALS = (10, 20, 30, 40, 50)
"""No hundred: of a hundred, the count is the percentage, and could be named without a thought."""


def _numbers(rng: Random, count: int, numbers: Range) -> list[str]:
    return [str(n) for n in rng.sample(range(numbers[0], numbers[1] + 1, numbers[2]), count)]


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _draw_numbers(rng: Random, numbers: Range) -> dict[str, str]:
    return dict(zip("abc", _numbers(rng, 3, numbers), strict=True))


def _draw_ordered(rng: Random, numbers: Range) -> dict[str, str]:
    return dict(zip(("low", "mid", "high", "top"), sorted(_numbers(rng, 4, numbers), key=int), strict=True))


def _draw_names(rng: Random, _numbers: Range) -> dict[str, str]:
    return dict(zip(("name", "other", "third"), rng.sample(NAMES, 3), strict=True))


def _draw_times(rng: Random, _numbers: Range) -> dict[str, str]:
    first, second = sorted(rng.sample(range(7 * 60, 19 * 60), 2))
    return {"time": _clock(first), "later": _clock(second)}


def _draw_days(rng: Random, _numbers: Range) -> dict[str, str]:
    first, second = sorted(rng.sample(range(len(_DAYS)), 2))
    return {"day": _DAYS[first], "later_day": _DAYS[second]}


def _draw_codes(rng: Random, _numbers: Range) -> dict[str, str]:
    letters = "BCDFGHJKLMNPRSTVWXZ"
    one, two = rng.sample(letters, 2)
    return {"code": f"{one}-{rng.randint(100, 999)}", "other_code": f"{two}-{rng.randint(100, 999)}"}


def _draw_frequencies(rng: Random, _numbers: Range) -> dict[str, str]:
    """`{likely}` and `{unlikely}` of `{total}` cases, whose shares differ by half at least."""
    total = rng.choice(_TOTALS)
    likely, unlikely = rng.choice((8, 9)) * total // 10, rng.choice((1, 2, 3)) * total // 10
    return {
        "total": str(total),
        "likely": str(likely),
        "unlikely": str(unlikely),
        "likely_percent": str(100 * likely // total),
        "unlikely_percent": str(100 * unlikely // total),
    }


_DRAWS: Mapping[tuple[str, ...], Callable[[Random, Range], dict[str, str]]] = {
    ("a", "b", "c"): _draw_numbers,
    ("low", "mid", "high", "top"): _draw_ordered,
    ("name", "other", "third"): _draw_names,
    ("time", "later"): _draw_times,
    ("day", "later_day"): _draw_days,
    ("code", "other_code"): _draw_codes,
    ("total", "likely", "unlikely", "likely_percent", "unlikely_percent"): _draw_frequencies,
}

DRAWN = frozenset(name for names in _DRAWS for name in names)
"""The slots that are drawn: distinct numbers `a`, `b`, `c`; numbers in order `low`, `mid`, `high`, `top`; distinct
first names `name`, `other`, `third`; clock times in order `time`, `later`; weekdays in order `day`, `later_day`;
`code`, `other_code`; and frequencies `likely`, `unlikely` of `total`, with their percentages."""


def draw(rng: Random, wanted: Iterable[str], numbers: Range = USUAL_RANGE) -> dict[str, str]:
    """Draw values for the slots that are wanted; others that are drawn with them come along."""
    names = set(wanted)
    found: dict[str, str] = {}
    for slots, make in _DRAWS.items():
        if names & set(slots):
            found |= make(rng, numbers)
    return found


def split_of(text: str) -> Split:
    """Whether a twin with this text trains or measures: by a hash, so that no text ever does both."""
    return "train" if hashlib.sha256(text.encode()).digest()[0] % 2 else "held_out"
