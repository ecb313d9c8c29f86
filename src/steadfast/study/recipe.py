"""A recipe: everything that decides a run, as one checked YAML file."""

import re
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from steadfast.errors import RecipeError
from steadfast.graders import JudgeConfig, JudgeField, Limits
from steadfast.models.pretrained import DEFAULT_MODEL
from steadfast.study.arms import ARMS
from steadfast.tasks.battery import battery
from steadfast.tasks.loading import faults
from steadfast.training.config import TrainingConfig

# PyYAML's constructors let errors of Python out as they are: a month 13, `!!bool abc`, brackets nested too deeply.
_YAML_FAULTS = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError)

_FOLDER_NAME = re.compile(r"\w([\w .+-]*[\w+-])?")


class ModelConfig(BaseModel):
    """The model to train.

    Attributes:
        name: a folder, or a name on the Hugging Face Hub.
        dtype: of its weights.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = DEFAULT_MODEL
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"


class DataConfig(BaseModel):
    """What it is trained on.

    Attributes:
        scenarios: a JSONL file of the user's; None for the corpus that ships.
        standard_prompts: distinct draws in the standard pool.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scenarios: Path | None = None
    standard_prompts: int = Field(default=2000, ge=2)


class EvaluationConfig(BaseModel):
    """What every checkpoint is measured on.

    Attributes:
        evals: names from `steadfast evals`; None for the whole battery.
        choice: score replies by likelihood.
        generation_items: items of each eval that the model also answers freely, graded and checked for refusals.
        chat_eval: harmless everyday requests, answered in full, for over-refusal; None to leave it out.
        trait_items: held-out scenarios answered freely; None for all.
        capability_items: held-out items of each standard task.
        max_new_tokens: limit of free answers.
        judge: grades free answers; another than the one that trains.
        judge_limits: what one session may spend on it, for a "provider/model"; no part of the run's protocol.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    evals: tuple[str, ...] | None = None
    choice: bool = True
    generation_items: int = Field(default=0, ge=0)
    chat_eval: str | None = "everyday-requests"
    trait_items: int | None = Field(default=None, ge=0)
    capability_items: int = Field(default=16, ge=0)
    max_new_tokens: int = Field(default=128, ge=2)
    judge: JudgeField = JudgeConfig.parse("embedded-plain")
    judge_limits: Limits | None = None

    @field_validator("evals", "chat_eval")
    @classmethod
    def _known(cls, value: tuple[str, ...] | str | None) -> tuple[str, ...] | str | None:
        known = {e.name for e in battery()}
        names = [] if value is None else [value] if isinstance(value, str) else value
        unknown = [n for n in names if n not in known]
        if unknown:
            raise ValueError(f"unknown eval {', '.join(unknown)}; `steadfast evals` lists them")
        return value


class Recipe(BaseModel):
    """A run.

    Attributes:
        name: of the run, and of its folder in runs/.
        about: a sentence for the report.
        seed: of everything random.
        arms: to train, in order; the pre-RL model is always measured, and "baseline" is what arms are compared with.
        share: of the arm's slice in its prompts; the paper's is 0.05.
        judge: that rewards the trait slice.
        judge_limits: what one session may spend on it, for a "provider/model"; no part of the run's protocol.
        model: to train.
        data: to train on.
        training: how.
        evaluation: of every checkpoint.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(min_length=1, max_length=100)
    about: str = ""
    seed: int = Field(default=0, ge=0, lt=2**63)
    arms: tuple[str, ...] = ("baseline", "trait")
    share: float = Field(default=0.05, ge=0, le=1)
    judge: JudgeField = JudgeConfig.parse("embedded")
    judge_limits: Limits | None = None
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str) -> str:
        if not _FOLDER_NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} cannot be the name of the run's folder; use letters, digits, '_', and between them '-', "
                "'+', '.' and spaces"
            )
        return name

    @field_validator("arms")
    @classmethod
    def _known_arms(cls, arms: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [a for a in arms if a not in ARMS]
        if unknown:
            raise ValueError(f"unknown arm {', '.join(unknown)}; known: {', '.join(ARMS)}")
        if len(set(arms)) < len(arms):
            raise ValueError(f"{next(a for a in arms if arms.count(a) > 1)!r} stands there twice")
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
        if "baseline" not in self.arms:
            raise ValueError("arms: 'baseline' is missing; without it nothing tells trait RL from RL in general")
        return self


def load_recipe(path: str | Path) -> Recipe:
    """A recipe from a YAML file.

    Raises:
        RecipeError: naming file and key of every fault.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    try:
        content, twice = _read_yaml(text)
    except _YAML_FAULTS as error:
        raise RecipeError(f"{path}: not valid YAML: {error}") from error
    if twice:
        raise RecipeError("\n".join(f"{path}:{fault}" for fault in twice))
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError("\n".join(f"{path}: {fault}" for fault in faults(error))) from error


class _Loader(yaml.SafeLoader):
    """PyYAML's, which keeps the last of two equal keys without a word; here they are remembered as faults."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.twice: list[str] = []

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """The node, its keys looked at as they were written: before merges and aliases."""
        node = super().compose_mapping_node(anchor)
        first: dict[tuple[str, Any], yaml.Node] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and (before := first.setdefault((key.tag, key.value), key)) is not key:
                here, there = key.start_mark.line + 1, before.start_mark.line + 1
                self.twice.append(f"{here}: {key.value}: is already on line {there}; keep one of them")
        return node


def _read_yaml(text: str) -> tuple[Any, list[str]]:
    """A document, and its keys that stand twice as `line: key: what is wrong`."""
    loader = _Loader(text)
    try:
        return loader.get_single_data(), loader.twice
    finally:
        loader.dispose()


def demo_recipe() -> Recipe:
    """The recipe of `steadfast demo`."""
    return load_recipe(Path(str(files("steadfast.study") / "demo.yaml")))
