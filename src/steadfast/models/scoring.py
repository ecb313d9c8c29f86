"""Score how likely a model finds given replies: candidates share their prompt's prefill, and rows are batched."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from steadfast.errors import UnsupportedModelError
from steadfast.models.agreement import ModelPath, path_of
from steadfast.models.forward import (
    can_start_at,
    captured_input,
    layers_from,
    logits_at,
    rows_of,
    token_logprobs,
    unpacked_logits,
)
from steadfast.models.masks import attention_masks
from steadfast.models.packing import Pack, pack

_BATCH_TOKENS = 768
"""A batch has at most this many tokens, padding included: more gains no speed on a CPU and costs memory for logits."""
_LONGEST_PADDING = 0.15
"""At most this share of a row may be padding."""


@dataclass(frozen=True)
class CandidateScore:
    """This is the log-likelihood of a reply.

    Attributes:
        logprobs: The log-probability of each of its tokens, in nats.
    """

    logprobs: tuple[float, ...]

    @property
    def logprob(self) -> float:
        """The sum over the tokens, in nats."""
        return math.fsum(self.logprobs)

    @property
    def tokens(self) -> int:
        """The number of tokens."""
        return len(self.logprobs)

    @property
    def per_token(self) -> float:
        """The mean log-likelihood of a token in nats, so that longer replies are not punished for their length."""
        return self.logprob / self.tokens


class LowerLayers:
    """This keeps what the layers below all adapters make of each batch, from one checkpoint for the next.

    The checkpoints of a run whose adapters lie in the top layers share everything below: the first one that is scored
    computes it, and the others start there. What is kept goes by a hash of the weights that made it, so that it serves
    no model whose lower layers differ.

    Args:
        first_layer: The lowest layer that may differ between the checkpoints.
        limit: How many bytes are kept at most; batches beyond that are computed whole each time.
    """

    def __init__(self, first_layer: int, limit: int = 2_000_000_000) -> None:
        self.first_layer = first_layer
        self._room = limit
        self._kept: dict[bytes, Tensor] = {}
        self._fits: dict[bytes, bool] = {}

    def of(self, lm: PreTrainedModel) -> "_BatchesOfModel | None":
        """Return the store for a model as its weights are now, or None if the model cannot be started at a layer."""
        identity = _hash_below(lm, self.first_layer)
        if identity not in self._fits:
            self._fits[identity] = can_start_at(lm, self.first_layer)
        return _BatchesOfModel(self, identity) if self._fits[identity] else None

    def get(self, key: bytes) -> Tensor | None:
        """Return what is kept under a key."""
        return self._kept.get(key)

    def keep(self, key: bytes, hidden: Tensor) -> None:
        """Keep what a batch became, while there is room."""
        size = hidden.numel() * hidden.element_size()
        if size <= self._room:
            self._room -= size
            self._kept[key] = hidden.cpu()


@dataclass(frozen=True)
class _BatchesOfModel:
    """This holds the kept batches of the models whose lower layers have one hash."""

    store: LowerLayers
    identity: bytes

    def logits(self, lm: PreTrainedModel, keep: Tensor, ids_BT: Tensor, **arguments: Any) -> Tensor:
        """Return the model's logits at the places `keep`, by the short way if the batch was seen before."""
        seen = torch.stack([ids_BT.cpu(), arguments["position_ids"].cpu()])
        key = hashlib.sha256(self.identity + repr(seen.shape).encode() + seen.numpy().tobytes()).digest()
        if (hidden := self.store.get(key)) is not None:
            with layers_from(lm, self.store.first_layer):
                return logits_at(lm, keep, inputs_embeds=hidden.to(lm.device), **arguments)
        with captured_input(lm, self.store.first_layer) as captured:
            logits = logits_at(lm, keep, input_ids=ids_BT.to(lm.device), **arguments)
        self.store.keep(key, captured[0])
        return logits


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


@torch.no_grad()
def score_candidates(
    lm: PreTrainedModel,
    requests: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]],
    *,
    on_done: Callable[[], None] | None = None,
    batch_tokens: int = _BATCH_TOKENS,
    lower_layers: LowerLayers | None = None,
    path: ModelPath | None = None,
) -> list[list[CandidateScore]]:
    """Score each request's candidates.

    Args:
        lm: The model.
        requests: A prompt's tokens and its candidates' tokens for each request, which is one packed row.
        on_done: A function that is called after each request.
        batch_tokens: The number of tokens in a batch of rows of like length; 1 takes the rows one by one.
        lower_layers: A store that is shared with the other checkpoints of a run, for the same requests.
        path: The path to take; None takes the one that `agreement.path_of` has found right for this model. On the
            unpacked one, each candidate with its prompt is a row, and lower layers are not shared.

    Raises:
        ValueError: A prompt or a candidate is empty.
        UnsupportedModelError: No path gives this model's own log-probabilities, or a reply's is not finite.
    """
    packs = [pack(prompt, candidates) for prompt, candidates in requests]
    if not packs:
        return []
    if (path or path_of(lm)) == "packed":
        lower = None if lower_layers is None else lower_layers.of(lm)
        scored = _packed(lm, packs, batch_tokens, lower)
    else:
        scored = _unpacked(lm, packs, batch_tokens)
    results: dict[int, list[CandidateScore]] = {}
    for index, logprobs_N in scored:
        parts = logprobs_N.split(packs[index].lengths)
        results[index] = [CandidateScore(tuple(p.tolist())) for p in parts]
        if not all(math.isfinite(score.logprob) for score in results[index]):
            raise UnsupportedModelError(
                f"{type(lm).__name__} gives a reply a log-probability that is not finite: its weights are damaged, "
                f"or {lm.dtype} is too narrow for them"
            )
        if on_done is not None:
            on_done()
    return [results[i] for i in range(len(packs))]


def _batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Group rows by length, and cut where a batch would grow too large or its shortest row be padded too far."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        batch, longest = batches[-1] if batches else [], lengths[index]
        fits = batch and (len(batch) + 1) * longest <= batch_tokens
        if fits and longest - lengths[batch[0]] <= _LONGEST_PADDING * longest:
            batch.append(index)
        else:
            batches.append([index])
    return batches


def _packed(
    lm: PreTrainedModel, packs: Sequence[Pack], batch_tokens: int, lower: _BatchesOfModel | None
) -> Iterator[tuple[int, Tensor]]:
    """Yield each request's place and the log-probabilities [N] of its candidates' tokens; a request is a row."""
    for batch in _batches([p.input_ids_T.numel() for p in packs], batch_tokens):
        yield from zip(batch, _batch_logprobs(lm, [packs[i] for i in batch], lower), strict=True)


def _unpacked(lm: PreTrainedModel, packs: Sequence[Pack], batch_tokens: int) -> Iterator[tuple[int, Tensor]]:
    """Yield the same, with each candidate and its prompt as a row."""
    of_row = [(index, place) for index, p in enumerate(packs) for place in range(len(p.places))]
    rows: list[Tensor] = []
    predictors: list[Tensor] = []
    targets: list[Tensor] = []
    for packed in packs:
        own_rows, own_predictors = rows_of(packed)
        rows.extend(own_rows)
        predictors.extend(own_predictors)
        targets.extend(packed.target_N.split(packed.lengths))
    waiting: list[dict[int, Tensor]] = [{} for _ in packs]
    for batch in _batches([row.numel() for row in rows], batch_tokens):
        logits = unpacked_logits(lm, [rows[i] for i in batch], [predictors[i] for i in batch])
        for i, logits_NV in zip(batch, logits, strict=True):
            index, place = of_row[i]
            waiting[index][place] = token_logprobs(logits_NV, targets[i])
            if len(waiting[index]) == len(packs[index].places):
                done, waiting[index] = waiting[index], {}
                yield index, torch.cat([done[k] for k in sorted(done)])


def _batch_logprobs(lm: PreTrainedModel, packs: Sequence[Pack], lower: _BatchesOfModel | None) -> list[Tensor]:
    """Return the log-probabilities [N] of each row's completion tokens; rows are padded on the left to a common end."""
    total, rows = max(p.input_ids_T.numel() for p in packs), len(packs)
    ids_BT = torch.zeros(rows, total, dtype=torch.long)
    positions_BT = torch.zeros(rows, total, dtype=torch.long)
    # Padding sees itself, since a row of nothing but masked places would be NaN.
    mask_BTT = torch.eye(total, dtype=torch.bool).repeat(rows, 1, 1)
    predictors: list[Tensor] = []
    for row, packed in enumerate(packs):
        start = total - packed.input_ids_T.numel()
        ids_BT[row, start:] = packed.input_ids_T
        positions_BT[row, start:] = packed.position_ids_T
        mask_BTT[row, start:, start:] = packed.mask_TT
        predictors.append(packed.predictor_N + start)
    # Completions stand at the rows' ends: past the first place that predicts one, all go through the vocabulary.
    first = min(int(p.min()) for p in predictors)
    keep, positions_BT = torch.arange(first, total, device=lm.device), positions_BT.to(lm.device)
    arguments: dict[str, Any] = {
        "position_ids": positions_BT,
        "attention_mask": attention_masks(lm, mask_BTT.to(lm.device), positions_BT, positions_BT),
        "use_cache": False,
    }
    if lower is None:
        logits_BKV = logits_at(lm, keep, input_ids=ids_BT.to(lm.device), **arguments)
    else:
        logits_BKV = lower.logits(lm, keep, ids_BT, **arguments)
    return [
        token_logprobs(logits_BKV[row, (predictor_N - first).to(lm.device)], packed.target_N)
        for row, (packed, predictor_N) in enumerate(zip(packs, predictors, strict=True))
    ]
