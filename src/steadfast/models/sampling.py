"""Sample groups of completions: each prompt is prefilled once, rows that finish leave the batch.

Randomness is a table of uniforms drawn ahead, one for each (completion, step), turned into tokens by the inverse
of the cumulative distribution: what a row samples depends on its own numbers alone, not on which rows still run.

Array suffixes: B rows (prompts x group), T time, H key-value heads, D features, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import Cache, DynamicLayer

from steadfast.models.forward import captured_input

_COMPACT_BELOW = 0.8
"""Share of live rows under which the batch is compacted: the copy then pays for itself within a few tokens."""


@dataclass(frozen=True)
class Completion:
    """One sampled continuation.

    Attributes:
        token_ids: the sampled tokens, the end-of-turn token included where it was sampled.
        logprobs_T: log-probability of each under the sampling distribution.
        entropies_T: entropy of the distribution each was drawn from, in nats.
        finished: the model ended its turn within the limit; False means truncated.
    """

    token_ids: list[int]
    logprobs_T: Tensor
    entropies_T: Tensor
    finished: bool


@dataclass(frozen=True)
class Group:
    """A prompt with its completions, and the hidden states [T, D] of their packed row if they were captured."""

    prompt: list[int]
    completions: list[Completion]
    hidden_TD: Tensor | None


class _PreallocatedLayer(DynamicLayer):
    """Keys and values of one layer in a buffer that has room for the completion: no copy at each token."""

    def __init__(self, keys_BHTD: Tensor, values_BHTD: Tensor, filled: int) -> None:
        super().__init__()
        self.keys, self.values, self.filled = keys_BHTD, values_BHTD, filled
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        assert self.keys is not None
        assert self.values is not None
        end = self.filled + key_states.shape[2]
        self.keys[:, :, self.filled : end] = key_states
        self.values[:, :, self.filled : end] = value_states
        self.filled = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_seq_length(self) -> int:
        return self.filled

    def keep_rows(self, rows: Tensor) -> None:
        assert self.keys is not None
        assert self.values is not None
        self.keys, self.values = self.keys[rows], self.values[rows]


@dataclass
class _Prefill:
    cache: DynamicCache
    logits_V: Tensor
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
) -> list[Group]:
    """Sample `group_size` completions for each prompt.

    Args:
        lm: the policy, its adapter active.
        prompts: token ids, one list a prompt.
        group_size: completions a prompt.
        max_new_tokens: the limit, for all prompts or for each.
        eos_token_ids: tokens that end a turn.
        temperature: 0 takes the likeliest token.
        seed: of the table of uniforms.
        capture_layer: also keep what enters this decoder layer, for `forward.completion_logits`.

    Raises:
        ValueError: an empty prompt, or limits that do not match the prompts.
    """
    limits = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else list(max_new_tokens)
    if len(limits) != len(prompts) or any(not p for p in prompts) or min(limits, default=1) < 1:
        raise ValueError("each prompt needs at least one token and a limit of at least one new token")
    if not prompts:
        return []
    was_training = lm.training
    lm.eval()
    try:
        prefills = [_prefill(lm, p, capture_layer) for p in prompts]
        batch = _DecodeBatch(lm, prompts, prefills, group_size, limits)
        generator = torch.Generator().manual_seed(seed)
        uniforms_BT = torch.rand(len(prompts) * group_size, max(limits), generator=generator)
        batch.run(uniforms_BT.to(lm.device), set(eos_token_ids), temperature, capture_layer)
    finally:
        lm.train(was_training)
    groups: list[Group] = []
    for i, prompt in enumerate(prompts):
        rows = range(i * group_size, (i + 1) * group_size)
        prompt_hidden = prefills[i].hidden_TD
        hidden = None
        if prompt_hidden is not None:
            hidden = torch.cat([prompt_hidden, *(h for r in rows for h in batch.hidden[r])])
        groups.append(Group(list(prompt), [batch.completion(r) for r in rows], hidden))
    return groups


def _prefill(lm: PreTrainedModel, prompt: Sequence[int], capture_layer: int | None) -> _Prefill:
    cache = DynamicCache(config=lm.config)
    ids = torch.tensor([list(prompt)], device=lm.device)
    if capture_layer is None:
        return _Prefill(cache, lm(input_ids=ids, past_key_values=cache, logits_to_keep=1).logits[0, -1], None)
    with captured_input(lm, capture_layer) as captured:
        logits_V = lm(input_ids=ids, past_key_values=cache, logits_to_keep=1).logits[0, -1]
    return _Prefill(cache, logits_V, captured[0][0])


def _choose(logits_BV: Tensor, uniforms_B: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, their log-probabilities and the entropies, each [B]."""
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


class _DecodeBatch:
    """The rows being decoded: prompt right-padded to a common length, completions behind it."""

    def __init__(
        self,
        lm: PreTrainedModel,
        prompts: Sequence[Sequence[int]],
        prefills: list[_Prefill],
        group_size: int,
        limits: list[int],
    ) -> None:
        self.lm = lm
        device = lm.device
        lengths = torch.tensor([len(p) for p in prompts], device=device)
        self.padded = int(lengths.max())
        room = self.padded + max(limits)
        prompt_of_row = torch.arange(len(prompts), device=device).repeat_interleave(group_size)
        self.position_B = lengths[prompt_of_row]
        self.limit_B = torch.tensor(limits, device=device)[prompt_of_row]
        columns = torch.arange(room, device=device)
        self.visible_BT = (columns < lengths[prompt_of_row][:, None]) | (columns >= self.padded)
        self.logits_BV = torch.stack([p.logits_V for p in prefills])[prompt_of_row]
        self.row_B = torch.arange(len(prompt_of_row), device=device)
        self.layers = [self._layer(prefills, i, group_size, room) for i in range(len(prefills[0].cache.layers))]
        count = len(prompts) * group_size
        self.tokens: list[list[int]] = [[] for _ in range(count)]
        self.logprobs: list[list[Tensor]] = [[] for _ in range(count)]
        self.entropies: list[list[Tensor]] = [[] for _ in range(count)]
        self.hidden: list[list[Tensor]] = [[] for _ in range(count)]
        self.finished = [False] * count

    def _layer(self, prefills: list[_Prefill], index: int, group_size: int, room: int) -> _PreallocatedLayer:
        buffers: list[Tensor] = []
        for name in ("keys", "values"):
            first: Tensor = getattr(prefills[0].cache.layers[index], name)
            _, heads, _, features = first.shape
            buffer = first.new_zeros(len(prefills) * group_size, heads, room, features)
            for i, prefill in enumerate(prefills):
                states: Tensor = getattr(prefill.cache.layers[index], name)
                buffer[i * group_size : (i + 1) * group_size, :, : states.shape[2]] = states
            buffers.append(buffer)
        return _PreallocatedLayer(buffers[0], buffers[1], self.padded)

    def run(self, uniforms_BT: Tensor, eos: set[int], temperature: float, capture_layer: int | None) -> None:
        cache = Cache(layers=list(self.layers))
        step = 0
        while True:
            tokens, logprobs, entropies = _choose(self.logits_BV, uniforms_BT[self.row_B, step], temperature)
            step += 1
            live = self._record(tokens, logprobs, entropies, eos, step)
            if not live:
                return
            if len(live) < _COMPACT_BELOW * len(self.row_B) or len(live) < len(self.row_B) <= 4:
                self._compact(torch.tensor(live, device=tokens.device))
                tokens = tokens[live]
            self._forward(tokens, cache, capture_layer)

    def _record(self, tokens: Tensor, logprobs: Tensor, entropies: Tensor, eos: set[int], step: int) -> list[int]:
        """Append the new tokens; returns the places in the batch of the rows that go on."""
        live: list[int] = []
        limits = self.limit_B.tolist()
        for place, (row, token) in enumerate(zip(self.row_B.tolist(), tokens.tolist(), strict=True)):
            if self.finished[row] or len(self.tokens[row]) >= limits[place]:
                continue
            self.tokens[row].append(token)
            self.logprobs[row].append(logprobs[place])
            self.entropies[row].append(entropies[place])
            self.finished[row] = token in eos
            if not self.finished[row] and step < limits[place]:
                live.append(place)
        return live

    def _compact(self, live: Tensor) -> None:
        for layer in self.layers:
            layer.keep_rows(live)
        self.position_B, self.limit_B = self.position_B[live], self.limit_B[live]
        self.visible_BT, self.row_B = self.visible_BT[live], self.row_B[live]

    def _forward(self, tokens: Tensor, cache: Cache, capture_layer: int | None) -> None:
        end = self.layers[0].filled + 1
        zero = torch.zeros((), dtype=self.lm.dtype, device=tokens.device)
        mask = torch.where(self.visible_BT[:, :end], zero, torch.finfo(self.lm.dtype).min)[:, None, None]
        arguments: dict[str, Any] = {
            "input_ids": tokens[:, None],
            "position_ids": self.position_B[:, None],
            "attention_mask": mask,
            "past_key_values": cache,
        }
        if capture_layer is None:
            self.logits_BV = self.lm(**arguments).logits[:, -1]
        else:
            with captured_input(self.lm, capture_layer) as captured:
                self.logits_BV = self.lm(**arguments).logits[:, -1]
            for place, row in enumerate(self.row_B.tolist()):
                if not self.finished[row] and len(self.hidden[row]) < int(self.limit_B[place]) - 1:
                    self.hidden[row].append(captured[0][place])
        self.position_B = self.position_B + 1

    def completion(self, row: int) -> Completion:
        return Completion(
            token_ids=self.tokens[row],
            logprobs_T=torch.stack(self.logprobs[row]),
            entropies_T=torch.stack(self.entropies[row]),
            finished=self.finished[row],
        )
