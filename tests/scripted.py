"""A tiny model that says what a test has it say, with the log-probabilities that it really has for those words.

A random model writes no tool calls. Its replies are put into its mouth here, token by token, so that everything after
the sampling (segments, packing, the loss) works on real tokens and real log-probabilities.
"""

from collections.abc import Callable

import pytest
import torch

from steadfast.models.forward import token_logprobs
from steadfast.models.sampling import Completion, Group
from steadfast.rollouts import sampler
from tests.conftest import make_tokenizer

Say = Callable[[str, int], str]
"""(the prompt as text, the number of the request over all calls) -> the reply."""


def script(monkeypatch: pytest.MonkeyPatch, say: Say) -> list[int]:
    """Let local samplers say what is written; returns the sizes of the batches that they were asked for."""
    tokenizer = make_tokenizer()
    batches: list[int] = []
    asked = 0

    @torch.no_grad()
    def sample(lm, prompts, *, group_size, max_new_tokens, eos_token_ids, temperature=1.0, **_):
        nonlocal asked
        assert group_size == 1
        batches.append(len(prompts))
        groups = []
        for prompt in prompts:
            ids = tokenizer(say(tokenizer.decode(prompt), asked), add_special_tokens=False)["input_ids"]
            ids = [*ids, eos_token_ids[0]][:max_new_tokens]
            asked += 1
            logits = lm(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1]
            logprobs = token_logprobs(logits, torch.tensor(ids), temperature or 1.0)
            completion = Completion(ids, logprobs, torch.zeros(len(ids)), ids[-1] == eos_token_ids[0])
            groups.append(Group(list(prompt), [completion], None))
        return groups

    monkeypatch.setattr(sampler, "sample_groups", sample)
    return batches
