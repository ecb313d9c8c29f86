"""A recipe: everything that decides a run, as one checked YAML file."""

import re
from collections.abc import Collection, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from steadfast.attacks.benign import BENIGN_SETS
from steadfast.attacks.config import AttacksConfig
from steadfast.attacks.examples import shipped_attacks
from steadfast.errors import DataError, RecipeError
from steadfast.graders import JudgeConfig, JudgeField, Limits
from steadfast.models.default_model import DEFAULT_MODEL
from steadfast.probing.config import ProbingConfig
from steadfast.strict_files import read_yaml
from steadfast.study.arms import BASELINE, CONTROLS, PRE_RL, SCENARIOS, STANDARD, TWINS, WARM_START, Arm, shipped_arms
from steadfast.study.rungs import Rung
from steadfast.tasks.jsonl import faults
from steadfast.tasks.suite import catalogue
from steadfast.tasks.twins import FORMATS, PAIRS_PER_CELL, Format, rotations, trained_families
from steadfast.training.config import TrainingConfig

_FOLDER_NAME = re.compile(r"\w([\w .+-]*[\w+-])?")
_MOST = 1_000_000
"""Upper bound of counts, far beyond any run: a slip of the keyboard is an error and not a year's work."""


Seed = Annotated[int, Field(ge=0, lt=2**63)]


class ModelConfig(BaseModel):
    """The model to train.

    Attributes:
        name: A folder, or a name on the Hugging Face Hub.
        dtype: The type of its weights.
        device: Where it is put, a name of torch's; None takes a GPU if there is one.
        revision: A branch, tag or commit of the hub.
        chat_template_kwargs: What its chat template is given, such as `enable_thinking: false`.
        trust_remote_code: Whether code that comes with the model may be run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = DEFAULT_MODEL
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str | None = None
    revision: str | None = None
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    trust_remote_code: bool = False


class TwinsConfig(BaseModel):
    """The families of twins that arms are trained on; the others measure how far the change spreads.

    Attributes:
        families: Names of families that ship, or of the user's own: files, or "module:function". The name of a
            rotation, such as "rotation-1", stands for the families that it does not hold out.
        formats: The formats that are trained on.
        wordings: The numbers of the wordings that are trained on, counted from 0.
        pairs: How many pairs of each family, domain and format.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    families: tuple[str, ...] = Field(min_length=1)
    formats: tuple[Format, ...] = Field(default=("chat", "log", "form"), min_length=1)
    wordings: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1)
    pairs: int = Field(default=60, ge=1, le=10_000)

    @field_validator("families", mode="before")
    @classmethod
    def _of_rotation(cls, families: Any) -> Any:
        if not isinstance(families, str):
            return families
        if families not in rotations():
            raise ValueError(f"{families!r} is no rotation; there are: {', '.join(rotations())}. Or list families")
        return trained_families(families)


class LadderConfig(BaseModel):
    """Which twins measure, rung by rung, how far a change spreads from what was trained on.

    Attributes:
        families: The same; None for all families that ship and all that are trained on.
        domains: The domains; None for all.
        formats: The formats.
        wordings: The numbers of the wordings; None for all.
        pairs: How many pairs of each family, domain and format, spread evenly over the wordings.
        sampled: Whether they are answered at the training temperature too, beside the likeliest answer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    families: tuple[str, ...] | None = None
    domains: tuple[str, ...] | None = None
    formats: tuple[Format, ...] = FORMATS
    wordings: tuple[int, ...] | None = None
    pairs: int = Field(default=PAIRS_PER_CELL, ge=1, le=10_000)
    sampled: bool = False


class PersonasConfig(BaseModel):
    """The personas under which every checkpoint is asked again, and what it is asked then.

    Attributes:
        names: Names from `steadfast personas`, or of the file's; "all" takes every one.
        wordings: The numbers of the wordings, counted from 1; None for all that each persona has.
        file: A file of personas of the user's own, added to those that ship; see `load_personas`.
        evals: Names of suites that the recipe measures, such as those of `evals` or "trait:truthfulness"; None for all
            its evals.
        twins: Whether the twins of the ladder are asked under personas too; or the rungs whose twins are, such as
            [new domain], as they stand for the leading arm.
        arms: The arms that are asked under personas; None for all, and for the warm start. The baseline and the model
            before training always are, since the others are held against them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: Literal["all"] | tuple[str, ...] = "all"
    wordings: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(default=None, min_length=1)
    file: Path | None = None
    evals: tuple[str, ...] | None = None
    twins: bool | Annotated[tuple[Rung, ...], Field(min_length=1)] = False
    arms: tuple[str, ...] | None = None


class DataConfig(BaseModel):
    """What it is trained on.

    Attributes:
        train_on: What arms fill their slice from if they name no suites: "scenarios", "twins", or both.
        scenarios: A file of the user's scenarios; None for the corpus that ships.
        gold: A file of gold answers to the held-out ones, for likelihood scoring without a judge; None for those that
            ship, where the scenarios do.
        standard_prompts: The number of distinct draws in the standard pool.
        twins: The families of twins to train on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    train_on: tuple[Literal["scenarios", "twins"], ...] = Field(default=("scenarios",), min_length=1)
    scenarios: Path | None = None
    gold: Path | None = None
    standard_prompts: int = Field(default=2000, ge=2, le=_MOST)
    twins: TwinsConfig | None = None

    @model_validator(mode="after")
    def _has_twins(self) -> Self:
        if "twins" in self.train_on and self.twins is None:
            raise ValueError("train_on names twins, so `twins` must say which families, such as {families: [pushback]}")
        return self


class EvaluationConfig(BaseModel):
    """What every checkpoint is measured on.

    Attributes:
        evals: Names from `steadfast evals`, or of the recipe's `suites`; None for the whole battery and all of those.
        public: Names of public benchmarks that are run through `inspect_evals` as well.
        public_limit: The number of samples of each public benchmark at most; None for all.
        choice: Whether to compare references by likelihood.
        generation_items: How many tasks of each eval the model also answers freely, to be graded and checked for
            refusals. A suite without references is answered whole.
        chat_eval: Harmless everyday requests, answered in full, for over-refusal; None leaves them out.
        trait_items: How many held-out scenarios are answered freely; None for all.
        capability_items: How many held-out tasks of each standard kind.
        twins: The twins that measure how far the change spreads; None measures none.
        personas: The personas under which every checkpoint is asked again; None asks under none.
        max_new_tokens: The limit of free answers.
        judge: Grades free answers; another judge than the one that trains.
        judge_limits: What one session may spend on it, for a language model; no part of the run's protocol.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    evals: tuple[str, ...] | None = None
    public: tuple[str, ...] = ()
    public_limit: int | None = Field(default=None, ge=1, le=_MOST)
    choice: bool = True
    generation_items: int = Field(default=0, ge=0, le=_MOST)
    chat_eval: str | None = "everyday-requests"
    trait_items: int | None = Field(default=None, ge=0, le=_MOST)
    capability_items: int = Field(default=16, ge=0, le=_MOST)
    twins: LadderConfig | None = None
    personas: PersonasConfig | None = None
    max_new_tokens: int = Field(default=128, ge=2, le=_MOST)
    judge: JudgeField = JudgeConfig.parse("embedded-plain")
    judge_limits: Limits | None = None

    @field_validator("public")
    @classmethod
    def _known_benchmarks(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        from steadfast.evals.public import public_evals

        known = {e.name for e in public_evals()}
        if unknown := [n for n in names if n not in known]:
            raise ValueError(f"unknown benchmark {', '.join(unknown)}; `steadfast evals --source public` lists them")
        return names


class Primary(BaseModel):
    """The one measure that decides, named before the run: pair success on one rung of an arm's transfer ladder.

    The claim holds if the arm is above the baseline, and above the shuffled control where there is one, by an interval
    over training seeds, and its gain is not one side's alone.

    Attributes:
        rung: How far the twins lie from what the arm was trained on.
        arm: The arm; None for the first that is no control.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rung: Rung
    arm: str | None = None


class Recipe(BaseModel):
    """A run.

    Attributes:
        name: The name of the run, and of its folder in runs/.
        about: A sentence for the report.
        seeds: The training seeds. Every arm is trained once with each of them: it seeds the adapter, the order of the
            prompts and the rollouts, which arms of one seed share.
        eval_seed: Seeds what is drawn to measure and the pool of standard tasks, so that the items of every training
            seed are the same.
        arms: The arms to train, in order: names of those that ship, or arms of the recipe's own as mappings. The
            pre-RL model is always measured, and "baseline" is what arms are compared with.
        share: The share of an arm's prompts that come from its slice; the paper's is 0.05.
        traits: A file or folder of traits of the user's own, added to those that ship; see `Taxonomy.load`.
        domains: The same for domains.
        suites: Suites of the user's own, by file or "module:function": evals that every checkpoint is measured on, and
            what arms may be trained on.
        primary: The measure that decides; None if none was named before the run, and then nothing is claimed.
        judge: The judge that rewards the trait slice: a short name, or a mapping with a `kind`.
        judge_limits: What one session may spend on it, for a language model; no part of the run's protocol.
        model: The model to train.
        data: What it is trained on.
        training: How it is trained.
        evaluation: How every checkpoint is measured.
        attacks: What is done to trained models to see whether the change lasts; None does nothing.
        probing: What `steadfast probe` looks at in the finished run; None takes the defaults.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(min_length=1, max_length=100)
    about: str = ""
    seeds: tuple[Seed, ...] = Field(default=(0,), min_length=1)
    eval_seed: Seed = 0
    arms: tuple[Arm, ...] = Field(default=("baseline", "trait"), validate_default=True, min_length=1)  # type: ignore[assignment]
    share: float = Field(default=0.05, ge=0, le=1)
    traits: Path | None = None
    domains: Path | None = None
    suites: tuple[str, ...] = ()
    primary: Primary | None = None
    judge: JudgeField = JudgeConfig.parse("embedded")
    judge_limits: Limits | None = None
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    attacks: AttacksConfig | None = None
    probing: ProbingConfig | None = None

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str) -> str:
        if not _FOLDER_NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} cannot be the name of the run's folder; use letters, digits, '_', and between them '-', "
                "'+', '.' and spaces"
            )
        return name

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"{next(s for s in seeds if seeds.count(s) > 1)} stands there twice")
        return seeds

    @field_validator("arms", mode="before")
    @classmethod
    def _arms_by_name(cls, arms: Any) -> Any:
        if not isinstance(arms, Sequence) or isinstance(arms, str):
            return arms
        known = shipped_arms()
        found: list[Any] = []
        for arm in cast("Sequence[Any]", arms):
            if isinstance(arm, str) and arm not in known:
                raise ValueError(f"unknown arm {arm}; known: {', '.join(known)}. An arm of your own is a mapping")
            found.append(known[arm] if isinstance(arm, str) else arm)
        return found

    @field_validator("arms")
    @classmethod
    def _arms_differ(cls, arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
        names = [a.name for a in arms]
        if len(set(names)) < len(names):
            raise ValueError(f"{next(n for n in names if names.count(n) > 1)!r} stands there twice")
        for arm in arms:
            if not _FOLDER_NAME.fullmatch(arm.name) or arm.name in (PRE_RL, WARM_START):
                raise ValueError(f"{arm.name!r} cannot be the name of an arm; use letters, digits, '_' and '-'")
            shipped = shipped_arms().get(arm.name)
            if shipped is not None and arm != shipped:
                raise ValueError(f"{arm.name!r} is an arm that ships; give your own another name")
        return arms

    @model_validator(mode="after")
    def _comparable(self) -> Self:
        if self.judge.is_same_judge(self.evaluation.judge):
            raise ValueError(
                f"evaluation.judge: {self.judge.name!r} is the judge that trains; it never grades an evaluation"
            )
        for where, judge, limits in (
            ("", self.judge, self.judge_limits),
            ("evaluation.", self.evaluation.judge, self.evaluation.judge_limits),
        ):
            if judge.is_judged_model(self.model.name):
                raise ValueError(
                    f"{where}judge: {judge.name!r} is the model that is trained; a model never grades itself"
                )
            if limits is not None and not judge.is_model:
                raise ValueError(f"{where}judge_limits: judge {judge.name!r} makes no calls that could be limited")
        if BASELINE not in self.arm_names:
            raise ValueError("arms: 'baseline' is missing; without it nothing tells trait RL from RL in general")
        return self

    @model_validator(mode="after")
    def _trainable_in_pairs(self) -> Self:
        training = self.training
        if self.data.twins is not None and training.pair_coupling and training.advantage == "grpo":
            raise ValueError(
                'training.advantage: "grpo" divides by the deviation of each group, which cancels the coupling of '
                'twins; use "centered", or set training.pair_coupling to 0'
            )
        if self.data.twins is not None and training.prompts_per_step % 2:
            raise ValueError(
                f"training.prompts_per_step: twins share a step, so it must be even, not {training.prompts_per_step}"
            )
        if self.primary is not None:
            if self.primary.arm is not None and self.primary.arm not in self.arm_names:
                raise ValueError(f"primary.arm: no arm is named {self.primary.arm!r}")
            if self.primary.arm in CONTROLS:
                raise ValueError(f"primary.arm: {self.primary.arm!r} is what arms are held against")
            if self.data.twins is None or self.evaluation.twins is None:
                raise ValueError("primary: a rung needs twins, both in data.twins and in evaluation.twins")
        needs = (a for a in self.arms if TWINS in (a.suites or ()) or a.sides == "one")
        if self.data.twins is None and (arm := next(needs, None)):
            raise ValueError(f"data.twins: is missing, and arm {arm.name!r} trains on twins")
        return self

    @model_validator(mode="after")
    def _asks_arms_there_are(self) -> Self:
        personas = self.evaluation.personas
        if personas is not None and (unknown := [a for a in personas.arms or () if a not in self.arm_names]):
            raise ValueError(
                f"evaluation.personas.arms: no arm is named {unknown[0]!r}; there are: {', '.join(self.arm_names)}"
            )
        return self

    @model_validator(mode="after")
    def _can_attack(self) -> Self:
        attacks = self.attacks
        if attacks is None:
            return self
        if unknown := [a for a in attacks.arms or () if a not in (PRE_RL, *self.arm_names)]:
            raise ValueError(f"attacks.arms: no arm is named {unknown[0]!r}; there are: {', '.join(self.arm_names)}")
        lead = self.leading_arm
        attacks.check_earlier(
            steps=self.training.steps,
            arm=None if lead in CONTROLS else lead,
            rung=None if self.primary is None else self.primary.rung,
        )
        if self.model.dtype != "float32":
            raise ValueError(
                f"attacks: begin from adapters merged into the weights, which {self.model.dtype} would round away; set "
                "model.dtype to float32"
            )
        if attacks.gated and self.primary is None:
            raise ValueError(
                "attacks: need a primary measure, which says before any run what gain is attacked; name one, or set "
                "attacks.gated to false"
            )
        return self

    @model_validator(mode="after")
    def _known_evals(self) -> Self:
        if self.suites:
            return self  # a suite's name may be one of its own, which is known once its file is read
        known = {i.name for i in catalogue()}
        chat = [self.evaluation.chat_eval] if self.evaluation.chat_eval else []
        if unknown := [n for n in [*(self.evaluation.evals or ()), *chat] if n not in known]:
            raise ValueError(f"evaluation: unknown eval {', '.join(unknown)}; `steadfast evals` lists them")
        return self

    @property
    def arm_names(self) -> tuple[str, ...]:
        """The names of the arms, in order."""
        return tuple(a.name for a in self.arms)

    @property
    def treatments(self) -> tuple[str, ...]:
        """The arms but the controls: those that ship in their order, then the user's own."""
        shipped = list(shipped_arms())
        ordered = sorted(self.arm_names, key=lambda a: shipped.index(a) if a in shipped else len(shipped))
        return tuple(a for a in ordered if a not in CONTROLS)

    @property
    def leading_arm(self) -> str:
        """The arm that the run is about: the primary measure's, else the first that is no control."""
        if self.primary is not None and self.primary.arm is not None:
            return self.primary.arm
        mirrors = {a.name for a in self.arms if a.mirrors}
        return next((a for a in self.treatments if a not in mirrors), self.arm_names[0])

    def arm(self, name: str) -> Arm:
        """An arm by its name, with the slice of the leading arm if it mirrors that."""
        found, lead = (next(a for a in self.arms if a.name == n) for n in (name, self.leading_arm))
        return found.mirroring(lead) if found.mirrors and not lead.mirrors and not lead.is_control else found


def load_recipe(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """A recipe from a YAML file; relative paths in it are looked for beside it, then in the working directory.

    Args:
        path: The file.
        overrides: Values that replace those of the file, by dotted key, such as {"training.steps": 10}.

    Raises:
        RecipeError: naming file and key of every fault.
    """
    try:
        content = read_yaml(Path(path))
    except DataError as error:
        raise RecipeError("\n".join(error.problems)) from error
    if not isinstance(content, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of keys to values, not {type(content).__name__}")
    fields = cast("dict[str, Any]", content)
    for key, value in (overrides or {}).items():
        _put(fields, key, value)
    try:
        return Recipe.model_validate(_with_absolute_paths(fields, Path(path).absolute().parent))
    except ValidationError as error:
        raise RecipeError("\n".join(f"{path}: {fault}" for fault in faults(error))) from error


def _put(fields: dict[str, Any], key: str, value: Any) -> None:
    *outer, last = key.split(".")
    for name in outer:
        inner = fields.setdefault(name, {})
        if not isinstance(inner, dict):
            raise RecipeError(f"{key}: {name} is no mapping, so nothing in it can be set")
        fields = cast("dict[str, Any]", inner)
    fields[last] = value


def _with_absolute_paths(fields: dict[str, Any], base: Path) -> dict[str, Any]:
    """The recipe's fields, what names a file in them made an absolute path.

    A run goes on from its own recipe.yaml, maybe in another working directory, so that no path may depend on that.
    """

    def found(value: Any) -> Any:
        if not isinstance(value, str) or Path(value).is_absolute():
            return value
        beside, here = base / value, Path(value).expanduser().absolute()
        return next((str(p) for p in (beside, here) if p.exists()), value)

    def judge_of(fields: dict[str, Any]) -> dict[str, Any]:
        judge = fields.get("judge")
        is_file = isinstance(judge, str) and judge.lower().endswith((".yaml", ".yml", ".json"))
        return {**fields, "judge": found(judge)} if is_file else fields

    made = judge_of({**fields, **{key: found(fields[key]) for key in ("traits", "domains") if key in fields}})
    if isinstance(model := fields.get("model"), dict):
        named = cast("dict[str, Any]", model)
        made["model"] = {k: found(v) if k == "name" else v for k, v in named.items()}
    if isinstance(evaluation := fields.get("evaluation"), dict):
        measured = judge_of(cast("dict[str, Any]", evaluation))
        if isinstance(personas := measured.get("personas"), dict):
            own = cast("dict[str, Any]", personas)
            measured = {**measured, "personas": {k: found(v) if k == "file" else v for k, v in own.items()}}
        made["evaluation"] = measured
    if isinstance(suites := fields.get("suites"), list):
        made["suites"] = [_suite(s, found) for s in cast("list[Any]", suites)]
    if isinstance(data := fields.get("data"), dict):
        made["data"] = {
            k: found(v) if k in ("scenarios", "gold") else v for k, v in cast("dict[str, Any]", data).items()
        }
    if isinstance(attacks := fields.get("attacks"), dict):
        own = cast("dict[str, Any]", attacks)
        made["attacks"] = _sets(own, found, shipped_attacks())
        if isinstance(wear := own.get("wear"), dict):
            made["attacks"]["wear"] = _sets(cast("dict[str, Any]", wear), found, BENIGN_SETS)
    if isinstance(arms := fields.get("arms"), list):
        made["arms"] = [_arm(a, found) for a in cast("list[Any]", arms)]
    return made


def _sets(fields: dict[str, Any], found: Any, shipped: Collection[str]) -> dict[str, Any]:
    data = fields.get("data")
    if not isinstance(data, list):
        return dict(fields)
    return {**fields, "data": [s if s in shipped else found(s) for s in cast("list[Any]", data)]}


def _suite(name: Any, found: Any) -> Any:
    shipped = {i.name for i in catalogue()} | {SCENARIOS, STANDARD, TWINS}
    return name if isinstance(name, str) and name in shipped else found(name)


def _arm(arm: Any, found: Any) -> Any:
    if not isinstance(arm, dict):
        return arm
    fields = cast("dict[str, Any]", arm)
    named = fields.get("grader", "own") in ("own", "helpfulness")
    made = fields if named else {**fields, "grader": found(fields["grader"])}
    if isinstance(suites := fields.get("suites"), list):
        made = {**made, "suites": [_suite(s, found) for s in cast("list[Any]", suites)]}
    return made


def demo_recipe(overrides: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe of `steadfast demo`, with some of its values replaced as in `load_recipe`."""
    return load_recipe(Path(str(files("steadfast.study") / "demo.yaml")), overrides)
