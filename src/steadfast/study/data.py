"""Everything that a run is trained and measured on, checked before any long work begins."""

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from random import Random

import polars as pl
from pydantic import ValidationError

from steadfast.attacks.attack import Attack
from steadfast.attacks.examples import prove_apart
from steadfast.errors import ChatTemplateError, DataError, RecipeError
from steadfast.evals.measure import Condition, Part
from steadfast.evals.proof import refuse_paid_constants
from steadfast.graders import Judge, refuse_ungradable
from steadfast.models.chat import ChatTemplate
from steadfast.study.arms import SCENARIOS, STANDARD, TWINS, Arm, rubric_of
from steadfast.study.attacks import attacks_of, unencodable_examples
from steadfast.study.flipping import flipped
from steadfast.study.imitation import refuse_without_answers, unencodable
from steadfast.study.personas import asked_under_personas, persona_conditions
from steadfast.study.recipe import Recipe
from steadfast.study.rungs import RUNGS, Rung, TrainedTwins, rung_of
from steadfast.tasks import (
    Suite,
    Task,
    Taxonomy,
    battery,
    built_in_gold,
    built_in_scenarios,
    catalogue,
    find_family,
    find_suite,
    load_gold,
    load_tasks,
    prove_disjoint,
    with_gold,
)
from steadfast.tasks.jsonl import faults
from steadfast.tasks.programs import check_of, held_out_tasks, standard_tasks
from steadfast.tasks.suite import capability_suites, family_suite, trait_suites
from steadfast.tasks.twins import Family, shipped_families, twins_of
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
            DataError: faulty files.
            RecipeError: the recipe names what is not there or cannot be used, or no scenario is held out.
        """
        taxonomy = Taxonomy.load(recipe.traits, recipe.domains)
        path, gold = recipe.data.scenarios, recipe.data.gold
        scenarios = built_in_scenarios() if path is None else load_tasks(path, taxonomy)
        source = "the corpus that ships" if path is None else str(path)
        pairs = built_in_gold() if path is None else {}
        if gold is not None:
            pairs = {**pairs, **load_gold(gold, scenarios, source)}
        with _told_at("suites"):
            suites = {name: find_suite(name, taxonomy) for name in recipe.suites}
        standard = standard_tasks(recipe.data.standard_prompts, recipe.eval_seed)
        data = cls(recipe, taxonomy, with_gold(scenarios, pairs), standard, suites)
        data._check_names()
        data._check_twins()
        data._check_primary()
        _ = data.attacks
        if recipe.evaluation.personas is not None:
            asked_under_personas(data, data.parts())
        return data

    def _check_twins(self) -> None:
        """See that the families of twins have what the recipe asks of them, before any of their pairs is made.

        Raises:
            RecipeError: A family, a domain or a wording is not there.
        """
        trained, measured = self.recipe.data.twins, self.recipe.evaluation.twins
        asked = [("data", f, trained.wordings) for f in self.families] if trained else []
        asked += [("evaluation", f, measured.wordings or ()) for f in self.measured_families] if measured else []
        for where, family, wordings in asked:
            if beyond := [w for w in wordings if w >= len(family.wordings)]:
                raise RecipeError(
                    f"{where}.twins.wordings: family {family.name!r} has no wording {beyond[0]}; it has "
                    f"{len(family.wordings)}, counted from 0"
                )

    def _check_primary(self) -> None:
        """See that some twins stand on the rung of the primary measure.

        Raises:
            RecipeError: None do.
        """
        primary = self.recipe.primary
        if primary is None:
            return
        found = self.pairs_by_rung(self.recipe.leading_arm)
        if primary.rung not in found:
            raise RecipeError(
                f"primary.rung: no twins of evaluation.twins stand on {primary.rung!r} for arm "
                f"{self.recipe.leading_arm!r}; measured are: {', '.join(sorted(found)) or 'none'}"
            )

    def pairs_by_rung(self, arm: str) -> dict[Rung, int]:
        """How many pairs of the ladder stand on each rung of an arm; empty where no twins are trained on."""
        rungs = [r for suite in self.ladder for r in self.rungs(suite, arm).values()]
        return {rung: rungs.count(rung) // 2 for rung in RUNGS if rung in rungs}

    def rungs(self, suite: Suite, arm: str) -> dict[str, Rung]:
        """The rung of an arm on which each twin of a suite stands, by its id; empty where no twins are trained on."""
        if self.trained_twins is None:
            return {}
        cells = pl.DataFrame(
            [(suite.name, suite.group, t.domain, t.format, t.wording) for t in suite.tasks],
            schema=["suite", "group", "domain", "format", "wording"],
            orient="row",
        )
        found = cells.select(rung_of(self.recipe.arm(arm), self.trained_twins).alias("rung"))["rung"]
        return dict(zip((t.id for t in suite.tasks), found.to_list(), strict=True))

    def on_rungs(self, parts: Sequence[Part], rungs: Sequence[str], field: str) -> list[Part]:
        """The twins of some parts that stand on some rungs for the leading arm; parts without any are left out.

        Args:
            parts: Parts of the ladder.
            rungs: The names of the rungs.
            field: The recipe's field that names them, for an error.

        Raises:
            RecipeError: No twins stand on one of them.
        """
        lead = self.recipe.leading_arm
        there = self.pairs_by_rung(lead)
        if unknown := [r for r in rungs if r not in there]:
            raise RecipeError(
                f"{field}: no twins of evaluation.twins stand on {unknown[0]!r} for arm {lead!r}; measured are: "
                f"{', '.join(there) or 'none'}"
            )
        found: list[Part] = []
        for part in parts:
            stands = self.rungs(part.suite, lead)
            if answered := tuple(t for t in part.answered if stands[t.id] in rungs):
                found.append(replace(part, answered=answered))
        return found

    def _check_names(self) -> None:
        names = [i.name for i in catalogue()] + [s.name for s in self.suites.values()]
        problems = [f"suites: two suites are named {n!r}" for n in sorted({n for n in names if names.count(n) > 1})]
        chat = [self.recipe.evaluation.chat_eval] if self.recipe.evaluation.chat_eval else []
        unknown = [n for n in [*(self.recipe.evaluation.evals or ()), *chat] if n not in names]
        problems += [f"evaluation: unknown eval {n!r}; `steadfast evals` lists those that ship" for n in unknown]
        problems += [
            f"suites: {s.name!r} is a family of twins; name it in data.twins.families to train on it, and in "
            "evaluation.twins.families to measure it"
            for s in self.suites.values()
            if s.kind == "twins"
        ]
        for arm in self.recipe.arms:
            problems += [f"arm {arm.name!r}: unknown trait {t!r}" for t in _unknown(arm, self.taxonomy, "traits")]
            problems += [f"arm {arm.name!r}: unknown domain {d!r}" for d in _unknown(arm, self.taxonomy, "domains")]
        if not self.held_out and self.recipe.evaluation.trait_items != 0:
            problems.append(
                'no scenario is held out, so nothing could measure the trait on unseen ground: mark some with "split": '
                '"held_out", or set evaluation.trait_items to 0'
            )
        if problems:
            raise RecipeError("\n".join(problems))

    @cached_property
    def persona_conditions(self) -> list[Condition]:
        """The conditions of the recipe's personas."""
        return persona_conditions(self)

    @cached_property
    def attacks(self) -> list[Attack]:
        """The attacks of the recipe.

        Raises:
            RecipeError: What it names is not there, or cannot be had.
        """
        return attacks_of(self)

    @cached_property
    def training(self) -> list[Task]:
        """The scenarios that may be trained on."""
        return [s for s in self.scenarios if s.split == "train"]

    @cached_property
    def held_out(self) -> list[Task]:
        """The scenarios that only measure."""
        return [s for s in self.scenarios if s.split == "held_out"]

    @cached_property
    def families(self) -> list[Family]:
        """The families of twins that are trained on."""
        twins = self.recipe.data.twins
        with _told_at("data.twins.families"):
            return [] if twins is None else [find_family(name, self.taxonomy) for name in twins.families]

    @cached_property
    def trained_twins(self) -> TrainedTwins | None:
        """What of twins is trained on; None for nothing."""
        twins = self.recipe.data.twins
        if twins is None:
            return None
        return TrainedTwins(
            families=tuple(f.name for f in self.families),
            groups=tuple(dict.fromkeys(f.group for f in self.families)),
            domains=tuple(dict.fromkeys(d for f in self.families for d in f.domains)),
            formats=twins.formats,
            wordings=twins.wordings,
        )

    @cached_property
    def training_twins(self) -> list[Task]:
        """The twins that may be trained on."""
        twins = self.recipe.data.twins
        if twins is None:
            return []
        with _told_at("data.twins"):
            return [
                t
                for f in self.families
                for t in twins_of(f, formats=twins.formats, wordings=twins.wordings, pairs=twins.pairs, split="train")
            ]

    @cached_property
    def measured_families(self) -> list[Family]:
        """The families of twins that measure.

        Raises:
            RecipeError: One is not there, or none of them has cases in a domain that is asked for.
        """
        chosen = self.recipe.evaluation.twins
        if chosen is None:
            return []
        if chosen.families is not None:
            with _told_at("evaluation.twins.families"):
                families = [find_family(name, self.taxonomy) for name in chosen.families]
        else:
            families = list(({f.name: f for f in self.families} | dict(shipped_families())).values())
        known = {d for f in families for d in f.domains}
        if unknown := [d for d in chosen.domains or () if d not in known]:
            raise RecipeError(
                f"evaluation.twins.domains: no family has cases in {unknown[0]!r}; known: {', '.join(sorted(known))}"
            )
        return families

    @cached_property
    def ladder(self) -> list[Suite]:
        """The twins that measure, a suite for each family."""
        chosen = self.recipe.evaluation.twins
        if chosen is None:
            return []
        found: list[Suite] = []
        for family in self.measured_families:
            domains = [d for d in family.domains if chosen.domains is None or d in chosen.domains]
            with _told_at("evaluation.twins"):
                tasks = twins_of(
                    family, domains=domains, formats=chosen.formats, wordings=chosen.wordings, pairs=chosen.pairs
                )
            if tasks:
                found.append(family_suite(family, tasks))
        return found

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
            for name in (arm.suites or ())
            if name not in _POOLS
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
        return held_out_tasks(self.recipe.evaluation.capability_items, self.recipe.eval_seed, self.standard)

    @cached_property
    def slices(self) -> dict[str, list[Task]]:
        """The tasks of each arm's slice, by the arm's name.

        Raises:
            DataError: a suite or a rubric that an arm names is faulty.
            RecipeError: an arm's slice is empty, holds tasks that no rollout can be graded of, or tasks without a
                correct answer where it imitates them.
        """
        return {name: self._slice(self.recipe.arm(name)) for name in self.recipe.arm_names}

    def _slice(self, arm: Arm) -> list[Task]:
        # The baseline fills its slice from one half of the standard pool, every arm's shared part from the other.
        half = len(self.standard) // 2
        tasks: list[Task] = []
        for name in arm.suites or self.recipe.data.train_on:
            if name == SCENARIOS:
                tasks += self.training
            elif name == TWINS:
                tasks += self.training_twins
            elif name == STANDARD:
                tasks += self.standard[half:]
            else:
                with _told_at(f"arm {arm.name!r}: suites"):
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
        if arm.reward == "flipped":
            chosen = flipped(chosen, arm.name)
        if arm.method == "supervised":
            refuse_without_answers(chosen, arm, f"arm {arm.name!r}")
        if self.recipe.training.warm_start is not None and arm.name == self.recipe.leading_arm:
            refuse_without_answers(chosen, arm, f"training.warm_start, on the tasks of arm {arm.name!r}")
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

    def prove_own_families(self) -> None:
        """See, before any work begins, that no family of the user's own pays a constant answer.

        Raises:
            SteadfastError: One does, or its check cannot do its work.
        """
        twins = [*self.training_twins, *(t for suite in self.ladder for t in suite.tasks)]
        for name in dict.fromkeys(t.suite for t in twins):
            if name not in shipped_families():
                refuse_paid_constants(name, [t for t in twins if t.suite == name])

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
        imitating = [a.name for a in self.recipe.arms if a.method == "supervised"]
        imitated = [t for name in imitating for t in (*self.slices[name], *self.standard)]
        imitated += self.slices[self.recipe.leading_arm] if training.warm_start is not None else []
        problems |= unencodable(chat, imitated, training.style)
        problems |= unencodable_examples(chat, self.attacks, training)
        if problems:
            raise DataError(list(problems.values()))

    def prove_pools_disjoint(self) -> dict[str, int]:
        """Compare every text that trains with every text that measures; returns the pairs compared.

        Conversations are compared for equality and near-duplicates; procedural tasks, whose questions share their
        form on purpose, for equality.

        Raises:
            DataError: naming every pair that overlaps.
        """
        names = dict.fromkeys(n for arm in self.recipe.arms for n in arm.suites or () if n not in _POOLS)
        suites = {s.name: s for s in (*battery(), *self.suites.values(), *self.evals, *map(self._suite, names))}
        own = [t for name in self._trained for t in suites[name].tasks]
        measuring = [suite for name, suite in suites.items() if name not in self._trained]
        pools = {
            "training scenario": _texts(t for t in (*self.training, *own) if t.split != "held_out"),
            "training twin": _texts(_one_of_each_text(self.training_twins)),
            "held-out scenario": _texts(t for t in (*self.held_out, *own) if t.split == "held_out"),
            "eval item": _texts(t for suite in measuring for t in suite.tasks),
        }
        compared = prove_disjoint(pools)
        measured_twins = [t for suite in self.ladder for t in suite.tasks]
        apart = {**pools, "measured twin": _texts(_one_of_each_text(measured_twins))}
        for attack in self.attacks:
            compared |= prove_apart(f"attack {attack.name}", [attack], apart)
        twins = {t.messages for t in self.training_twins}
        if both := [t.id for t in measured_twins if t.messages in twins]:
            raise DataError([f"twin {i!r} is also trained on" for i in both])
        compared["training twins x measured twins (equality)"] = len(twins) * len(measured_twins)
        trained = {task.messages for task in self.standard}
        measured = [task for tasks in self.capability.values() for task in tasks]
        shared = [task.id for task in measured if task.messages in trained]
        if shared:
            raise DataError([f"capability item {i!r} is also trained on" for i in shared])
        compared["standard x capability (equality)"] = len(trained) * len(measured)
        return compared

    def schedule(self, arm: Arm, seed: int) -> list[list[ScheduledTask]]:
        """The tasks of each step of an arm with one of the training seeds."""
        training = self.recipe.training
        return build_mixture(
            [ScheduledTask(t, arm.pool) for t in self.slices[arm.name]],
            [ScheduledTask(t, STANDARD) for t in self.standard[: len(self.standard) // 2]],
            steps=training.steps,
            prompts_per_step=training.prompts_per_step,
            share=self.recipe.share if arm.share is None else arm.share,
            seed=seed,
            in_pairs=self.recipe.data.twins is not None,
        )

    def warm_start(self, seed: int) -> list[list[ScheduledTask]]:
        """The tasks of each step of the warm start with one of the training seeds: the leading arm's slice alone."""
        training, lead = self.recipe.training.of_warm_start(), self.recipe.arm(self.recipe.leading_arm)
        return build_mixture(
            [ScheduledTask(t, lead.pool) for t in self.slices[lead.name]],
            [],
            steps=training.steps,
            prompts_per_step=training.prompts_per_step,
            share=1.0,
            seed=f"{seed}/warm-start",
            in_pairs=self.recipe.data.twins is not None,
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
        found += [Part(suite, (), suite.tasks) for suite in (*self.ladder, *capability_suites(self.capability))]
        return found

    def _sample(self, tasks: Sequence[Task], count: int | None) -> list[Task]:
        """`count` tasks drawn by `eval_seed`, in their own order; all of them for None."""
        if count is None or count >= len(tasks):
            return list(tasks)
        kept = sorted(Random(f"{self.recipe.eval_seed}/sample").sample(range(len(tasks)), count))
        return [tasks[i] for i in kept]


@contextmanager
def _told_at(field: str) -> Generator[None]:
    """Within this context, what is wrong with data that the recipe names is told at the recipe's field."""
    try:
        yield
    except DataError as error:
        raise RecipeError("\n".join(f"{field}: {problem}" for problem in error.problems)) from error


_POOLS = (SCENARIOS, TWINS, STANDARD)


def _one_of_each_text(twins: Sequence[Task]) -> list[Task]:
    """One pair of each family, domain, format and wording: the others differ from it in their values alone."""
    pairs = {(t.suite, t.domain, t.format, t.wording): {t.id, t.pair} for t in reversed(twins)}
    kept = {i for ids in pairs.values() for i in ids}
    return [t for t in twins if t.id in kept]


def _texts(tasks: Iterable[Task]) -> dict[str, str]:
    """The texts of tasks, under ids that two suites may share."""
    return {f"{t.suite}/{t.id}" if t.suite else t.id: t.text for t in tasks}


def _unknown(arm: Arm, taxonomy: Taxonomy, kind: str) -> list[str]:
    known = taxonomy.trait_ids if kind == "traits" else taxonomy.domain_ids
    return [v for v in (*getattr(arm, kind), *getattr(arm, f"without_{kind}")) if v not in known]
