"""How likely a model finds given replies: a prompt's candidates share its prefill, rows of like length a batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from steadfast.models.forward import token_logprobs
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


@torch.no_grad()
def score_candidates(
    lm: PreTrainedModel,
    requests: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]],
    *,
    on_done: Callable[[], None] | None = None,
    batch_tokens: int = _BATCH_TOKENS,
) -> list[list[CandidateScore]]:
    """Scores of each request's candidates.

    Args:
        lm: the model.
        requests: (prompt tokens, candidates' tokens) each; a request is one packed row.
        on_done: called after each request.
        batch_tokens: tokens of a batch of rows of like length; 1 takes the rows one by one.
    """
    packs = [pack(prompt, candidates) for prompt, candidates in requests]
    results: dict[int, list[CandidateScore]] = {}
    for batch in _batches([p.input_ids_T.numel() for p in packs], batch_tokens):
        for index, logprobs_N in zip(batch, _logprobs(lm, [packs[i] for i in batch]), strict=True):
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


def _logprobs(lm: PreTrainedModel, packs: Sequence[Pack]) -> list[Tensor]:
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
    logits_BKV: Tensor = lm(
        input_ids=ids_BT.to(lm.device),
        position_ids=positions_BT.to(lm.device),
        attention_mask=torch.where(mask_BTT.to(lm.device), zero, torch.finfo(lm.dtype).min)[:, None],
        logits_to_keep=torch.arange(first, total, device=lm.device),
        use_cache=False,
    ).logits
    return [
        token_logprobs(logits_BKV[row, (predictor_N - first).to(lm.device)], packed.target_N)
        for row, (packed, predictor_N) in enumerate(zip(packs, predictors, strict=True))
    ]
