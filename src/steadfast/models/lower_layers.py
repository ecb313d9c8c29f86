"""Keep what the layers below all adapters make of a batch, since the checkpoints of a run share it."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from steadfast.models.forward import can_start_at, captured_input, decoder_of, layers_from, logits_at
from steadfast.models.interventions import fingerprint_below

KEPT_BYTES = 2_000_000_000
"""How much the processes of a run may keep of what is measured, all together, and a quarter more for attacks."""


class LowerLayers:
    """This keeps what the layers below all adapters make of each batch, from one checkpoint for the next.

    The checkpoints of a run whose adapters lie in the top layers share everything below: the first one that is measured
    computes it, and the others start there. What is kept goes by a hash of the weights that made it, so that it serves
    no model whose lower layers differ.

    Args:
        first_layer: The lowest layer that may differ between the checkpoints.
        limit: How many bytes are kept at most; batches beyond that are computed whole each time.
    """

    def __init__(self, first_layer: int, limit: int = KEPT_BYTES) -> None:
        self.first_layer = first_layer
        self._room = limit
        self._kept: dict[bytes, tuple[Tensor, ...]] = {}
        self._fits: dict[bytes, bool] = {}

    def of(self, lm: PreTrainedModel) -> "KeptLowerLayers | None":
        """Return the store for a model as its weights are now, or None if the model cannot be started at a layer."""
        identity = _hash_below(lm, self.first_layer)
        if identity not in self._fits:
            self._fits[identity] = can_start_at(lm, self.first_layer)
        return KeptLowerLayers(self, identity) if self._fits[identity] else None

    def get(self, key: bytes) -> tuple[Tensor, ...] | None:
        """Return what is kept under a key."""
        return self._kept.get(key)

    def keep(self, key: bytes, tensors: tuple[Tensor, ...]) -> None:
        """Keep what a batch became, while there is room."""
        size = sum(t.numel() * t.element_size() for t in tensors)
        if size <= self._room:
            self._room -= size
            self._kept[key] = tuple(t.cpu() for t in tensors)


@dataclass(frozen=True)
class KeptLowerLayers:
    """This holds what is kept of the models whose lower layers have one hash."""

    store: LowerLayers
    identity: bytes

    @property
    def first_layer(self) -> int:
        """The layer at which a model is started."""
        return self.store.first_layer

    def key(self, lm: PreTrainedModel, purpose: str, ids_BT: Tensor, visible_BTT: Tensor) -> bytes:
        """Return the key of a batch, by its tokens and what each of them may look at; what is kept differs by purpose.

        The tokens alone would not do: rows of two different trees can hold the same ones in the same order. What
        interventions do to the lower layers while the batch is read belongs to the key too.
        """
        changed = fingerprint_below(lm, self.first_layer)
        beginning = self.identity + changed + f"{purpose}{tuple(ids_BT.shape)}".encode()
        ids, visible = ids_BT.cpu().numpy(), np.packbits(visible_BTT.cpu().numpy())
        return hashlib.sha256(beginning + ids.tobytes() + visible.tobytes()).digest()

    def logits(
        self, lm: PreTrainedModel, keep: Tensor, ids_BT: Tensor, visible_BTT: Tensor, **arguments: Any
    ) -> Tensor:
        """Return the model's logits at the places `keep`, by the short way if the batch was seen before."""
        key = self.key(lm, "score", ids_BT, visible_BTT)
        if (kept := self.store.get(key)) is not None:
            with layers_from(lm, self.first_layer):
                return logits_at(lm, keep, inputs_embeds=kept[0].to(lm.device), **arguments)
        with captured_input(lm, self.first_layer) as captured:
            logits = logits_at(lm, keep, input_ids=ids_BT.to(lm.device), **arguments)
        self.store.keep(key, (captured[0],))
        return logits

    @torch.no_grad()
    def entering(self, lm: PreTrainedModel, ids_S: Tensor) -> Tensor:
        """Return what enters the first layer for one sequence [S, D], which is read alone, whatever it is packed with.

        So it is the same bit for bit whether it was kept or is computed now.
        """
        ids_1S = ids_S[None]
        key = self.key(lm, "entering", ids_1S, torch.ones(1, dtype=torch.bool))
        if (kept := self.store.get(key)) is None:
            with layers_from(lm, 0, self.first_layer + 1), captured_input(lm, self.first_layer) as captured:
                decoder_of(lm)(input_ids=ids_1S.to(lm.device), use_cache=False)
            kept = (captured[0],)
            self.store.keep(key, kept)
        return kept[0][0].to(lm.device)  # what is kept lies in the memory of the CPU


def _hash_below(lm: PreTrainedModel, first_layer: int) -> bytes:
    """Return a hash of the config and of every weight outside the layers from `first_layer` on.

    It is taken anew for each set of requests: weights change in place when an adapter is merged, and leave no trace.
    """
    digest = hashlib.sha256()
    config = {k: v for k, v in lm.config.to_dict().items() if k != "_name_or_path"}
    digest.update(json.dumps(config, sort_keys=True, default=str).encode())
    layers: Any = getattr(lm.get_decoder(), "layers", [])
    above = {id(t) for layer in layers[first_layer:] for t in _tensors(layer)}
    for tensor in _tensors(lm):
        if id(tensor) not in above:
            digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.digest()


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]
