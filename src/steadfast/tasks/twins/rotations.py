"""Which families are held out of training: fixed before any run, and rotated, so that each is held out once."""

from functools import cache
from importlib.resources import files
from pathlib import Path

from steadfast.strict_files import read_yaml
from steadfast.tasks.twins.family import shipped_families


@cache
def rotations() -> dict[str, tuple[str, ...]]:
    """The families that each rotation holds out, by its name."""
    content = read_yaml(Path(str(files("steadfast.tasks") / "data" / "rotations.yaml")))
    return {name: tuple(families) for name, families in content.items()}


def trained_families(rotation: str) -> tuple[str, ...]:
    """Return the families that ship and are not held out in a rotation.

    Raises:
        KeyError: There is no such rotation.
    """
    held_out = rotations()[rotation]
    return tuple(name for name in shipped_families() if name not in held_out)
