"""Sample groups of completions: what prompts begin with is read once, and completions that finish leave the batch.

Completions of a prompt are one row of the batch for as long as they agree: what a row costs is paid once for all that
stand in it. Randomness is a table of uniform numbers drawn ahead, one for each completion and step, which are turned
into tokens by the inverse of the cumulative distribution. So what a completion samples depends on its own numbers
alone, and not on which others still run.

Array suffixes: B stands for rows of the batch, R for completions, T for time, S for the tokens of a sequence, D for
features, and V for the vocabulary.
"""

from collections import Counter
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
"""Rows are dropped if a smaller share of them is used: the copy then pays for itself within a few tokens."""


@dataclass(frozen=True)
class Completion:
    """A completion is one sampled continuation of a prompt.

    Attributes:
        token_ids: The sampled tokens, with the end-of-turn token if it was sampled.
        logprobs_T: The log-probability in nats of each token under the distribution that it was sampled from.
        entropies_T: The entropy in nats of the distribution that each token was drawn from.
        finished: Whether the model ended its turn within the limit; otherwise the completion is truncated.
        hidden_SD: What entered the captured layer for all tokens but the last; None if nothing was captured.
    """

    token_ids: list[int]
    logprobs_T: Tensor
    entropies_T: Tensor
    finished: bool
    hidden_SD: Tensor | None = None


@dataclass(frozen=True)
class Group:
    """A group is a prompt with its completions; `hidden_SD` is what entered the captured layer for the prompt."""

    prompt: list[int]
    completions: list[Completion]
    hidden_SD: Tensor | None

    @property
    def hidden(self) -> list[Tensor] | None:
        """What entered the captured layer for each sequence but its last token, [S, D]; None if it was not captured."""
        if self.hidden_SD is None:
            return None
        parts = [[self.hidden_SD, *([c.hidden_SD] if c.hidden_SD is not None else [])] for c in self.completions]
        return [torch.cat(of_sequence) for of_sequence in parts]


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
        capture_layer: A decoder layer of which what enters it is kept, for `forward.completion_logprobs`; on the
            unpacked path nothing is kept.
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


class _Rows:
    """This records what the completions of a call have sampled, and which row of the decoder each stands in.

    Args:
        rows: The places of these completions among all those of the call.
        draw: How tokens are drawn.
        group_size: The number of completions of each prompt; the decoder begins with a row for each prompt.
    """

    def __init__(self, rows: Sequence[int], draw: _Draw, group_size: int) -> None:
        self._draw = draw
        self._stands_in = {r: i // group_size for i, r in enumerate(rows)}
        self._tokens: dict[int, list[int]] = {r: [] for r in rows}
        self._logprobs: dict[int, list[Tensor]] = {r: [] for r in rows}
        self._entropies: dict[int, list[Tensor]] = {r: [] for r in rows}
        self._hidden: dict[int, list[Tensor]] = {r: [] for r in rows}
        self._finished = dict.fromkeys(rows, False)

    def run(self, decoder: Decoder) -> None:
        """Decode until every completion has ended its turn or met its limit."""
        step = 0
        while True:
            self._sample(decoder.logits_BV, step)
            step += 1
            self._stands_in = {
                r: i for r, i in self._stands_in.items() if not self._finished[r] and step < self._draw.limits[r]
            }
            if not self._stands_in:
                return
            hidden_B1D = decoder.step(self._advance(decoder))
            if hidden_B1D is not None:
                for row, place in self._stands_in.items():
                    self._hidden[row].append(hidden_B1D[place])

    def _sample(self, logits_BV: Tensor, step: int) -> None:
        """Draw the next token of every completion that goes on."""
        temperature, device = self._draw.temperature, logits_BV.device
        rows, places = list(self._stands_in), list(self._stands_in.values())
        place_R = torch.tensor(places, device=device)
        scaled_BV = logits_BV.float() / (temperature or 1.0)
        normalizer_B = torch.logsumexp(scaled_BV, dim=-1)
        probabilities_BV = torch.exp(scaled_BV - normalizer_B[:, None])
        if temperature == 0:
            token_R = scaled_BV.argmax(dim=-1)[place_R]
        else:
            uniform_R = self._draw.uniforms_BT[torch.tensor(rows, device=device), step]
            token_R = _inverse_cdf(probabilities_BV, places, uniform_R)
        logprob_R = scaled_BV[place_R, token_R] - normalizer_B[place_R]
        entropy_R = (normalizer_B - torch.linalg.vecdot(probabilities_BV, scaled_BV))[place_R]
        for i, (row, token) in enumerate(zip(rows, token_R.tolist(), strict=True)):
            self._tokens[row].append(token)
            self._logprobs[row].append(logprob_R[i])
            self._entropies[row].append(entropy_R[i])
            self._finished[row] = token in self._draw.eos

    def _advance(self, decoder: Decoder) -> Tensor:
        """Let completions that have parted stand in rows of their own; return the token [B] that each row goes on with.

        Rows in which none stands any more are dropped once that pays.
        """
        parted = list(dict.fromkeys((i, self._tokens[r][-1]) for r, i in self._stands_in.items()))
        places = [place for place, _ in parted]
        count, device = decoder.logits_BV.shape[0], decoder.logits_BV.device
        if len(set(places)) == len(places) >= _COMPACT_BELOW * count:
            going_on = dict(parted)
            unused = parted[0][1]  # a row in which none stands may go on with any token
            return torch.tensor([going_on.get(place, unused) for place in range(count)], device=device)
        decoder.keep(torch.tensor(places, device=device))
        row_of = {one: i for i, one in enumerate(parted)}
        self._stands_in = {r: row_of[i, self._tokens[r][-1]] for r, i in self._stands_in.items()}
        return torch.tensor([token for _, token in parted], device=device)

    def completion(self, row: int) -> Completion:
        """Return what was sampled for a completion."""
        return Completion(
            token_ids=self._tokens[row],
            logprobs_T=torch.stack(self._logprobs[row]),
            entropies_T=torch.stack(self._entropies[row]),
            finished=self._finished[row],
            hidden_SD=torch.cat(self._hidden[row]) if self._hidden[row] else None,
        )


def _inverse_cdf(probabilities_BV: Tensor, places: Sequence[int], uniform_R: Tensor) -> Tensor:
    """Turn uniform numbers into tokens [R]: each is looked up in the cumulative distribution of its own row."""
    seen: Counter[int] = Counter()
    ranks: list[int] = []  # the how-manieth each is of those that stand in its row
    for place in places:
        ranks.append(seen[place])
        seen[place] += 1
    where = torch.tensor([list(places), ranks], device=uniform_R.device).unbind()
    cumulative_BV = probabilities_BV.cumsum(dim=-1)
    uniform_BK = uniform_R.new_zeros(len(cumulative_BV), max(ranks) + 1)
    uniform_BK[where] = uniform_R
    token_BK = torch.searchsorted(cumulative_BV, uniform_BK * cumulative_BV[:, -1:], right=True)
    return token_BK[where].clamp_max(cumulative_BV.shape[-1] - 1)


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
    rows = _Rows(range(len(prompts) * group_size), draw, group_size)
    rows.run(PackedDecoder(lm, prompts, prefills, max(draw.limits), capture_layer))
    groups: list[Group] = []
    for i, prompt in enumerate(prompts):
        own = range(i * group_size, (i + 1) * group_size)
        hidden_SD = None if capture_layer is None else prefills[i].hidden_SD
        groups.append(Group(list(prompt), [rows.completion(r) for r in own], hidden_SD))
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
        rows = _Rows([i * group_size + k for i in places for k in range(group_size)], draw, group_size)
        rows.run(decoder(lm, [prompts[i] for i in places]))
        for i in places:
            own = range(i * group_size, (i + 1) * group_size)
            groups[i] = Group(list(prompts[i]), [rows.completion(r) for r in own], None)
    return [groups[i] for i in range(len(prompts))]
