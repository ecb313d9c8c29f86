"""Sample groups of completions: what prompts begin with is read once, and rows that finish leave the batch.

Randomness is a table of uniform numbers drawn ahead, one for each completion and step, which are turned into tokens by
the inverse of the cumulative distribution. So what a row samples depends on its own numbers alone, and not on which
rows still run.

Array suffixes: B stands for rows (prompts x group), T for time, D for features, and V for the vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from steadfast.models.agreement import ModelPath, agreement_of, path_of
from steadfast.models.decoding import CachedDecoder, Decoder, PackedDecoder, RecomputingDecoder
from steadfast.models.lower_layers import KeptLowerLayers
from steadfast.models.prefill import prefill

_COMPACT_BELOW = 0.8
"""The batch is compacted if a smaller share of its rows is live: the copy then pays for itself within a few tokens."""


@dataclass(frozen=True)
class Completion:
    """A completion is one sampled continuation of a prompt.

    Attributes:
        token_ids: The sampled tokens, with the end-of-turn token if it was sampled.
        logprobs_T: The log-probability in nats of each token under the distribution that it was sampled from.
        entropies_T: The entropy in nats of the distribution that each token was drawn from.
        finished: Whether the model ended its turn within the limit; otherwise the completion is truncated.
    """

    token_ids: list[int]
    logprobs_T: Tensor
    entropies_T: Tensor
    finished: bool


@dataclass(frozen=True)
class Group:
    """A group is a prompt with its completions; `hidden_TD` is what entered the captured layer for their packed row."""

    prompt: list[int]
    completions: list[Completion]
    hidden_TD: Tensor | None


@torch.no_grad()
def sample_groups(
    lm: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    group_size: int,
    max_new_tokens: int | Sequence[int],
    eos_token_ids: Sequence[int],
    temperature: float = 1.0,
    seed: int = 0,
    capture_layer: int | None = None,
    lower_layers: KeptLowerLayers | None = None,
    path: ModelPath | None = None,
    cached: bool | None = None,
) -> list[Group]:
    """Sample `group_size` completions for each prompt.

    Args:
        lm: The policy, with its adapter active.
        prompts: The token ids of each prompt.
        group_size: The number of completions of each prompt.
        max_new_tokens: The limit of a completion in tokens, for all prompts or for each.
        eos_token_ids: The ids of the tokens that end a turn.
        temperature: The temperature of the sampling; 0 takes the likeliest token.
        seed: The seed of the table of uniform numbers.
        capture_layer: A decoder layer of which what enters it is kept, for `forward.completion_logits`; on the unpacked
            path nothing is kept.
        lower_layers: What other checkpoints made of the same prompts below their adapters; not used on the unpacked
            path.
        path: The path to take; None takes the one that `agreement.path_of` has found right for this model.
        cached: Whether the unpacked path uses the model's own cache; None takes what was found right.

    Raises:
        ValueError: A prompt is empty, or the limits do not match the prompts.
        UnsupportedModelError: No path gives this model's own log-probabilities.
    """
    limits = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else list(max_new_tokens)
    if len(limits) != len(prompts) or any(not p for p in prompts) or min(limits, default=1) < 1:
        raise ValueError("each prompt needs at least one token and a limit of at least one new token")
    if not prompts:
        return []
    path = path or path_of(lm)
    generator = torch.Generator().manual_seed(seed)
    uniforms_BT = torch.rand(len(prompts) * group_size, max(limits), generator=generator).to(lm.device)
    draw = _Draw(uniforms_BT, [n for n in limits for _ in range(group_size)], set(eos_token_ids), temperature)
    was_training = lm.training
    lm.eval()
    try:
        if path == "packed":
            return _packed(lm, prompts, group_size, draw, capture_layer, lower_layers)
        keeps_cache = cached if cached is not None else agreement_of(lm).cached
        return _unpacked(lm, prompts, group_size, draw, CachedDecoder if keeps_cache else RecomputingDecoder)
    finally:
        lm.train(was_training)


@dataclass(frozen=True)
class _Draw:
    """How tokens are drawn: by a uniform number for each row and step, until the row's limit or the end of its turn."""

    uniforms_BT: Tensor
    limits: list[int]
    eos: set[int]
    temperature: float


def _choose(logits_BV: Tensor, uniforms_B: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    """Choose a token for each row; return the tokens, their log-probabilities and the entropies, each [B]."""
    scaled = logits_BV.float() / (temperature or 1.0)
    normalizer = torch.logsumexp(scaled, dim=-1)
    probabilities = torch.exp(scaled - normalizer[:, None])
    if temperature == 0:
        tokens = scaled.argmax(dim=-1)
    else:
        cumulative = probabilities.cumsum(dim=-1)
        tokens = torch.searchsorted(cumulative, (uniforms_B * cumulative[:, -1])[:, None], right=True)[:, 0]
        tokens = tokens.clamp_max(scaled.shape[-1] - 1)
    logprobs = scaled.gather(-1, tokens[:, None])[:, 0] - normalizer
    entropies = normalizer - torch.linalg.vecdot(probabilities, scaled)
    return tokens, logprobs, entropies


class _Rows:
    """This records what the rows of a decoder have sampled.

    Args:
        rows: The places of the decoder's rows among all rows of the call.
        draw: How tokens are drawn.
    """

    def __init__(self, rows: Sequence[int], draw: _Draw) -> None:
        self._rows, self._draw = list(rows), draw
        self._tokens: dict[int, list[int]] = {r: [] for r in rows}
        self._logprobs: dict[int, list[Tensor]] = {r: [] for r in rows}
        self._entropies: dict[int, list[Tensor]] = {r: [] for r in rows}
        self.hidden: dict[int, list[Tensor]] = {r: [] for r in rows}
        self._finished = dict.fromkeys(rows, False)

    def run(self, decoder: Decoder) -> None:
        """Decode until every row has ended its turn or met its limit."""
        uniforms_BT = self._draw.uniforms_BT
        step = 0
        while True:
            now = uniforms_BT[torch.tensor(self._rows, device=uniforms_BT.device), step]
            tokens, logprobs, entropies = _choose(decoder.logits_BV, now, self._draw.temperature)
            step += 1
            live = self._record(tokens, logprobs, entropies, step)
            if not live:
                return
            if len(live) < _COMPACT_BELOW * len(self._rows) or len(live) < len(self._rows) <= 4:
                decoder.keep(torch.tensor(live, device=tokens.device))
                self._rows = [self._rows[place] for place in live]
                tokens = tokens[live]
            entered = decoder.step(tokens)
            if entered is not None:
                self._keep_hidden(entered)

    def _record(self, tokens: Tensor, logprobs: Tensor, entropies: Tensor, step: int) -> list[int]:
        """Append the new tokens, and return the places in the batch of the rows that go on."""
        live: list[int] = []
        for place, (row, token) in enumerate(zip(self._rows, tokens.tolist(), strict=True)):
            limit = self._draw.limits[row]
            if self._finished[row] or len(self._tokens[row]) >= limit:
                continue
            self._tokens[row].append(token)
            self._logprobs[row].append(logprobs[place])
            self._entropies[row].append(entropies[place])
            self._finished[row] = token in self._draw.eos
            if not self._finished[row] and step < limit:
                live.append(place)
        return live

    def _keep_hidden(self, hidden_BTD: Tensor) -> None:
        for place, row in enumerate(self._rows):
            if not self._finished[row] and len(self.hidden[row]) < self._draw.limits[row] - 1:
                self.hidden[row].append(hidden_BTD[place])

    def completion(self, row: int) -> Completion:
        """Return what a row has sampled."""
        return Completion(
            token_ids=self._tokens[row],
            logprobs_T=torch.stack(self._logprobs[row]),
            entropies_T=torch.stack(self._entropies[row]),
            finished=self._finished[row],
        )


def _packed(
    lm: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    group_size: int,
    draw: _Draw,
    capture_layer: int | None,
    lower_layers: KeptLowerLayers | None,
) -> list[Group]:
    """Sample for all prompts in one batch."""
    prefills = prefill(lm, prompts, capture_layer, lower_layers)
    rows = _Rows(range(len(prompts) * group_size), draw)
    rows.run(PackedDecoder(lm, prompts, prefills, group_size, max(draw.limits), capture_layer))
    groups: list[Group] = []
    for i, prompt in enumerate(prompts):
        own = range(i * group_size, (i + 1) * group_size)
        prompt_hidden = prefills[i].hidden_SD
        hidden = None
        if prompt_hidden is not None and capture_layer is not None:
            hidden = torch.cat([prompt_hidden, *(h for r in own for h in rows.hidden[r])])
        groups.append(Group(list(prompt), [rows.completion(r) for r in own], hidden))
    return groups


def _unpacked(
    lm: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    group_size: int,
    draw: _Draw,
    decoder: type[CachedDecoder] | type[RecomputingDecoder],
) -> list[Group]:
    """Sample for the prompts of each length in one batch, so that no row is padded."""
    groups: dict[int, Group] = {}
    for length in sorted({len(p) for p in prompts}):
        places = [i for i, p in enumerate(prompts) if len(p) == length]
        rows = _Rows([i * group_size + k for i in places for k in range(group_size)], draw)
        rows.run(decoder(lm, [prompts[i] for i in places], group_size))
        for i in places:
            own = range(i * group_size, (i + 1) * group_size)
            groups[i] = Group(list(prompts[i]), [rows.completion(r) for r in own], None)
    return [groups[i] for i in range(len(prompts))]
