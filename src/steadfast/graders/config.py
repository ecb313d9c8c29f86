"""A judge is described by data in recipes, in files and on the command line.

    {kind: embedded, head: true}
    {kind: llm, model: openai/gpt-4o, structured: true, repairs: 2, limits: {max_calls: 500}}
    {kind: custom, path: my_package.my_module:MyJudge, args: {strict: true}}

Each has a short spelling for its common form: `embedded`, `embedded-plain`, `openai/gpt-4o`,
`openai/gpt-4o,structured=false`, `my_package.my_module:MyJudge`; and each can stand in a YAML or JSON file of its own.
"""

import re
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializationInfo,
    TypeAdapter,
    ValidationError,
    field_validator,
)

from steadfast.errors import DataError, JudgeError
from steadfast.strict_files import read_yaml

UNSTRUCTURED = ",structured=false"
"""After a language model's name this demands no JSON schema, for providers that take none."""

_SPELLINGS = (
    "'embedded', 'embedded-plain', 'provider/model' (openai/..., anthropic/..., vllm/..., ollama/..., hf/...), "
    "'package.module:Class' for your own, a YAML or JSON file, or a mapping with a kind: embedded, llm or custom"
)
_FILES = (".yaml", ".yml", ".json")
_SECRET_ARGUMENT = re.compile(r"(?:^|_)(?:api_?key|key|token|secret|password)$", re.IGNORECASE)


class Limits(BaseModel):
    """What a judge may cost. None of it changes a grade, so none of it is part of the protocol.

    Attributes:
        max_calls: The judge makes at most so many calls over its life, repairs included; None sets no limit.
        max_tokens: It makes no further call once it has sent and received so many tokens; calls that are already
            under way are finished. None sets no limit.
        max_connections: It makes at most so many calls at one time.
        max_retries: It repeats a call that failed at the provider (rate limit, server error, timeout) so often.
        seconds: It waits so long for one attempt. None means 120, and longer where a server or weights must load first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_calls: int | None = Field(default=None, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_connections: int = Field(default=10, ge=1, le=1000)
    max_retries: int = Field(default=5, ge=0, le=100)
    seconds: int | None = Field(default=None, ge=1, le=86_400)


class JudgeConfig(BaseModel):
    """A judge as data. Each kind of judge has its own subclass below."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    is_model: ClassVar[bool] = False
    """Whether the judge is a language model, whose calls can be limited and may cost something."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name under which files and reports know the judge."""

    @property
    def spelling(self) -> str:
        """The short form that `parse` reads; it leaves out settings other than a structured reply."""
        return self.name

    def is_same_judge(self, other: "JudgeConfig") -> bool:
        """Whether both are one judge. Two configs of one language model are, whatever their other settings."""
        return self == other

    def is_judged_model(self, model: str) -> bool:
        """Whether the judge is the model under test, by whichever provider the same weights are served.

        Args:
            model: A folder, a name on the hub, or "provider/model".
        """
        return False

    @staticmethod
    def parse(given: "str | Mapping[str, Any] | AnyJudgeConfig") -> "AnyJudgeConfig":
        """Read a judge's config from what a recipe, a file or the command line says.

        Args:
            given: A short spelling, the path of a YAML or JSON file, a mapping with a `kind`, or a config.

        Raises:
            JudgeError: It is no judge's config; the message names the fault by file and field.
        """
        if isinstance(given, EmbeddedConfig | LLMConfig | CustomConfig):
            return given
        if isinstance(given, str):
            if given.lower().endswith(_FILES):
                return _validated(_read(Path(given)), f"judge {given!r}")
            return _from_spelling(given)
        return _validated(given, "judge")


class EmbeddedConfig(JudgeConfig):
    """The judge that compares sentence embeddings and needs no network.

    Attributes:
        head: Whether the judge uses its fitted stance head; without it, it uses plain embeddings only.
    """

    kind: Literal["embedded"] = "embedded"
    head: bool = True

    @property
    def name(self) -> str:
        """The judge is called "embedded", or "embedded-plain" without the head."""
        return "embedded" if self.head else "embedded-plain"

    @property
    def model(self) -> None:
        """The judge uses no language model."""


class LLMConfig(JudgeConfig):
    """A language model that judges, behind any provider that Inspect knows.

    Attributes:
        model: The model's name, "provider/model", as Inspect spells it; "hf/NAME_OR_PATH" is a local one.
        structured: Whether the provider holds the model to a JSON schema. The reply is read as strictly without one.
        repairs: An unreadable reply is handed back to the model at most so often.
        max_output_tokens: A reply has at most so many tokens, a reasoning model's thinking included. None means 4096,
            or 1024 for "hf".
        limits: What the judge may cost.
        args: The provider's own arguments (see Inspect). They are part of the protocol, so keys have no place here.
    """

    is_model: ClassVar[bool] = True

    kind: Literal["llm"] = "llm"
    model: str = Field(pattern=r"^[^/\s]+/\S")
    structured: bool = True
    repairs: int = Field(default=2, ge=0, le=10)
    max_output_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    limits: Limits = Limits()
    args: dict[str, Any] = Field(default_factory=dict[str, Any])

    @field_validator("args")
    @classmethod
    def _no_keys(cls, args: dict[str, Any]) -> dict[str, Any]:
        if secret := next((name for name in args if _SECRET_ARGUMENT.search(name)), None):
            raise ValueError(f"{secret!r} would be written to files; set the provider's environment variable instead")
        return args

    @property
    def name(self) -> str:
        """The judge is called by its model's name, "provider/model"."""
        return self.model

    @property
    def spelling(self) -> str:
        """The short form is the model's name, with ",structured=false" where no schema is demanded."""
        return self.model if self.structured else self.model + UNSTRUCTURED

    def is_same_judge(self, other: JudgeConfig) -> bool:
        """Whether the other is the same language model, whatever its other settings."""
        return isinstance(other, LLMConfig) and other.model == self.model

    def is_judged_model(self, model: str) -> bool:
        """Whether the judge is the model under test, by whichever provider the same weights are served."""
        own = self.model.partition("/")[2]
        others = {model, model.removeprefix("hf/")}
        return self.model in others or own in others or any(_is_same_folder(own, other) for other in others)


class CustomConfig(JudgeConfig):
    """A judge of the user's own.

    Attributes:
        path: The place of a class, "package.module:Class". The class has `name`, `settings` and `grade` as
            `steadfast.graders.Judge` has them.
        args: The keyword arguments that the class is called with.
    """

    kind: Literal["custom"] = "custom"
    path: str = Field(pattern=r"^[\w.]+:[\w.]+$")
    args: dict[str, Any] = Field(default_factory=dict[str, Any])

    @property
    def name(self) -> str:
        """The config is called by its path; the judge has a name of its own once it is made."""
        return self.path

    @property
    def model(self) -> None:
        """Steadfast knows of no language model in it."""


AnyJudgeConfig = EmbeddedConfig | LLMConfig | CustomConfig
_CONFIG_ADAPTER: TypeAdapter[AnyJudgeConfig] = TypeAdapter(Annotated[AnyJudgeConfig, Field(discriminator="kind")])


def _parsed_field(given: Any) -> AnyJudgeConfig:
    """Read a recipe's field. Its fault is raised as a ValueError, which pydantic reports under the field's name."""
    try:
        return JudgeConfig.parse(given)
    except JudgeError as error:
        raise ValueError(str(error)) from error


WITHOUT_COST = {"without": "cost"}
"""The pydantic context in which a recipe is written for its protocol's hash. It omits limits, which change no grade."""


def _serialized(config: AnyJudgeConfig, info: SerializationInfo) -> str | dict[str, Any]:
    """Write the short spelling where it says everything, and the whole config where it does not."""
    if isinstance(config, LLMConfig) and info.context == WITHOUT_COST:
        config = config.model_copy(update={"limits": Limits()})
    try:
        if JudgeConfig.parse(config.spelling) == config:
            return config.spelling
    except JudgeError:
        pass
    return config.model_dump(mode="json")


JudgeField = Annotated[AnyJudgeConfig, BeforeValidator(_parsed_field), PlainSerializer(_serialized)]
"""A judge as a field of a recipe: every spelling is read, and the shortest that says all is written."""


def _is_same_folder(one: str, other: str) -> bool:
    try:
        return Path(one).samefile(other)
    except (OSError, ValueError):  # no such path, or none that could be
        return False


def _from_spelling(name: str) -> AnyJudgeConfig:
    if name in ("embedded", "embedded-plain"):
        return EmbeddedConfig(head=name == "embedded")
    where = f"judge {name!r}"
    if "/" in name:
        model, structured = name.removesuffix(UNSTRUCTURED), not name.endswith(UNSTRUCTURED)
        return _validated({"kind": "llm", "model": model, "structured": structured}, where)
    if ":" in name:
        return _validated({"kind": "custom", "path": name}, where)
    raise JudgeError(f"unknown judge {name!r}; use {_SPELLINGS}")


def _validated(given: Any, where: str) -> AnyJudgeConfig:
    try:
        return _CONFIG_ADAPTER.validate_python(given)
    except ValidationError as error:
        raise JudgeError("; ".join(f"{where}: {fault}" for fault in _faults(error))) from error


def _faults(error: ValidationError) -> list[str]:
    """Give each fault with its field's path. The path's first part, pydantic's name of the kind, is left out."""
    lines: list[str] = []
    for detail in error.errors():
        path = ".".join(str(part) for part in detail["loc"][1:])
        match detail["type"]:
            case "extra_forbidden":
                message = "unknown field"
            case "union_tag_not_found" | "union_tag_invalid" | "model_attributes_type":
                message = f"a judge is {_SPELLINGS}"
            case "string_pattern_mismatch":
                wanted = "'package.module:Class'" if path == "path" else "'provider/model': it names no model"
                message = f"{detail['input']!r} is not {wanted}"
            case _:
                message = detail["msg"].removeprefix("Value error, ")
        lines.append(f"{path}: {message}" if path else message)
    return lines


def _read(path: Path) -> Any:
    """Read a judge's file. JSON is YAML too, so one parser reads both."""
    try:
        return read_yaml(path)
    except DataError as error:
        raise JudgeError(f"judge {str(path)!r}: {'; '.join(error.problems)}") from error
