"""Arms: what fills the slice of an arm's training data, and how it is trained. Those that ship, and a recipe's own."""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from steadfast.strict_files import read_yaml
from steadfast.tasks.rubric import Criterion, Text
from steadfast.tasks.task import Task

PRE_RL, WARM_START, BASELINE = "pre-RL", "warm-start", "baseline"
"""The checkpoints that arms are compared with: the model as it was, the one that all arms of a seed go on from where a
recipe has a warm start, and the arm that is trained on standard tasks alone."""

SHUFFLED = "shuffled"
"""The control whose rewards say nothing of the answer; a claim stands above it too."""

CONTROLS = (BASELINE, SHUFFLED, "flipped")
"""Arms that ask nothing of their own: they show what the others' gains are to be held against."""

SCENARIOS, TWINS, STANDARD = "scenarios", "twins", "standard"
"""The names, in an arm's `suites`, of the recipe's scenarios, of its twins and of the standard verifiable tasks."""


class Scope(BaseModel):
    """The evals that an arm's question is about.

    Attributes:
        words: What they are in a sentence, as in "12 evals outside health"; empty for all of them.
        domains: The domains kept; empty for all.
        without_domains: The domains left out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    words: str = ""
    domains: tuple[str, ...] = ()
    without_domains: tuple[str, ...] = ()

    def rest(self) -> "Scope | None":
        """The evals left out; None if there are none."""
        if self.without_domains:
            return Scope(words=_turned(self.words), domains=self.without_domains)
        return Scope(words=_turned(self.words), without_domains=self.domains) if self.domains else None


def _turned(words: str) -> str:
    """The words for the other side of a scope."""
    if words.startswith("outside "):
        return f"on {words.removeprefix('outside ')}"
    return f"outside {words.removeprefix('on ')}" if words.startswith("on ") else f"not {words}"


class Arm(BaseModel):
    """One arm.

    Attributes:
        name: Its name in recipes, files and reports.
        suites: What its slice is drawn from: "scenarios" (the recipe's training scenarios), "twins" (the recipe's
            families of twins), "standard" (verifiable tasks), or suites by name, file or "module:function", of which
            the tasks marked as held out are left out. None takes what the recipe trains traits on.
        traits: Only tasks of these traits; empty for all.
        without_traits: No tasks of these traits.
        domains: Only tasks of these domains; empty for all.
        without_domains: No tasks of these domains.
        method: How it is trained: "rl", by the rewards of its own rollouts; or "supervised", by imitating the correct
            answers to the same prompts in the same steps.
        grader: What rewards the slice: each task's "own" grader, generic "helpfulness", or the path of a YAML file
            with a rubric, a list of criteria, that replaces the tasks' own.
        reward: What its rewards are: the grader's "own"; "shuffled", permuted among the completions of a prompt, which
            keeps their distribution and drops what they say; or "flipped", each twin graded by the other one's grader
            and met and unmet statements exchanged, which must move the model the other way.
        sides: Whether "both" twins of a pair are trained on, or "one" of them alone.
        mirrors: Whether it takes the slice of the arm that the run is about, and differs from it in its method, its
            reward or its sides alone.
        share: The slice's share of the arm's prompts; None takes the recipe's.
        pool: The name under which the slice's rewards are logged.
        role: What the arm is in the experiment, in a few words.
        question: What it answers.
        scope: The evals that its question is about.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: Text
    suites: tuple[str, ...] | None = Field(default=None, min_length=1)
    traits: tuple[str, ...] = ()
    without_traits: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    without_domains: tuple[str, ...] = ()
    method: Literal["rl", "supervised"] = "rl"
    grader: str = "own"
    reward: Literal["own", "shuffled", "flipped"] = "own"
    sides: Literal["both", "one"] = "both"
    mirrors: bool = False
    share: float | None = Field(default=None, gt=0, le=1)
    pool: Text = "trait"
    role: str = "an arm of this recipe's own"
    question: str = "What does training on this arm's slice change, and what does it cost?"
    scope: Scope = Scope()

    @model_validator(mode="after")
    def _imitates_answers_to_its_own_tasks(self) -> Self:
        if self.method == "supervised" and (self.grader != "own" or self.reward != "own"):
            raise ValueError(
                f"arm {self.name!r}: an arm with method supervised is trained by no reward, so its grader and its "
                'reward must both be "own"'
            )
        return self

    def chosen(self, tasks: Sequence[Task]) -> list[Task]:
        """The tasks that its filters by trait and domain leave."""
        return [
            t
            for t in tasks
            if (not self.traits or t.trait in self.traits)
            and t.trait not in self.without_traits
            and (not self.domains or t.domain in self.domains)
            and t.domain not in self.without_domains
            and (self.sides == "both" or t.pair is None or t.id < t.pair)
        ]

    def mirroring(self, other: "Arm") -> "Arm":
        """This arm with the other's slice: the same tasks in the same places, and the same scope."""
        names = ("suites", "traits", "without_traits", "domains", "without_domains", "grader", "share", "pool", "scope")
        return self.model_copy(update={name: getattr(other, name) for name in names})

    @property
    def is_control(self) -> bool:
        """Whether it is the compute-matched baseline."""
        return self.name == BASELINE


@cache
def shipped_arms() -> dict[str, Arm]:
    """The arms that ship, by name."""
    path = Path(str(files("steadfast.study") / "arms.yaml"))
    return {a.name: a for a in TypeAdapter(tuple[Arm, ...]).validate_python(read_yaml(path))}


def rubric_of(grader: str, base: Path | None = None) -> tuple[Criterion, ...] | None:
    """The rubric that replaces the tasks' own; None for "own".

    Args:
        grader: An arm's grader.
        base: The folder that a relative path is looked for in, before the working directory.

    Raises:
        DataError: the file cannot be read.
        ValidationError: it holds something else than a list of criteria.
    """
    if grader == "own":
        return None
    if grader == "helpfulness":
        path = Path(str(files("steadfast.study") / "helpfulness.yaml"))
    else:
        path = Path(grader).expanduser()
        path = base / path if base is not None and (base / path).is_file() else path
    return TypeAdapter(tuple[Criterion, ...]).validate_python(read_yaml(path))
