"""Recipes, arms, and running them in a directory that can be resumed."""

from steadfast.study.arms import PRE_RL, Arm, shipped_arms
from steadfast.study.recipe import Recipe, demo_recipe, load_recipe
from steadfast.study.running import run_recipe

__all__ = ["PRE_RL", "Arm", "Recipe", "demo_recipe", "load_recipe", "run_recipe", "shipped_arms"]
