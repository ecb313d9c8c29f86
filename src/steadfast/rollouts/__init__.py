"""Rollouts hold what a model does with tasks, in one turn or many.

The driver and the samplers, which load models, are imported when they are asked for.
"""

from typing import TYPE_CHECKING, Any

from steadfast.rollouts.rollout import Rollout, Segment

if TYPE_CHECKING:
    from steadfast.rollouts.driver import drive

__all__ = ["Rollout", "Segment", "drive"]


def __getattr__(name: str) -> Any:
    if name == "drive":
        from steadfast.rollouts.driver import drive

        return drive
    raise AttributeError(name)
