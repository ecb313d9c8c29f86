"""The model under test: weights in this process, whose likelihoods can be read, or one behind a provider."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import polars as pl
from inspect_ai.model import Model

from steadfast.errors import ModelNotFoundError
from steadfast.evals.api_model import evaluate_api, open_api_model
from steadfast.evals.local_model import local_model
from steadfast.evals.run import Measurement, evaluate
from steadfast.models.policy import load_adapter
from steadfast.models.prepack import prepack_frozen_linears
from steadfast.models.pretrained import LoadedModel, load_model

OnDone = Callable[[int], None]


class Subject(Protocol):
    """A model that can be measured.

    `name` stands in the results, `identity` decides whether two measurements are of the same model.
    """

    @property
    def name(self) -> str:
        """In the results' column `checkpoint`."""
        ...

    @property
    def identity(self) -> dict[str, Any]:
        """What tells it from other models."""
        ...

    def measure(self, measurement: Measurement, log_dir: Path, on_done: OnDone) -> pl.DataFrame:
        """The rows of a measurement; Inspect's logs go to `log_dir`."""
        ...

    def inspect_model(self) -> Model:
        """As Inspect's own tasks take it."""
        ...


@dataclass(frozen=True)
class LocalSubject:
    """Weights in this process."""

    name: str
    model: LoadedModel
    adapter: str | None
    max_new_tokens: int

    @property
    def identity(self) -> dict[str, Any]:
        """The hashes of weights and adapter: the same folder may hold others another day."""
        return {"weights": self.model.weights, "adapter": self.adapter}

    def measure(self, measurement: Measurement, log_dir: Path, on_done: OnDone) -> pl.DataFrame:
        """Likelihoods for `choice`, greedy answers for the rest."""
        return evaluate(self.name, self.model, measurement, log_dir, on_done)

    def inspect_model(self) -> Model:
        """Greedy answers, one at a time."""
        model, _ = local_model(
            f"steadfast/{self.name}",
            self.model.lm,
            self.model.tokenizer,
            style=None,
            max_new_tokens=self.max_new_tokens,
        )
        return model


@dataclass(frozen=True)
class ApiSubject:
    """A model behind a provider."""

    name: str
    model: Model

    @property
    def identity(self) -> dict[str, Any]:
        """Its name is all that is known of it."""
        return {"api": str(self.model)}

    def measure(self, measurement: Measurement, log_dir: Path, on_done: OnDone) -> pl.DataFrame:
        """Letters for `choice`, answers at temperature 0 for the rest."""
        return evaluate_api(self.name, self.model, measurement, log_dir, on_done)

    def inspect_model(self) -> Model:
        """Itself."""
        return self.model


def open_subject(model: str, adapter: Path | None, max_new_tokens: int) -> Subject:
    """Find a model by folder, hub name or "provider/model".

    A folder comes first, then a provider of Inspect's, then the hub. "hf/NAME" takes the hub's model where a provider
    has the name of its owner, such as "hf/google/gemma-3-270m-it".

    Args:
        model: which.
        adapter: folder of an adapter to merge into local weights.
        max_new_tokens: limit of its answers.

    Raises:
        ModelNotFoundError: not to be had, or an adapter for a model behind an API.
    """
    name = slug(model, adapter)
    local = model.removeprefix("hf/")
    if local == model and not Path(model).expanduser().is_dir():
        api = open_api_model(model, max_tokens=max_new_tokens)
        if api is not None and adapter is not None:
            raise ModelNotFoundError(f"--adapter goes with local weights; {model!r} is behind an API")
        if api is not None:
            return ApiSubject(name, api)
    loaded = load_model(local)
    if adapter is not None:
        loaded = replace(loaded, lm=load_adapter(loaded.lm, adapter))
    prepack_frozen_linears(loaded.lm.requires_grad_(False))
    return LocalSubject(name, loaded, _hash(adapter), max_new_tokens)


def slug(model: str, adapter: Path | None = None) -> str:
    """A model's name as a folder's."""
    path = Path(model).expanduser()
    base = path.resolve().name if path.is_dir() else model
    if adapter is not None:
        base += f"+{adapter.parent.name if adapter.name == 'adapter' else adapter.name}"
    return re.sub(r"[^\w.+-]+", "-", base).strip("-.") or "model"


def _hash(adapter: Path | None) -> str | None:
    if adapter is None:
        return None
    digest = hashlib.sha256()
    for file in sorted(f for f in adapter.iterdir() if f.suffix in (".json", ".safetensors", ".bin")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
