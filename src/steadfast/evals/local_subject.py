"""Weights in this process under test: references by likelihood, answers and episodes by greedy sampling."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel

from steadfast.evals.measure import Condition, OnDone, Preference
from steadfast.evals.rows import PREFERENCE
from steadfast.graders.preference import pairs_won, preference
from steadfast.models.chat import ChatTemplate
from steadfast.models.scoring import LowerLayers, score_candidates
from steadfast.rollouts import Rollout, drive
from steadfast.rollouts.sampler import LocalSampler
from steadfast.tasks.task import Task


@dataclass(frozen=True)
class LocalSubject:
    """A causal LM with its adapter applied.

    Attributes:
        name: Its name in the results.
        lm: The model.
        chat: Its chat template.
        max_new_tokens: The limit of an answer.
        lower_layers: What the layers that no adapter touches made of each batch, shared with other checkpoints.
        identity: What tells it from other models: hashes of all its files.
    """

    name: str
    lm: PreTrainedModel
    chat: ChatTemplate
    max_new_tokens: int
    lower_layers: LowerLayers | None = None
    identity: Any = None
    prefers_by: str = PREFERENCE

    def prefer(self, tasks: Sequence[Task], condition: Condition, on_done: OnDone) -> list[Preference]:
        """The preference for each task's good references, by the likelihood of a token."""
        requests = [
            (
                self.chat.encode(t.messages, condition.style),
                [self.chat.encode_reply(r) for r in (*t.references.good, *t.references.bad)],
            )
            for t in tasks
        ]
        scores = score_candidates(self.lm, requests, on_done=lambda: on_done(1), lower_layers=self.lower_layers)
        found: list[Preference] = []
        for task, candidates in zip(tasks, scores, strict=True):
            split = len(task.references.good)
            good, bad = candidates[:split], candidates[split:]
            found.append(Preference(preference(good, bad), pairs_won(good, bad)))
        return found

    def answer(self, tasks: Sequence[Task], condition: Condition, on_done: OnDone) -> list[Rollout]:
        """One greedy rollout of each task."""
        return drive(LocalSampler(self.lm, self.chat, self.max_new_tokens, style=condition.style), tasks, on_done)
