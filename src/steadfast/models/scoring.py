"""How likely a model finds given replies: a prompt's candidates share its prefill, rows of like length a batch."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from steadfast.models.forward import can_start_at, captured_input, layers_from, token_logprobs
from steadfast.models.packing import Pack, pack

_BATCH_TOKENS = 768
"""Tokens of a batch, padding included: more gains no speed on a CPU and costs memory for logits."""
_LONGEST_PADDING = 0.15
"""Share of a row that may be padding."""


@dataclass(frozen=True)
class CandidateScore:
    """Log-likelihood of a reply: the sum over its tokens in nats, and their number."""

    logprob: float
    tokens: int

    @property
    def per_token(self) -> float:
        """Mean log-likelihood of a token, so that longer replies are not punished for their length."""
        return self.logprob / self.tokens


class LowerLayers:
    """What the layers that no adapter touches make of each batch, kept from one checkpoint for the next.

    The checkpoints of a run whose adapters lie in the top layers share everything below: the first one scored
    computes it, the others start there.

    Args:
        first_layer: the lowest layer that may differ between the checkpoints.
        limit: bytes to keep at most; batches beyond it are computed whole each time.
    """

    def __init__(self, first_layer: int, limit: int = 2_000_000_000) -> None:
        self.first_layer = first_layer
        self._room = limit
        self._kept: dict[bytes, Tensor] = {}
        self._fits: bool | None = None

    def logits(self, lm: PreTrainedModel, ids_BT: Tensor, **arguments: Any) -> Tensor:
        """The model's logits, by the short way where the batch was seen before."""
        if self._fits is None:
            self._fits = can_start_at(lm, self.first_layer)
        seen = torch.stack([ids_BT.cpu(), arguments["position_ids"].cpu()])
        key = hashlib.sha256(repr(seen.shape).encode() + seen.numpy().tobytes()).digest()
        if (hidden := self._kept.get(key)) is not None:
            with layers_from(lm, self.first_layer):
                return lm(inputs_embeds=hidden.to(lm.device), **arguments).logits
        if not self._fits:
            return lm(input_ids=ids_BT.to(lm.device), **arguments).logits
        with captured_input(lm, self.first_layer) as captured:
            logits = lm(input_ids=ids_BT.to(lm.device), **arguments).logits
        size = captured[0].numel() * captured[0].element_size()
        if size <= self._room:
            self._room -= size
            self._kept[key] = captured[0].cpu()
        return logits


@torch.no_grad()
def score_candidates(
    lm: PreTrainedModel,
    requests: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]],
    *,
    on_done: Callable[[], None] | None = None,
    batch_tokens: int = _BATCH_TOKENS,
    lower_layers: LowerLayers | None = None,
) -> list[list[CandidateScore]]:
    """Scores of each request's candidates.

    Args:
        lm: the model.
        requests: (prompt tokens, candidates' tokens) each; a request is one packed row.
        on_done: called after each request.
        batch_tokens: tokens of a batch of rows of like length; 1 takes the rows one by one.
        lower_layers: shared with the other checkpoints of a run, for the same requests.
    """
    packs = [pack(prompt, candidates) for prompt, candidates in requests]
    results: dict[int, list[CandidateScore]] = {}
    for batch in _batches([p.input_ids_T.numel() for p in packs], batch_tokens):
        for index, logprobs_N in zip(batch, _logprobs(lm, [packs[i] for i in batch], lower_layers), strict=True):
            parts = logprobs_N.split(packs[index].lengths)
            results[index] = [CandidateScore(float(p.sum()), p.numel()) for p in parts]
            if on_done is not None:
                on_done()
    return [results[i] for i in range(len(packs))]


def _batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Rows by length, cut where a batch would grow too large or its shortest row be padded too far."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        batch, longest = batches[-1] if batches else [], lengths[index]
        fits = batch and (len(batch) + 1) * longest <= batch_tokens
        if fits and longest - lengths[batch[0]] <= _LONGEST_PADDING * longest:
            batch.append(index)
        else:
            batches.append([index])
    return batches


def _logprobs(lm: PreTrainedModel, packs: Sequence[Pack], lower_layers: LowerLayers | None) -> list[Tensor]:
    """Log-probabilities [N] of each row's completion tokens, the rows padded on the left to a common end."""
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
    zero = torch.zeros((), dtype=lm.dtype, device=lm.device)
    arguments: dict[str, Any] = {
        "position_ids": positions_BT.to(lm.device),
        "attention_mask": torch.where(mask_BTT.to(lm.device), zero, torch.finfo(lm.dtype).min)[:, None],
        "logits_to_keep": torch.arange(first, total, device=lm.device),
        "use_cache": False,
    }
    if lower_layers is None:
        logits_BKV: Tensor = lm(input_ids=ids_BT.to(lm.device), **arguments).logits
    else:
        logits_BKV = lower_layers.logits(lm, ids_BT, **arguments)
    return [
        token_logprobs(logits_BKV[row, (predictor_N - first).to(lm.device)], packed.target_N)
        for row, (packed, predictor_N) in enumerate(zip(packs, predictors, strict=True))
    ]
