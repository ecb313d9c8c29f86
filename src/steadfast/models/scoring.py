"""Score how likely a model finds given replies: candidates share their prompt's prefill, and rows are batched."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from steadfast.errors import UnsupportedModelError
from steadfast.models.agreement import ModelPath, path_of
from steadfast.models.forward import logits_at, rows_of, token_logprobs, unpacked_logits
from steadfast.models.lower_layers import KeptLowerLayers, LowerLayers
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


def batches_by_length(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
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
    lm: PreTrainedModel, packs: Sequence[Pack], batch_tokens: int, lower: KeptLowerLayers | None
) -> Iterator[tuple[int, Tensor]]:
    """Yield each request's place and the log-probabilities [N] of its candidates' tokens; a request is a row."""
    for batch in batches_by_length([p.input_ids_T.numel() for p in packs], batch_tokens):
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
    for batch in batches_by_length([row.numel() for row in rows], batch_tokens):
        logits = unpacked_logits(lm, [rows[i] for i in batch], [predictors[i] for i in batch])
        for i, logits_NV in zip(batch, logits, strict=True):
            index, place = of_row[i]
            waiting[index][place] = token_logprobs(logits_NV, targets[i])
            if len(waiting[index]) == len(packs[index].places):
                done, waiting[index] = waiting[index], {}
                yield index, torch.cat([done[k] for k in sorted(done)])


def _batch_logprobs(lm: PreTrainedModel, packs: Sequence[Pack], lower: KeptLowerLayers | None) -> list[Tensor]:
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
        logits_BKV = lower.logits(lm, keep, ids_BT, mask_BTT, **arguments)
    return [
        token_logprobs(logits_BKV[row, (predictor_N - first).to(lm.device)], packed.target_N)
        for row, (packed, predictor_N) in enumerate(zip(packs, predictors, strict=True))
    ]
