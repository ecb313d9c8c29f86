"""How likely a model finds given replies: the candidates of a prompt share its prefill."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from steadfast.models.forward import completion_logits, token_logprobs
from steadfast.models.packing import pack


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
) -> list[list[CandidateScore]]:
    """Scores of each request's candidates.

    Args:
        lm: the model.
        requests: (prompt tokens, candidates' tokens) each; one packed row a request, so nothing is padded.
        on_done: called after each request.
    """
    results: list[list[CandidateScore]] = []
    for prompt, candidates in requests:
        packed = pack(prompt, candidates)
        logprobs_N = token_logprobs(completion_logits(lm, packed), packed.target_N)
        results.append([CandidateScore(float(p.sum()), p.numel()) for p in logprobs_N.split(packed.lengths)])
        if on_done is not None:
            on_done()
    return results
