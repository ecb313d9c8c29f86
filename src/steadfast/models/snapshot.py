"""Check a model's files before they are loaded, and the model afterwards.

A file that is at fault is named before transformers reads it: a configuration that lies about sizes would otherwise
first fill the memory, and a damaged file would be told by its reader's innermost error.
"""

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from steadfast.errors import ModelLoadError
from steadfast.models.boundary import reason
from steadfast.models.hub import missing_model_files, shards

_LAYER = re.compile(r"\.(?:layers|h|blocks|block|layer)\.(\d+)\.")
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def check_snapshot(folder: Path) -> None:
    """Check that a folder holds a whole model whose files can be read and agree on its size.

    Raises:
        ModelLoadError: A file is missing or at fault; the message names it and says what to do.
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
    shapes = {name: shape for name, (shape, _) in tensor_headers(folder).items()}
    _check_sizes(read_object(folder / "config.json"), shapes, folder)


def read_object(file: Path) -> dict[str, Any]:
    """Read a JSON object out of a file.

    Raises:
        ModelLoadError: The file cannot be read, or holds something else.
    """
    try:
        value: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelLoadError(f"{file} cannot be read as JSON ({reason(error)}): fetch or save it again") from error
    if not isinstance(value, dict):
        raise ModelLoadError(f"{file} holds {json.dumps(value)[:30]} where an object is expected: fetch it again")
    return value  # type: ignore[return-value]


def tensor_headers(folder: Path) -> dict[str, tuple[list[int], str]]:
    """Return each tensor's shape and type, as safetensors call it, read from the headers of a model's files.

    Raises:
        ModelLoadError: A file is cut off or no safetensors file.
    """
    single = folder / "model.safetensors"
    files = [single] if single.is_file() else [folder / s for s in shards(folder / "model.safetensors.index.json")]
    found: dict[str, tuple[list[int], str]] = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as opened:
                slices = {key: opened.get_slice(key) for key in opened.keys()}  # noqa: SIM118 - no mapping
                found.update({key: (list(s.get_shape()), str(s.get_dtype())) for key, s in slices.items()})
        except (SafetensorError, OSError, ValueError) as error:
            raise ModelLoadError(
                f"{file} is cut off or no safetensors file ({reason(error)}): fetch or save it again"
            ) from error
    return found


def _check_sizes(config: dict[str, Any], shapes: dict[str, list[int]], folder: Path) -> None:
    """Refuse a configuration that calls for far more weights than there are: they would be made up at random."""
    text = config.get("text_config") if isinstance(config.get("text_config"), dict) else config
    assert isinstance(text, dict)
    dimensions = {d for s in shapes.values() for d in s}
    sizes = {k: text.get(k) for k in ("hidden_size", "vocab_size", "num_hidden_layers", "n_layer")}
    if wrong := {k: v for k, v in sizes.items() if v is not None and (type(v) is not int or v < 1)}:
        raise ModelLoadError(f"{folder / 'config.json'} says {_shown(wrong)}, which is no size: fetch it again")
    hidden, vocabulary = sizes["hidden_size"], sizes["vocab_size"]
    if hidden and hidden not in dimensions:
        raise ModelLoadError(_mismatch(folder, {"hidden_size": hidden}, "no tensor of the weights has that dimension"))
    if vocabulary and vocabulary > max(dimensions, default=0):
        largest = f"the largest dimension of the weights is {max(dimensions, default=0)}"
        raise ModelLoadError(_mismatch(folder, {"vocab_size": vocabulary}, largest))
    layers = sizes["num_hidden_layers"] or sizes["n_layer"]
    indices = [int(m.group(1)) for m in map(_LAYER.search, shapes) if m]
    if isinstance(layers, int) and indices and layers > max(indices) + 1:
        held = f"the weights hold {max(indices) + 1} layers"
        raise ModelLoadError(_mismatch(folder, {"num_hidden_layers": layers}, held))


def _mismatch(folder: Path, fields: dict[str, Any], but: str) -> str:
    return (
        f"{folder / 'config.json'} says {_shown(fields)}, but {but}: "
        "config.json is of another model; fetch or save both again"
    )


def _shown(fields: dict[str, Any]) -> str:
    return ", ".join(f"{k} {v!r}" for k, v in fields.items())


def embedding_rows(lm: PreTrainedModel) -> int | None:
    """Return how many tokens the model knows, the rows of its input embedding; None if it keeps none as a matrix."""
    weight: Any = getattr(lm.get_input_embeddings(), "weight", None)
    return int(weight.shape[0]) if isinstance(weight, torch.Tensor) and weight.dim() == 2 else None


def context_length(config: PretrainedConfig) -> int | None:
    """How many tokens a model reads here; None where its config names no number.

    A model with long rotary embeddings (Phi-3 with 128k) turns all its tokens otherwise as soon as one lies beyond the
    length it was first trained on. Neither a cache nor a row of several replies can follow, so it is read up to there.
    """
    text: Any = config.get_text_config()
    lengths = [getattr(text, "max_position_embeddings", None), *_short_rope_lengths(text)]
    return min((n for n in lengths if isinstance(n, int) and n > 0), default=None)


def _short_rope_lengths(text_config: Any) -> list[Any]:
    found: Any = getattr(text_config, "rope_parameters", None)
    given: list[Any] = [found, *found.values()] if isinstance(found, dict) else []
    ropes = [r for r in given if isinstance(r, dict) and r.get("rope_type") == "longrope"]
    return [r.get("original_max_position_embeddings") for r in ropes]


def check_loaded(lm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Check that a loaded model's weights are numbers and that it knows the tokens of its tokenizer.

    Special tokens may lie beyond the embedding, as transformers adds some to tokenizers that never write them; a prompt
    that does is refused when it is rendered.

    Raises:
        ModelLoadError: A tensor or a token is at fault, which is named.
    """
    for name, tensor in [*lm.named_parameters(), *lm.named_buffers()]:
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelLoadError(
                f"the weights in {folder} are not finite: {name} holds NaN or infinity. Fetch or save the model again"
                + (" or load it as float32" if tensor.dtype == torch.float16 else "")
            )
    quantized = getattr(lm.config, "quantization_config", None) is not None
    if quantized and getattr(lm, "hf_quantizer", None) is None:
        raise ModelLoadError(f"the model in {folder} is quantized in a way that this transformers does not know")
    parameters = dict(lm.named_parameters())
    for name, (_, kind) in tensor_headers(folder).items():
        if not quantized and name in parameters and not kind.startswith(("F", "BF")):
            raise ModelLoadError(f"the weights in {folder} are no numbers with a fraction: {name} is of type {kind}")
    rows = embedding_rows(lm)
    special = set(tokenizer.all_special_tokens)
    beyond = sorted((i, t) for t, i in tokenizer.get_vocab().items() if rows is not None and i >= rows)
    if ordinary := [(i, t) for i, t in beyond if t not in special]:
        raise ModelLoadError(
            f"the tokenizer in {folder} has token {ordinary[0][1]!r} with id {ordinary[0][0]}, but the model's "
            f"embedding has {rows} rows: resize the embedding, or take the tokenizer that the model was saved with"
        )
    if not tokenizer.encode("Hello", add_special_tokens=False):
        raise ModelLoadError(f"the tokenizer in {folder} turns text into no tokens: fetch or save it again")
