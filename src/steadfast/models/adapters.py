"""Read a saved LoRA adapter, apply it to a model in full or not at all, and take it off again."""

from collections import Counter
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, TypeGuard

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from steadfast.errors import ModelLoadError
from steadfast.models.boundary import loading, quiet
from steadfast.models.prepack import prepack_frozen_linears
from steadfast.models.snapshot import read_object

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

_NEUTRAL_INITIALISATIONS = (True, False, None, "gaussian", "eva", "orthogonal")
"""These initialisations leave the base's weights as they are; PiSSA, OLoRA, CorDA and LoftQ change the base as well."""


@dataclass(frozen=True)
class SavedAdapter:
    """This is a LoRA adapter as it lies in a folder.

    Attributes:
        directory: The folder that holds the adapter's two files.
        config: The adapter's configuration, as PEFT reads it.
        tensors: The adapter's tensors by their names in the file.
        modules: The number of the model's modules that the adapter changes.
        base: The model that the adapter says it was trained on; it is empty if the adapter says nothing.
    """

    directory: Path
    config: LoraConfig
    tensors: dict[str, Tensor]
    modules: int
    base: str

    def check_base(self, lm: PreTrainedModel) -> None:
        """See that the adapter is one of this model, as far as their names tell.

        Raises:
            ModelLoadError: The adapter says that it was trained on a model of another name.
        """
        here = str(lm.config.name_or_path or "")
        if self.base and here and not _same_name(self.base, here):
            raise ModelLoadError(
                f"the adapter in {self.directory} says that it was trained on {self.base}, and this model is {here}. "
                "Apply it to its own base; if the model only goes by another name now, write that name under "
                f"base_model_name_or_path in the adapter's {_CONFIG}"
            )


def read_adapter(directory: Path) -> SavedAdapter:
    """Read a saved adapter and check it as far as that can be done without its model.

    Raises:
        ModelLoadError: The adapter is missing, damaged, pickled, no LoRA, or of a kind that changes more than LoRA
            matrices.
    """
    if not (directory / _CONFIG).is_file():
        raise ModelLoadError(f"{directory} holds no adapter ({_CONFIG} is missing)")
    raw = read_object(directory / _CONFIG)
    if raw.get("peft_type") != "LORA":
        raise ModelLoadError(
            f"the adapter in {directory} is no LoRA but {raw.get('peft_type')!r}; only LoRA is applied"
        )
    if not (directory / _WEIGHTS).is_file():
        pickled = (directory / "adapter_model.bin").is_file()
        raise ModelLoadError(
            f"{directory} holds no {_WEIGHTS}: "
            + ("its weights are pickled and are not read because they can run code; " if pickled else "")
            + "save the adapter with PEFT's save_pretrained"
        )
    with loading("the adapter", directory), quiet():
        config: Any = LoraConfig.from_pretrained(str(directory))
        tensors = load_file(directory / _WEIGHTS)
    _check_kind(config, directory)
    for name, tensor in tensors.items():
        # As float32: torch cannot tell of a type of eight bits whether it is finite.
        if not tensor.is_floating_point() or not bool(torch.isfinite(tensor.float()).all()):
            raise ModelLoadError(
                f"the adapter in {directory} is damaged: {name} holds NaN, infinity or no floating-point numbers"
            )
    modules = sum(".lora_A" in n or ".lora_embedding_A" in n for n in tensors)
    if not modules:
        raise ModelLoadError(f"the adapter in {directory} holds no LoRA matrices: save it again")
    base: Any = config.base_model_name_or_path
    return SavedAdapter(directory, config, tensors, modules, base if isinstance(base, str) else "")


@contextmanager
def applied(lm: PreTrainedModel, directory: Path) -> Generator[SavedAdapter]:
    """Within this context a saved adapter is applied to the model; afterwards the model is what it was, bit for bit.

    In float32 the adapter is merged into the weights. In other types it stays beside them in float32, since the
    rounding of the merged sum would take away a good part of its change. The same holds where it changes weights that
    two modules share.

    Args:
        lm: The model. It may be prepacked, and is then prepacked with the adapter too.
        directory: The folder of the adapter.

    Raises:
        ModelLoadError: The adapter is damaged or does not fit the model in full; the model is left as it was.
    """
    adapter = read_adapter(directory)
    adapter.check_base(lm)
    before = Undo(lm)
    merge = _merges(lm, adapter)
    try:
        if merge:
            before.detach_weights(_touched(lm, adapter.tensors))
        _inject(lm, adapter, merge=merge)
        if before.was_packed:
            prepack_frozen_linears(lm)
        yield adapter
    finally:
        before.restore()


class Undo:
    """This keeps what a model's modules, weights and flags are now, to bring them back whatever is done to the model.

    PEFT puts modules of its own in the place of the model's, merges in place and leaves marks. All that is undone here
    by keeping the objects themselves, so that nothing depends on how PEFT takes its adapters off.
    """

    def __init__(self, lm: PreTrainedModel) -> None:
        self.lm = lm
        modules = list(lm.modules())
        self._children = [(m, dict(m._modules)) for m in modules]  # pyright: ignore[reportPrivateUsage]
        self._forwards = [(m, m.__dict__.get("forward")) for m in modules]
        self._flags = [(p, p.requires_grad) for p in lm.parameters()]
        self._attributes = set(lm.__dict__)
        self._tied: Any = getattr(lm.config, "tie_word_embeddings", None)
        self._training = [(m, m.training) for m in modules]
        self._weights: list[tuple[nn.Parameter, Tensor]] = []

    @property
    def was_packed(self) -> bool:
        """Whether linear layers had a packed forward pass when this was made."""
        return any(forward is not None and isinstance(m, nn.Linear) for m, forward in self._forwards)

    def detach_weights(self, modules: list[nn.Module]) -> None:
        """Give modules a copy of their weights that may change, and the plain forward pass, which reads the copy."""
        for module in modules:
            module.__dict__.pop("forward", None)
            for parameter in module.parameters():
                if not any(parameter is known for known, _ in self._weights):
                    self._weights.append((parameter, parameter.data))
                    parameter.data = parameter.data.clone()

    def restore(self) -> None:
        """Bring back all that was kept."""
        for module, children in self._children:
            module._modules.clear()  # pyright: ignore[reportPrivateUsage]
            module._modules.update(children)  # pyright: ignore[reportPrivateUsage]
        for parameter, data in self._weights:
            parameter.data = data
        for module, forward in self._forwards:
            if forward is not None:
                module.forward = forward
            else:
                module.__dict__.pop("forward", None)
        for parameter, flag in self._flags:
            parameter.requires_grad_(flag)
            parameter.grad = None
        for module, training in self._training:
            module.training = training
        for name in set(self.lm.__dict__) - self._attributes:
            delattr(self.lm, name)
        if self._tied is not None:
            self.lm.config.tie_word_embeddings = self._tied


def _inject(lm: PreTrainedModel, adapter: SavedAdapter, *, merge: bool) -> None:
    """Put an adapter's modules and tensors into a model.

    Raises:
        ModelLoadError: A part of the adapter has no place in the model, or the adapter lacks a part.
    """
    directory = adapter.directory
    with loading("the adapter", directory), quiet():
        adapter.config.inference_mode = True
        model: Any = get_peft_model(lm, adapter.config)
        expected = set(get_peft_model_state_dict(model))
        _check_fit(expected, set(adapter.tensors), directory)
        set_peft_model_state_dict(model, adapter.tensors)
        lm.eval()
        if merge:
            model.merge_and_unload()
        lm.requires_grad_(False)


def _check_fit(expected: set[str], found: set[str], directory: Path) -> None:
    without_place, missing = sorted(found - expected), sorted(expected - found)
    if without_place:
        raise ModelLoadError(
            f"the adapter in {directory} does not fit this model: {len(without_place)} of its {len(found)} tensors "
            f"have no place in it, such as {without_place[0]}. Apply it to the model that it was trained on"
        )
    if missing:
        raise ModelLoadError(
            f"the adapter in {directory} is not whole: {len(missing)} of {len(expected)} tensors that its config "
            f"calls for are missing, such as {missing[0]}. Save it again, or apply it to its own model"
        )


def _merges(lm: PreTrainedModel, adapter: SavedAdapter) -> bool:
    """Whether merging gives what the adapter gives beside the weights: not where it is rounded, nor in tied weights.

    A matrix that is both the embedding and the output layer would carry the change of the one into the other.
    """
    if lm.dtype not in (torch.float32, torch.float64):
        return False
    owners = Counter(id(p) for m in lm.modules() for p in m.parameters(recurse=False))
    return all(owners[id(p)] == 1 for m in _touched(lm, adapter.tensors) for p in m.parameters(recurse=False))


def _touched(lm: PreTrainedModel, tensors: Iterable[str]) -> list[nn.Module]:
    """Return the modules of a model that an adapter's tensors belong to."""
    modules = dict(lm.named_modules())
    names = {t.removeprefix("base_model.model.").split(".lora_")[0] for t in tensors}
    return [modules[n] for n in sorted({*names, *(n.rpartition(".")[0] for n in names)}) if _is_leaf(modules.get(n))]


def _is_leaf(module: nn.Module | None) -> TypeGuard[nn.Module]:
    return module is not None and not list(module.children())


def _check_kind(config: Any, directory: Path) -> None:
    faults = {
        "trains biases": getattr(config, "bias", "none") != "none",
        "changes the weights of the base when it is applied": config.init_lora_weights not in _NEUTRAL_INITIALISATIONS,
        "needs Megatron": getattr(config, "megatron_config", None) is not None,
        "trains single tokens": getattr(config, "trainable_token_indices", None) is not None,
        "targets single parameters": bool(getattr(config, "target_parameters", None)),
        "targets no modules": not config.target_modules,
        "is scaled by no finite number": not _is_finite(config.lora_alpha),
        f"is for another task ({config.task_type})": config.task_type not in ("CAUSAL_LM", None),
    }
    for words, wrong in faults.items():
        if wrong:
            raise ModelLoadError(
                f"the adapter in {directory} {words}, which is not supported: use a plain LoRA adapter"
            )


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and isfinite(value)


def _same_name(one: str, other: str) -> bool:
    """Return whether two names may be of one model: they are equal, end alike, or are a hub's name and its cache."""
    last = [n.rstrip("/").rsplit("/", 1)[-1] for n in (one, other)]
    cached = [f"models--{n.replace('/', '--')}/" for n in (one, other)]
    return last[0] == last[1] or cached[0] in other or cached[1] in one
