"""Everything a run is trained and measured on, checked before any long work begins."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from random import Random
from typing import TypeVar

import yaml
from pydantic import TypeAdapter

from steadfast.errors import DataError, RecipeError
from steadfast.evals.run import Measurement
from steadfast.graders.grade import Judge
from steadfast.study.arms import ARMS, Arm
from steadfast.study.recipe import Recipe
from steadfast.tasks import Scenario, built_in_gold, built_in_scenarios, load_scenarios, prove_disjoint
from steadfast.tasks.battery import Eval, EvalItem, battery, select
from steadfast.tasks.programs import TaskItem, held_out_items, standard_items
from steadfast.tasks.scenario import Criterion
from steadfast.training.mixture import build_mixture
from steadfast.training.prompts import TrainingPrompt
from steadfast.training.rewards import RubricReward, VerifiableReward

Item = TypeVar("Item", EvalItem, Scenario)


@dataclass(frozen=True)
class StudyData:
    """A recipe's data.

    Attributes:
        recipe: it belongs to.
        scenarios: all of them, train and held out.
        standard: the standard pool.
    """

    recipe: Recipe
    scenarios: list[Scenario]
    standard: list[TaskItem]

    @classmethod
    def load(cls, recipe: Recipe) -> "StudyData":
        """Read and check.

        Raises:
            DataError: bad scenarios, or a slice without any.
        """
        path = recipe.data.scenarios
        scenarios = built_in_scenarios() if path is None else load_scenarios(path)
        data = cls(recipe, scenarios, standard_items(recipe.data.standard_prompts, recipe.seed))
        if not data.held_out:
            raise DataError(
                [
                    "no scenario is held out, so nothing could measure the trait on unseen ground: "
                    'mark some with "split": "held_out"'
                ]
            )
        return data

    @cached_property
    def training(self) -> list[Scenario]:
        """Scenarios that may be trained on."""
        return [s for s in self.scenarios if s.split == "train"]

    @cached_property
    def held_out(self) -> list[Scenario]:
        """Scenarios that only measure."""
        return [s for s in self.scenarios if s.split == "held_out"]

    @cached_property
    def evals(self) -> list[Eval]:
        """The chosen part of the battery, the chat eval apart."""
        chat = self.recipe.evaluation.chat_eval
        return [e for e in select(self.recipe.evaluation.evals) if e.name != chat]

    @cached_property
    def capability(self) -> dict[str, list[TaskItem]]:
        """Held-out standard items by task, none of whose texts is trained on."""
        return held_out_items(self.recipe.evaluation.capability_items, self.recipe.seed, self.standard)

    def prove_pools_disjoint(self) -> dict[str, int]:
        """Compare every text that trains with every text that measures; returns the pairs compared.

        Conversations are compared for equality and near-duplicates; procedural tasks, whose questions share their
        form on purpose, for equality.

        Raises:
            DataError: naming every pair that overlaps.
        """
        compared = prove_disjoint(
            {
                "training scenario": {s.id: s.text for s in self.training},
                "held-out scenario": {s.id: s.text for s in self.held_out},
                "eval item": {i.id: "\n".join(m.content for m in i.messages) for e in battery() for i in e.items()},
            }
        )
        trained = {item.messages for item in self.standard}
        measured = [item for items in self.capability.values() for item in items]
        shared = [item.id for item in measured if item.messages in trained]
        if shared:
            raise DataError([f"capability item {i!r} is also trained on" for i in shared])
        compared["standard x capability (equality)"] = len(trained) * len(measured)
        return compared

    def check_slices(self) -> None:
        """See that every arm has something to train on.

        Raises:
            RecipeError: an arm's slice is empty.
        """
        for name in self.recipe.arms:
            arm = ARMS[name]
            if arm.slice == "trait" and not arm.scenarios(self.training):
                raise RecipeError(
                    f"arm {name!r}: no training scenario lies in its domains; add some, or take the arm out"
                )

    def schedule(self, arm: Arm, judge: Judge) -> list[list[TrainingPrompt]]:
        """The prompts of each step of an arm."""
        items = {item.id: item for item in self.standard}
        verifiable = VerifiableReward(items)
        standard = [TrainingPrompt(i.id, "standard", i.messages, verifiable) for i in self.standard]
        # The baseline fills its slice from one half of the standard pool, every arm's shared part from the other.
        half = len(standard) // 2
        training = self.recipe.training
        own = standard[half:] if arm.slice == "standard" else self._slice(arm, judge)
        return build_mixture(
            own,
            standard[:half],
            steps=training.steps,
            prompts_per_step=training.prompts_per_step,
            share=self.recipe.share,
            seed=self.recipe.seed,
        )

    def _slice(self, arm: Arm, judge: Judge) -> list[TrainingPrompt]:
        chosen = arm.scenarios(self.training)
        pool = "helpfulness" if arm.reward == "helpfulness" else "trait"
        if arm.reward == "helpfulness":
            rubric = helpfulness_rubric()
            chosen = [s.model_copy(update={"rubric": rubric}) for s in chosen]
        reward = RubricReward(judge, {s.id: s for s in chosen})
        return [TrainingPrompt(s.id, pool, s.messages, reward) for s in chosen]

    def measurement(self, judge: Judge, training_judge: Judge) -> Measurement:
        """What every checkpoint is measured on."""
        chosen = self.recipe.evaluation
        by_name = {e.name: e for e in battery()}
        evals = {e.name: (e, e.items()) for e in self.evals}
        chat = by_name[chosen.chat_eval] if chosen.chat_eval else None
        held_out = self._sample(self.held_out, chosen.trait_items)
        return Measurement(
            evals=evals,
            choice=chosen.choice,
            generated={n: self._sample(i, chosen.generation_items) for n, (_, i) in evals.items()},
            chat=(chat, chat.items()) if chat else None,
            scenarios=held_out,
            gold=built_in_gold(),
            capability=self.capability,
            judge=judge,
            style=self.recipe.training.style,
            max_new_tokens=chosen.max_new_tokens,
            training_judge=training_judge,
        )

    def _sample(self, items: Sequence[Item], count: int | None) -> list[Item]:
        """`count` items drawn by the run's seed, in their own order; all of them for None."""
        if count is None or count >= len(items):
            return list(items)
        kept = sorted(Random(f"{self.recipe.seed}/sample").sample(range(len(items)), count))
        return [items[i] for i in kept]


def helpfulness_rubric() -> tuple[Criterion, ...]:
    """The generic rubric of the helpfulness arm."""
    text = (files("steadfast.study") / "helpfulness.yaml").read_text(encoding="utf-8")
    return TypeAdapter(tuple[Criterion, ...]).validate_python(yaml.safe_load(text))
