"""Compute the log-probabilities of packed completions, from the token ids or from cached hidden states.

When only the top layers carry an adapter, the layers below are the same for every policy of a run: their output,
once computed by the rollout, serves the training pass, the reference pass and every further epoch. `hidden_TD`
with `first_layer` starts the model at that layer.

Models that cannot read a packed row (see `agreement`) take each of its sequences as a row of its own.
"""

import inspect
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from steadfast.errors import UnsupportedModelError
from steadfast.models.agreement import ModelPath, path_of
from steadfast.models.masks import attention_masks, narrowed_windows, text_config
from steadfast.models.packing import Pack, pack


def decoder_of(lm: PreTrainedModel) -> Any:
    """Return the stack of decoder layers inside a causal LM.

    Raises:
        UnsupportedModelError: The model keeps its layers elsewhere than in `get_decoder().layers`.
    """
    decoder = lm.get_decoder()
    if not isinstance(getattr(decoder, "layers", None), nn.ModuleList):
        raise UnsupportedModelError(
            f"{type(lm).__name__} keeps its decoder layers under another name than `layers`, so no adapter can be put "
            "on them: it can be sampled from and scored, but not trained"
        )
    return decoder


@contextmanager
def layers_from(lm: PreTrainedModel, first_layer: int, end: int | None = None) -> Generator[None]:
    """Within this context the model consists of its layers from `first_layer` on, each with its own layer type.

    Args:
        lm: The model.
        first_layer: The first layer that stays.
        end: The first layer that is left out again; None leaves none out.
    """
    decoder, config = decoder_of(lm), text_config(lm)
    layers, layer_types = decoder.layers, getattr(config, "layer_types", None)
    decoder.layers = nn.ModuleList(list(layers)[first_layer:end])
    if layer_types is not None:
        config.layer_types = list(layer_types)[first_layer:end]
    try:
        yield
    finally:
        decoder.layers = layers
        if layer_types is not None:
            config.layer_types = layer_types


@contextmanager
def captured_input(lm: PreTrainedModel, layer: int) -> Generator[list[Tensor]]:
    """Within this context, collect what enters decoder layer `layer`: a tensor [batch, time, hidden] for each pass.

    Raises:
        UnsupportedModelError: The model has no list of decoder layers, or no path gives its own log-probabilities.
    """
    path_of(lm)  # a model that was not checked yet is checked now: the check's passes must not be collected
    captured: list[Tensor] = []

    def keep(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden = args[0] if args else kwargs["hidden_states"]
        captured.append(cast(Tensor, hidden).detach())

    handle = decoder_of(lm).layers[layer].register_forward_pre_hook(keep, with_kwargs=True)
    try:
        yield captured
    finally:
        handle.remove()


def completion_logprobs(
    lm: PreTrainedModel,
    packed: Pack,
    *,
    temperature: float = 1.0,
    hidden_TD: Tensor | None = None,
    first_layer: int = 0,
    path: ModelPath | None = None,
) -> Tensor:
    """Return the log-probabilities [N] of a pack's trained tokens at a temperature, in float32 nats.

    No other position reaches the vocabulary, and one that predicts tokens of several sequences does so once.

    Args:
        lm: The model.
        packed: The sequences.
        temperature: The logits are divided by it.
        hidden_TD: What enters layer `first_layer` for the packed row, [T, D]; a model that is not packed does not use
            it.
        first_layer: The layer to start at if `hidden_TD` is given.
        path: The path to take; None takes the one that `agreement.path_of` has found right for this model.

    Raises:
        UnsupportedModelError: No path gives this model's own log-probabilities.
    """
    if (path or path_of(lm)) == "unpacked":
        return token_logprobs(torch.cat(unpacked_logits(lm, *rows_of(packed))), packed.target_N, temperature)
    device = lm.device
    positions_1T = packed.position_ids_T.to(device)[None]
    shared: dict[str, Any] = {
        "attention_mask": attention_masks(lm, packed.mask_TT.to(device)[None], positions_1T, positions_1T),
        "position_ids": positions_1T,
        "use_cache": False,
    }
    # The places that predict something, each once, and which of them predicts each token.
    keep_U, place_N = packed.predictor_N.to(device).unique(return_inverse=True)
    if hidden_TD is None:
        logits_UV = logits_at(lm, keep_U, input_ids=packed.input_ids_T.to(device)[None], **shared)[0]
    else:
        with layers_from(lm, first_layer):
            logits_UV = logits_at(lm, keep_U, inputs_embeds=hidden_TD[None].to(lm.dtype), **shared)[0]
    scaled_UV = _at_temperature(logits_UV, temperature)
    return scaled_UV[place_N, packed.target_N.to(device)] - scaled_UV.logsumexp(-1)[place_N]


def logits_at(lm: PreTrainedModel, keep: Tensor, **arguments: Any) -> Tensor:
    """Return the logits [batch, places, V] at the places `keep`; a model that can computes no others."""
    if "logits_to_keep" in inspect.signature(lm.forward).parameters:
        return lm(**arguments, logits_to_keep=keep).logits
    return lm(**arguments).logits[:, keep]


def rows_of(packed: Pack) -> tuple[list[Tensor], list[Tensor]]:
    """Return the token ids of each sequence of a pack, and the places in them that predict its trained tokens."""
    rows = [packed.input_ids_T[places] for places in packed.places]
    # A token's position is its place within its own sequence.
    return rows, list(packed.position_ids_T[packed.predictor_N].split(packed.lengths))


def unpacked_logits(lm: PreTrainedModel, rows: Sequence[Tensor], predictors: Sequence[Tensor]) -> list[Tensor]:
    """Return the logits [N, V] at the predicting places of each row; every sequence is a row of its own.

    The rows are padded on the right: what comes after a token cannot reach it, neither by attention nor by any state
    that a layer carries along the row. So the model needs no mask, and takes its own positions.
    """
    ids_BT = nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    first = min(int(places.min()) for places in predictors)
    keep = torch.arange(first, max(int(places.max()) for places in predictors) + 1, device=lm.device)
    logits_BKV = logits_at(lm, keep, input_ids=ids_BT.to(lm.device), use_cache=False)
    return [logits_BKV[row, (places - first).to(lm.device)] for row, places in enumerate(predictors)]


@torch.no_grad()
def can_start_at(lm: PreTrainedModel, first_layer: int) -> bool:
    """Return whether this model gives the same logits when it is started from a layer's input.

    Models that rescale their embeddings inside the decoder do not, and neither do those that are not packed: they
    take the whole pass instead.
    """
    lm.eval()
    if path_of(lm) == "unpacked":
        return False
    packed = pack([1, 2, 3, 4, 5, 6], [[5, 6, 7, 8, 9], [8, 9]])
    with narrowed_windows(lm, 4):
        try:
            with captured_input(lm, first_layer) as captured:
                whole = completion_logprobs(lm, packed)
            short = completion_logprobs(lm, packed, hidden_TD=captured[0][0], first_layer=first_layer)
        except Exception:  # an architecture that cannot be cut raises whatever it likes
            return False
    return torch.allclose(whole, short, atol=1e-3)


def token_logprobs(logits_NV: Tensor, target_N: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the log-probability [N] of each target under its logits at a temperature, in float32 nats."""
    scaled = _at_temperature(logits_NV, temperature)
    # cross_entropy is log-softmax and its gradient in one kernel each: a vocabulary-sized pass less than logsumexp.
    return -functional.cross_entropy(scaled, target_N.to(scaled.device), reduction="none")


def _at_temperature(logits: Tensor, temperature: float) -> Tensor:
    return logits.float() if temperature == 1.0 else logits.float() / temperature
