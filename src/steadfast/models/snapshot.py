"""Checks of a model's files before they are loaded, and of the model afterwards.

A file that is at fault is named before transformers reads it: a configuration that lies about sizes would otherwise
first fill the memory, and a damaged file would be told by its reader's innermost error.
"""

import json
import re
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from steadfast.errors import ModelLoadError
from steadfast.models.boundary import reason
from steadfast.models.hub import missing_model_files, shards

_LAYER = re.compile(r"\.(?:layers|h|blocks|block|layer)\.(\d+)\.")
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def check_snapshot(folder: Path) -> None:
    """Check that a folder holds a whole model whose files can be read and agree on its size.

    Raises:
        ModelLoadError: naming the file and what to do.
    """
    if (folder / "adapter_config.json").is_file():
        raise ModelLoadError(
            f"{folder} holds an adapter: give the model that it was trained on as --model and this folder as --adapter"
        )
    if missing := missing_model_files(folder):
        pickled = [f.name for f in sorted(folder.iterdir()) if f.suffix in _PICKLED]
        if pickled and any(m.endswith(".safetensors") for m in missing):
            raise ModelLoadError(
                f"{folder} holds pickled weights ({pickled[0]}), which are not read because they can run code: "
                "save the model as safetensors with transformers' save_pretrained"
            )
        raise ModelLoadError(f"{folder} holds no whole model: {', '.join(missing)} missing. Fetch or save it again")
    for file in sorted(folder.glob("*.json")):
        if file.name in ("config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json"):
            read_object(file)
    shapes = weight_shapes(folder)
    _check_sizes(read_object(folder / "config.json"), shapes, folder)


def read_object(file: Path) -> dict[str, Any]:
    """A JSON object out of a file.

    Raises:
        ModelLoadError: the file cannot be read, or holds something else.
    """
    try:
        value: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelLoadError(f"{file} cannot be read as JSON ({reason(error)}): fetch or save it again") from error
    if not isinstance(value, dict):
        raise ModelLoadError(f"{file} holds a {type(value).__name__} where an object is expected: fetch it again")
    return value  # type: ignore[return-value]


def weight_shapes(folder: Path) -> dict[str, list[int]]:
    """The shape of each tensor in a model's safetensors files, read from their headers.

    Raises:
        ModelLoadError: a file is cut off or no safetensors file.
    """
    single = folder / "model.safetensors"
    files = [single] if single.is_file() else [folder / s for s in shards(folder / "model.safetensors.index.json")]
    shapes: dict[str, list[int]] = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as opened:
                shapes.update({key: list(opened.get_slice(key).get_shape()) for key in opened.keys()})  # noqa: SIM118
        except (SafetensorError, OSError, ValueError) as error:
            raise ModelLoadError(
                f"{file} is cut off or no safetensors file ({reason(error)}): fetch or save it again"
            ) from error
    return shapes


def _check_sizes(config: dict[str, Any], shapes: dict[str, list[int]], folder: Path) -> None:
    """Refuse a configuration that calls for far more weights than there are: they would be made up at random."""
    text = config.get("text_config") if isinstance(config.get("text_config"), dict) else config
    assert isinstance(text, dict)
    held = max((prod(s) for s in shapes.values()), default=0)
    sizes = {k: text.get(k) for k in ("hidden_size", "intermediate_size", "vocab_size", "num_hidden_layers", "n_layer")}
    wrong = {k: v for k, v in sizes.items() if v is not None and (type(v) is not int or v < 1)}
    if wrong and not isinstance(text.get("intermediate_size"), list):
        raise ModelLoadError(f"{folder / 'config.json'} says {_said(wrong)}, which is no size: fetch it again")
    largest = {k: v for k, v in sizes.items() if isinstance(v, int) and "layer" not in k and v > max(held, 1)}
    if largest:
        raise ModelLoadError(
            f"{folder / 'config.json'} says {_said(largest)}, but the largest tensor of the weights has {held} numbers: "
            "config.json is of another model; fetch or save both again"
        )
    layers = sizes["num_hidden_layers"] or sizes["n_layer"]
    indices = [int(m.group(1)) for m in map(_LAYER.search, shapes) if m]
    if isinstance(layers, int) and indices and layers > max(indices) + 1:
        raise ModelLoadError(
            f"{folder / 'config.json'} says {_said({'num_hidden_layers': layers})}, but the weights hold "
            f"{max(indices) + 1} layers: config.json is of another model; fetch or save both again"
        )


def _said(fields: dict[str, Any]) -> str:
    return ", ".join(f"{k} {v!r}" for k, v in fields.items())


def embedding_rows(lm: PreTrainedModel) -> int | None:
    """How many tokens the model knows: the rows of its input embedding; None where it keeps none as a matrix."""
    weight: Any = getattr(lm.get_input_embeddings(), "weight", None)
    return int(weight.shape[0]) if isinstance(weight, torch.Tensor) and weight.dim() == 2 else None


def check_loaded(lm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Check that a loaded model's weights are numbers and that it knows all tokens of its tokenizer.

    Raises:
        ModelLoadError: naming the tensor or the token.
    """
    for name, tensor in [*lm.named_parameters(), *lm.named_buffers()]:
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelLoadError(
                f"the weights in {folder} are not finite: {name} holds NaN or infinity. Fetch or save the model again"
                + (" or load it as float32" if tensor.dtype == torch.float16 else "")
            )
    rows = embedding_rows(lm)
    tokens: dict[str, int] = tokenizer.get_vocab()
    highest = max(tokens.items(), key=lambda t: t[1], default=("", -1))
    if rows is not None and highest[1] >= rows:
        raise ModelLoadError(
            f"the tokenizer in {folder} has token {highest[0]!r} with id {highest[1]}, but the model's embedding has "
            f"{rows} rows: resize the embedding, or take the tokenizer that the model was saved with"
        )
    if not tokenizer.encode("Hello", add_special_tokens=False):
        raise ModelLoadError(f"the tokenizer in {folder} turns text into no tokens: fetch or save it again")
