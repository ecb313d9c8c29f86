"""Weights in this process under test: references by likelihood, answers and episodes by greedy sampling."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel

from steadfast.errors import ChatTemplateError
from steadfast.evals.measure import Condition, OnDone, Preference
from steadfast.evals.rows import PREFERENCE
from steadfast.graders.preference import pairs_won, preference
from steadfast.models.chat import ChatTemplate
from steadfast.models.lower_layers import LowerLayers
from steadfast.models.scoring import score_candidates
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
        """The preference for each task's good references, by the likelihood of a token.

        A task that the model cannot be shown, such as one beyond its context, has a reason instead.
        """
        requests: dict[int, tuple[list[int], list[list[int]]]] = {}
        found: dict[int, Preference] = {}
        for place, task in enumerate(tasks):
            try:
                requests[place] = self._request(task, condition)
            except ChatTemplateError as error:
                found[place] = Preference(None, reason=str(error), shown=False)
                on_done(1)
        scores = score_candidates(
            self.lm, list(requests.values()), on_done=lambda: on_done(1), lower_layers=self.lower_layers
        )
        for place, candidates in zip(requests, scores, strict=True):
            split = len(tasks[place].references.good)
            good, bad = candidates[:split], candidates[split:]
            found[place] = Preference(preference(good, bad), pairs_won(good, bad))
        return [found[place] for place in range(len(tasks))]

    def _request(self, task: Task, condition: Condition) -> tuple[list[int], list[list[int]]]:
        replies = [self.chat.encode_reply(r) for r in (*task.references.good, *task.references.bad)]
        longest = max(map(len, replies))
        return self.chat.encode(task.messages, condition.style, max_new_tokens=longest), replies

    def answer(self, tasks: Sequence[Task], condition: Condition, on_done: OnDone) -> list[Rollout]:
        """One greedy rollout of each task."""
        lower = None if self.lower_layers is None else self.lower_layers.of(self.lm)
        sampler = LocalSampler(self.lm, self.chat, self.max_new_tokens, style=condition.style, lower_layers=lower)
        return drive(sampler, tasks, on_done)
