"""Check whether a model's log-probabilities agree with its plain forward pass, and choose how they are computed.

A packed row is right only for models that take positions and masks from outside. A recurrent or convolutional layer
carries its state from one packed completion into the next, and a model with positions of its own counts along the
row; both give plausible numbers that are wrong. No list of names keeps up with architectures, so each loaded model is
asked once, on random tokens, and training, scoring and sampling all follow the answer.
"""

import copy
import math
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from steadfast.errors import UnsupportedModelError
from steadfast.models.masks import narrowed_windows, text_config, window_of
from steadfast.models.packing import pack

ModelPath = Literal["packed", "unpacked"]

_PROMPT_TOKENS = 40
_LONGEST_PROMPT = 1024
"""The check's prompt has at most this many tokens, for a model whose window cannot be narrowed."""
_NARROW_WINDOW = 12
"""A narrowed window has this width in positions, so that the prompt crosses it several times."""
_HALF_PRECISION = (torch.bfloat16, torch.float16)
_ROUNDINGS_ALLOWED = 4.0
"""A computation in half precision may be off by this many times the effect of one rounding."""
_LAYERS_IN_FLOAT32 = 4
"""At least this many layers of a model in half precision are checked in float32, and two of each rarer kind."""

_Reply = tuple[list[int], list[int]]


@dataclass(frozen=True)
class Agreement:
    """An agreement says how far each way of computing log-probabilities lies from the plain forward pass.

    A difference is the sum of the absolute differences in nats over a reply's tokens, and the largest one over the
    replies is given. It is infinite if a way of computing failed outright.

    Attributes:
        architecture: The name of the model's class.
        path: How the model is run: "packed" puts several sequences into one row, "unpacked" gives each a row of its
            own.
        packed: How far the packed forward pass is off, whichever path is taken.
        rows: How far the forward pass with a row for each sequence is off; None if the packed path is taken.
        scored: How far `score_candidates` is off on the path that is taken.
        sampled: How far `sample_groups` is off on the path that is taken.
        cached: Whether sampling keeps a cache; otherwise its row is read from the start for each token.
        tolerance: The difference that was allowed. In half precision it is four times what one rounding of the input
            embeddings makes in the plain forward pass, if that is more than was asked for.
        in_float32: How far the packed path is off on a float32 copy of the lower layers of a model in half precision,
            whose roundings would hide an error. It is held to the tolerance that was asked for; None if no copy was
            made.
        window: The model's sliding window or chunk of attention in positions; None if it has none.
        window_crossed: Whether the check went past the window, which is narrowed for the check if the model allows it.
    """

    architecture: str
    path: ModelPath
    packed: float
    rows: float | None
    scored: float
    sampled: float
    cached: bool
    tolerance: float
    in_float32: float | None
    window: int | None
    window_crossed: bool


_AGREEMENTS: WeakKeyDictionary[PreTrainedModel, tuple[Any, Agreement]] = WeakKeyDictionary()


def path_of(lm: PreTrainedModel) -> ModelPath:
    """Return how this model is run; the first call for a model checks it.

    Raises:
        UnsupportedModelError: No path gives this model's own log-probabilities.
    """
    return agreement_of(lm).path


def agreement_of(lm: PreTrainedModel) -> Agreement:
    """Return what `check_agreement` found for this model; the first call for a model checks it.

    Raises:
        UnsupportedModelError: No path gives this model's own log-probabilities.
    """
    setting = (lm.dtype, str(lm.device), getattr(lm.config, "_attn_implementation", None))
    found = _AGREEMENTS.get(lm)
    if found is None or found[0] != setting:
        found = _AGREEMENTS[lm] = (setting, check_agreement(lm))
    return found[1]


@torch.no_grad()
def check_agreement(
    lm: PreTrainedModel,
    *,
    prompt_tokens: int | None = None,
    replies: int = 3,
    reply_tokens: int = 12,
    tolerance: float = 1e-3,
) -> Agreement:
    """Compare packed, scored and sampled log-probabilities with the plain forward pass, on random tokens.

    The plain forward pass reads a prompt and a reply as one row by itself, without a mask, positions or a cache.

    Args:
        lm: The model, with its adapter active.
        prompt_tokens: The number of tokens in the longer of two prompts; None takes one that crosses the model's
            window.
        replies: The number of replies to the longer prompt.
        reply_tokens: The number of tokens in each of these replies.
        tolerance: How many nats a reply may be off.

    Raises:
        UnsupportedModelError: The plain forward pass fails or is not finite, or no path agrees with it.
    """
    settings = (prompt_tokens, replies, reply_tokens, tolerance)
    was_training = lm.training
    lm.eval()
    try:
        lower = _lower_part_in_float32(lm) if lm.dtype in _HALF_PRECISION else None
        in_float32 = None if lower is None else _Check(lower, *settings).largest_packed_difference()
        return _Check(lm, *settings).run(in_float32)
    finally:
        lm.train(was_training)


class _Check:
    """This is one check of one model."""

    def __init__(
        self, lm: PreTrainedModel, prompt_tokens: int | None, replies: int, reply_tokens: int, tolerance: float
    ) -> None:
        self.lm, self.replies, self.reply_tokens = lm, replies, reply_tokens
        self.asked_tolerance = self.tolerance = tolerance
        self.name = type(lm).__name__
        # A model that builds its own masks keeps its window under another name, and it cannot be narrowed.
        sizes = [v for k, v in vars(text_config(lm)).items() if k.endswith("window_size") and isinstance(v, int)]
        self.own_window = min((size for size in sizes if size > 0), default=None)
        self.window = window_of(lm) or self.own_window
        self.generator = torch.Generator().manual_seed(0)
        self.prompt_tokens, self.window_crossed = prompt_tokens, False
        self.requests: list[tuple[list[int], list[list[int]]]] = []
        self.plain: list[Tensor] = []
        positions = getattr(text_config(lm), "max_position_embeddings", None)
        self.room = (positions if isinstance(positions, int) else _LONGEST_PROMPT + reply_tokens) - reply_tokens
        if self.room < 2:
            raise UnsupportedModelError(f"{self.name} has too few positions ({positions}) for a prompt and a reply")

    def run(self, in_float32: float | None) -> Agreement:
        """Choose the path that this model takes; it is not the packed one if that was off in float32."""
        with self._prepared():
            packed, scored, sampled = self._packed_path()
            found: dict[str, Any] = {
                "architecture": self.name,
                "packed": packed,
                "tolerance": self.tolerance,
                "in_float32": in_float32,
                "window": self.window,
                "window_crossed": self.window_crossed,
            }
            if self._agrees(packed, scored, sampled) and (in_float32 is None or in_float32 <= self.asked_tolerance):
                return Agreement(path="packed", rows=None, scored=scored, sampled=sampled, cached=True, **found)
            rows, scored = self._difference(lambda: self._forward("unpacked")), self._scored("unpacked")
            sampled, cached = self._sampled("unpacked", cached=True), True
            if not self._agrees(sampled):
                sampled, cached = self._sampled("unpacked", cached=False), False
            if self._agrees(rows, scored, sampled):
                return Agreement(path="unpacked", rows=rows, scored=scored, sampled=sampled, cached=cached, **found)
        raise UnsupportedModelError(
            f"{self.name} is not supported: its log-probabilities differ from its plain forward pass by {rows:.3g} "
            f"nats a reply in training, {scored:.3g} when scored and {sampled:.3g} when sampled "
            f"({self.tolerance:.2g} allowed)"
        )

    def largest_packed_difference(self) -> float:
        """Return how far the packed path is off at most, in nats."""
        with self._prepared():
            return max(self._packed_path())

    @contextmanager
    def _prepared(self) -> Generator[None]:
        # A narrow window is crossed by a short prompt. If the plain forward pass does not follow the config's window,
        # the packed one, which does, is found to be off, and the model takes the unpacked path.
        with narrowed_windows(self.lm, _NARROW_WINDOW):
            length = self.prompt_tokens or self._prompt_tokens()
            narrowest = min(s for s in (window_of(self.lm), self.own_window, math.inf) if s is not None)
            self.window_crossed = length > narrowest
            self.requests = [
                (self._tokens(length), [self._tokens(self.reply_tokens) for _ in range(self.replies)]),
                (self._tokens(max(1, length - 13)), [self._tokens(max(1, self.reply_tokens // 2))]),
            ]
            self.plain = [self._plain((p, r)) for p, own in self.requests for r in own]
            self._require_finite()
            if self.lm.dtype in _HALF_PRECISION:
                self.tolerance = max(self.tolerance, _ROUNDINGS_ALLOWED * self._rounding())
            yield

    def _packed_path(self) -> tuple[float, float, float]:
        """Return how far packed, scored and sampled values are off; what follows one that is off is not computed."""
        packed = self._difference(lambda: self._forward("packed"))
        scored = self._scored("packed") if self._agrees(packed) else math.inf
        return packed, scored, self._sampled("packed", cached=True) if self._agrees(scored) else math.inf

    def _agrees(self, *off: float) -> bool:
        return max(off) <= self.tolerance

    def _prompt_tokens(self) -> int:
        beyond = 0 if self.own_window is None else self.own_window + _NARROW_WINDOW
        return min(max(_PROMPT_TOKENS, beyond), _LONGEST_PROMPT, self.room)

    def _tokens(self, count: int) -> list[int]:
        config = text_config(self.lm)
        named = [v for c in (config, self.lm.config) for k, v in vars(c).items() if k.endswith("token_id")]
        special = {t for v in named for t in (v if isinstance(v, list) else [v])}
        drawn = torch.randint(0, int(config.vocab_size), (4 * count + 64,), generator=self.generator).tolist()
        kept = [t for t in drawn if t not in special]
        return (kept or drawn)[:count]

    def _plain(self, reply: _Reply) -> Tensor:
        """Return the log-probabilities of a reply's tokens, computed as a user of transformers would."""
        prompt, tokens = reply
        ids_1T = torch.tensor([[*prompt, *tokens]], device=self.lm.device)
        try:
            logits = self.lm(input_ids=ids_1T, use_cache=False).logits[0, len(prompt) - 1 : -1]
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # whatever a model that is no plain causal LM raises
            raise UnsupportedModelError(
                f"{self.name} is not supported: it does not read a row of token ids ({type(error).__name__}: {error})"
            ) from error
        logprobs = torch.log_softmax(logits.float(), dim=-1)
        return logprobs.gather(-1, ids_1T[0, len(prompt) :, None])[:, 0].cpu()

    def _require_finite(self) -> None:
        if not all(bool(torch.isfinite(p).all()) for p in self.plain):
            raise UnsupportedModelError(
                f"{self.name} gives log-probabilities that are not finite: its weights are damaged, "
                f"or {self.lm.dtype} is too narrow for them"
            )

    def _rounding(self) -> float:
        """Return how far one rounding of each input embedding moves a reply in the plain forward pass."""
        prompt, own = self.requests[0]
        with _rounded_embeddings(self.lm, self.generator):
            moved = [self._plain((prompt, r)) for r in own[:2]]
        return _largest_difference(moved, self.plain[:2])

    def _difference(self, compute: Callable[[], tuple[list[Tensor], list[Tensor]]]) -> float:
        """Return the largest difference between what a way of computing gives and what it should give."""
        try:
            return _largest_difference(*compute())
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception:  # a model that cannot be run this way raises whatever it likes
            return math.inf

    def _forward(self, path: ModelPath) -> tuple[list[Tensor], list[Tensor]]:
        from steadfast.models.forward import completion_logprobs

        result: list[Tensor] = []
        for prompt, own in self.requests:
            packed = pack(prompt, own)
            result.extend(completion_logprobs(self.lm, packed, path=path).cpu().split(packed.lengths))
        return result, self.plain

    def _scored(self, path: ModelPath) -> float:
        """Compare the scores; they are sums over a reply, so only their differences can be taken."""
        from steadfast.models.scoring import score_candidates

        def scores() -> tuple[list[Tensor], list[Tensor]]:
            scores = [s for own in score_candidates(self.lm, self.requests, path=path) for s in own]
            return [torch.tensor(s.logprob) for s in scores], [p.sum() for p in self.plain]

        return self._difference(scores)

    def _sampled(self, path: ModelPath, *, cached: bool) -> float:
        """Compare sampled tokens; their rows end at different steps, so that the batch is compacted."""
        from steadfast.models.sampling import sample_groups

        def samples() -> tuple[list[Tensor], list[Tensor]]:
            prompts = [prompt for prompt, _ in self.requests]
            fewer = max(1, self.reply_tokens // 2)
            limits = [self.reply_tokens, fewer]
            if path == "unpacked":  # whose batches are of prompts of one length: two of them, and the first ends first
                prompts, limits = [prompts[0][::-1], *prompts], [fewer, *limits]
            groups = sample_groups(
                self.lm,
                prompts,
                group_size=1 if path == "packed" else 2,  # the model's own cache is copied for its group
                max_new_tokens=limits,
                eos_token_ids=[],
                path=path,
                cached=cached,
            )
            plain = [self._plain((g.prompt, c.token_ids)) for g in groups for c in g.completions]
            return [c.logprobs_T.cpu() for g in groups for c in g.completions], plain

        return self._difference(samples)


def _largest_difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    off = max(float((a - b).abs().sum()) for a, b in zip(found, expected, strict=True))
    return off if math.isfinite(off) else math.inf


@contextmanager
def _rounded_embeddings(lm: PreTrainedModel, generator: torch.Generator) -> Generator[None]:
    """Within this context each number of an input embedding is one rounding up or down from what it is."""

    def move(_module: nn.Module, _args: Any, output: Tensor) -> Tensor:
        signs = torch.randint(0, 2, tuple(output.shape), generator=generator).to(output) * 2 - 1
        return output * (1 + torch.finfo(output.dtype).eps * signs)

    handle = lm.get_input_embeddings().register_forward_hook(move)
    try:
        yield
    finally:
        handle.remove()


def _lower_part_in_float32(lm: PreTrainedModel) -> PreTrainedModel | None:
    """Copy the model's first layers in float32, two of each kind it has; None if it cannot be copied or cut."""
    decoder: Any = lm.get_decoder()
    layers = getattr(decoder, "layers", None)
    if not isinstance(layers, nn.ModuleList):
        return None
    layer_types = list(getattr(text_config(lm), "layer_types", None) or [""] * len(layers))
    count = _layers_to_copy(layers, layer_types)
    decoder.layers = nn.ModuleList(list(layers)[:count])
    try:
        lower = copy.deepcopy(lm).float()
    except Exception:  # quantized weights, or no room: the model is then checked in its own precision only
        return None
    finally:
        decoder.layers = layers
    config = text_config(lower)
    config.num_hidden_layers = count
    if hasattr(config, "layer_types"):
        config.layer_types = layer_types[:count]
    return lower


def _layers_to_copy(layers: nn.ModuleList, layer_types: Sequence[str]) -> int:
    kinds = [
        (kind, *(type(part) for part in layer.children())) for layer, kind in zip(layers, layer_types, strict=True)
    ]
    count = min(_LAYERS_IN_FLOAT32, len(kinds))
    while any(kinds[:count].count(kind) < min(2, kinds.count(kind)) for kind in kinds):
        count += 1
    return count
