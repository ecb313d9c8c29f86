"""Everything that a run is trained and measured on, checked before any long work begins."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from random import Random

from pydantic import ValidationError

from steadfast.errors import ChatTemplateError, DataError, RecipeError
from steadfast.evals.measure import Part
from steadfast.graders import Judge, refuse_ungradable
from steadfast.models.chat import ChatTemplate
from steadfast.study.arms import SCENARIOS, STANDARD, Arm, rubric_of
from steadfast.study.recipe import Recipe
from steadfast.tasks import (
    Suite,
    Task,
    Taxonomy,
    battery,
    built_in_gold,
    built_in_scenarios,
    catalogue,
    find_suite,
    load_gold,
    load_tasks,
    prove_disjoint,
    with_gold,
)
from steadfast.tasks.jsonl import faults
from steadfast.tasks.programs import check_of, held_out_tasks, standard_tasks
from steadfast.tasks.suite import capability_suites, trait_suites
from steadfast.training.mixture import ScheduledTask, build_mixture


@dataclass(frozen=True)
class StudyData:
    """A recipe's data.

    Attributes:
        recipe: The recipe that it belongs to.
        taxonomy: The traits and domains that its tasks may name.
        scenarios: All of its scenarios, train and held out, with the gold answers of those that have some.
        standard: The standard pool.
        suites: The suites of the user's own, by the name under which the recipe gives them.
    """

    recipe: Recipe
    taxonomy: Taxonomy
    scenarios: list[Task]
    standard: list[Task]
    suites: dict[str, Suite] = field(default_factory=dict[str, Suite])

    @classmethod
    def load(cls, recipe: Recipe) -> "StudyData":
        """Read and check.

        Raises:
            DataError: faulty files, or no scenario that is held out.
        """
        taxonomy = Taxonomy.load(recipe.traits, recipe.domains)
        path, gold = recipe.data.scenarios, recipe.data.gold
        scenarios = built_in_scenarios() if path is None else load_tasks(path, taxonomy)
        source = "the corpus that ships" if path is None else str(path)
        pairs = built_in_gold() if path is None else {}
        if gold is not None:
            pairs = {**pairs, **load_gold(gold, scenarios, source)}
        data = cls(
            recipe,
            taxonomy,
            with_gold(scenarios, pairs),
            standard_tasks(recipe.data.standard_prompts, recipe.seed),
            {name: find_suite(name, taxonomy) for name in recipe.suites},
        )
        data._check_names()
        return data

    def _check_names(self) -> None:
        names = [i.name for i in catalogue()] + [s.name for s in self.suites.values()]
        problems = [f"suites: two suites are named {n!r}" for n in sorted({n for n in names if names.count(n) > 1})]
        chat = [self.recipe.evaluation.chat_eval] if self.recipe.evaluation.chat_eval else []
        unknown = [n for n in [*(self.recipe.evaluation.evals or ()), *chat] if n not in names]
        problems += [f"evaluation: unknown eval {n!r}; `steadfast evals` lists those that ship" for n in unknown]
        for arm in self.recipe.arms:
            problems += [f"arm {arm.name!r}: unknown trait {t!r}" for t in _unknown(arm, self.taxonomy, "traits")]
            problems += [f"arm {arm.name!r}: unknown domain {d!r}" for d in _unknown(arm, self.taxonomy, "domains")]
        if not self.held_out and self.recipe.evaluation.trait_items != 0:
            problems.append(
                'no scenario is held out, so nothing could measure the trait on unseen ground: mark some with "split": '
                '"held_out", or set evaluation.trait_items to 0'
            )
        if problems:
            raise DataError(problems)

    @cached_property
    def training(self) -> list[Task]:
        """The scenarios that may be trained on."""
        return [s for s in self.scenarios if s.split == "train"]

    @cached_property
    def held_out(self) -> list[Task]:
        """The scenarios that only measure."""
        return [s for s in self.scenarios if s.split == "held_out"]

    @cached_property
    def evals(self) -> list[Suite]:
        """The chosen evals, the one of everyday requests apart."""
        own = {s.name: s for s in self.suites.values() if s.kind == "eval"}
        names = self.recipe.evaluation.evals
        if names is None:
            chosen = [s for s in (*battery(), *own.values()) if s.name not in self._trained]
        else:
            chosen = [self._untrained(own[n] if n in own else find_suite(n, self.taxonomy)) for n in names]
        return [s for s in chosen if s.name != self.recipe.evaluation.chat_eval]

    def _untrained(self, suite: Suite) -> Suite:
        """What of a suite measures: all of it, or its held-out tasks where an arm trains on it.

        Raises:
            RecipeError: an arm trains on all of it.
        """
        if suite.name not in self._trained:
            return suite
        left = tuple(t for t in suite.tasks if t.split == "held_out")
        if not left:
            raise RecipeError(
                f"evaluation.evals: {suite.name!r} is trained on by arm {self._trained[suite.name]!r}, and none of its "
                'tasks has "split": "held_out", so nothing of it could measure; mark some, or take it out'
            )
        return replace(suite, tasks=left)

    @cached_property
    def _trained(self) -> dict[str, str]:
        """The arm that trains on a suite, by the suite's name."""
        return {
            self._suite(name).name: arm.name
            for arm in self.recipe.arms
            for name in arm.suites
            if name not in (SCENARIOS, STANDARD)
        }

    def _suite(self, name: str) -> Suite:
        """A suite that the recipe names: one of its own, by the spelling given there or by its name, or any other."""
        named = next((s for s in self.suites.values() if s.name == name), None)
        return self.suites.get(name) or named or find_suite(name, self.taxonomy)

    @cached_property
    def chat(self) -> Suite | None:
        """The everyday requests."""
        name = self.recipe.evaluation.chat_eval
        if name is None:
            return None
        suite = self._untrained(self._suite(name))
        return replace(suite, name=f"chat-{suite.name}", kind="chat")

    @cached_property
    def capability(self) -> dict[str, list[Task]]:
        """Held-out standard tasks by kind, none of whose texts is trained on."""
        return held_out_tasks(self.recipe.evaluation.capability_items, self.recipe.seed, self.standard)

    @cached_property
    def slices(self) -> dict[str, list[Task]]:
        """The tasks of each arm's slice, by the arm's name.

        Raises:
            DataError: a suite or a rubric that an arm names is faulty.
            RecipeError: an arm's slice is empty, or holds tasks that no rollout can be graded of.
        """
        return {arm.name: self._slice(arm) for arm in self.recipe.arms}

    def _slice(self, arm: Arm) -> list[Task]:
        # The baseline fills its slice from one half of the standard pool, every arm's shared part from the other.
        half = len(self.standard) // 2
        tasks: list[Task] = []
        for name in arm.suites:
            if name == SCENARIOS:
                tasks += self.training
            elif name == STANDARD:
                tasks += self.standard[half:]
            else:
                tasks += [t for t in self._suite(name).tasks if t.split != "held_out"]
        chosen = arm.chosen(tasks)
        if not chosen:
            raise RecipeError(
                f"arm {arm.name!r}: no training task of its suites lies in its traits and domains; add some, or take "
                "the arm out"
            )
        try:
            rubric = rubric_of(arm.grader)
        except ValidationError as error:
            raise DataError([f"{arm.grader}: {fault}" for fault in faults(error)]) from error
        chosen = [t.with_rubric(rubric) for t in chosen] if rubric else chosen
        if compared := [t.id for t in chosen if t.grader.kind == "preference"]:
            raise RecipeError(
                f"arm {arm.name!r}: {len(compared)} of its tasks ({', '.join(compared[:3])}) compare references, so no "
                "rollout of them can be rewarded; give them a grader"
            )
        return chosen

    def check_graders(self, training: Judge, evaluation: Judge) -> None:
        """See, before any work begins, that every task can be graded by the judge that will be asked.

        Raises:
            DataError: naming each that cannot.
        """
        slices = {id(t): t for tasks in self.slices.values() for t in tasks}
        refuse_ungradable(training, [t for t in slices.values() if t.grader.kind == "rubric"])
        answered = [t for part in self.parts() for t in part.answered]
        refuse_ungradable(evaluation, [t for t in answered if t.grader.kind == "rubric"])
        for task in (*slices.values(), *answered):
            if task.grader.kind == "program":
                check_of(task.grader.program)

    def check_prompts(self, chat: ChatTemplate) -> None:
        """See that every task that is trained on can be shown to the model, with room for its answer.

        Raises:
            DataError: naming each that cannot.
        """
        training = self.recipe.training
        problems: dict[str, str] = {}
        for task in {id(t): t for tasks in self.slices.values() for t in (*tasks, *self.standard)}.values():
            try:
                chat.encode(task.messages, training.style, max_new_tokens=training.max_new_tokens)
            except ChatTemplateError as error:
                problems.setdefault(task.id, f"training task {task.id!r}: {error}")
        if problems:
            raise DataError(list(problems.values()))

    def prove_pools_disjoint(self) -> dict[str, int]:
        """Compare every text that trains with every text that measures; returns the pairs compared.

        Conversations are compared for equality and near-duplicates; procedural tasks, whose questions share their
        form on purpose, for equality.

        Raises:
            DataError: naming every pair that overlaps.
        """
        names = dict.fromkeys(n for arm in self.recipe.arms for n in arm.suites if n not in (SCENARIOS, STANDARD))
        suites = {s.name: s for s in (*battery(), *self.suites.values(), *self.evals, *map(self._suite, names))}
        own = [t for name in self._trained for t in suites[name].tasks]
        measuring = [suite for name, suite in suites.items() if name not in self._trained]
        compared = prove_disjoint(
            {
                "training scenario": _texts(t for t in (*self.training, *own) if t.split != "held_out"),
                "held-out scenario": _texts(t for t in (*self.held_out, *own) if t.split == "held_out"),
                "eval item": _texts(t for suite in measuring for t in suite.tasks),
            }
        )
        trained = {task.messages for task in self.standard}
        measured = [task for tasks in self.capability.values() for task in tasks]
        shared = [task.id for task in measured if task.messages in trained]
        if shared:
            raise DataError([f"capability item {i!r} is also trained on" for i in shared])
        compared["standard x capability (equality)"] = len(trained) * len(measured)
        return compared

    def schedule(self, arm: Arm) -> list[list[ScheduledTask]]:
        """The tasks of each step of an arm."""
        training = self.recipe.training
        return build_mixture(
            [ScheduledTask(t, arm.pool) for t in self.slices[arm.name]],
            [ScheduledTask(t, STANDARD) for t in self.standard[: len(self.standard) // 2]],
            steps=training.steps,
            prompts_per_step=training.prompts_per_step,
            share=self.recipe.share if arm.share is None else arm.share,
            seed=self.recipe.seed,
        )

    def parts(self) -> list[Part]:
        """What every checkpoint is measured on."""
        chosen = self.recipe.evaluation
        found: list[Part] = []
        for suite in self.evals:
            compared = suite.paired if chosen.choice else ()
            answered = self._sample(suite.answered, chosen.generation_items)
            if not compared and not answered:  # a suite without references says nothing unless it is answered
                answered = suite.answered
            if compared or answered:
                found.append(Part(suite, compared, tuple(answered)))
        if self.chat is not None:
            found.append(Part(self.chat, (), self.chat.answered))
        held_out = self._sample(self.held_out, chosen.trait_items)
        for suite in trait_suites(held_out):
            found.append(Part(suite, suite.paired if chosen.choice else (), suite.answered))
        found += [Part(suite, (), suite.tasks) for suite in capability_suites(self.capability)]
        return found

    def _sample(self, tasks: Sequence[Task], count: int | None) -> list[Task]:
        """`count` tasks drawn by the run's seed, in their own order; all of them for None."""
        if count is None or count >= len(tasks):
            return list(tasks)
        kept = sorted(Random(f"{self.recipe.seed}/sample").sample(range(len(tasks)), count))
        return [tasks[i] for i in kept]


def _texts(tasks: Iterable[Task]) -> dict[str, str]:
    """The texts of tasks, under ids that two suites may share."""
    return {f"{t.suite}/{t.id}" if t.suite else t.id: t.text for t in tasks}


def _unknown(arm: Arm, taxonomy: Taxonomy, kind: str) -> list[str]:
    known = taxonomy.trait_ids if kind == "traits" else taxonomy.domain_ids
    return [v for v in (*getattr(arm, kind), *getattr(arm, f"without_{kind}")) if v not in known]
