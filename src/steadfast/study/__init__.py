"""Recipes, arms, and running them in a directory that can be resumed."""

from steadfast.study.arms import ARMS, PRE_RL, Arm
from steadfast.study.recipe import Recipe, demo_recipe, load_recipe
from steadfast.study.run import run_recipe

__all__ = ["ARMS", "PRE_RL", "Arm", "Recipe", "demo_recipe", "load_recipe", "run_recipe"]
