"""Recipes, arms, and running them in a directory that can be resumed.

What loads torch, such as running a recipe, is imported when it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from steadfast.study.arms import PRE_RL, Arm, shipped_arms

if TYPE_CHECKING:
    from steadfast.study.recipe import Recipe, demo_recipe, load_recipe
    from steadfast.study.running import run_recipe

__all__ = ["PRE_RL", "Arm", "Recipe", "demo_recipe", "load_recipe", "run_recipe", "shipped_arms"]

_MODULES = {"recipe": ("Recipe", "demo_recipe", "load_recipe"), "running": ("run_recipe",)}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"steadfast.study.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
