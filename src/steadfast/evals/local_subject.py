"""Weights in this process under test: references by likelihood, answers and episodes by sampling."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import fsum
from typing import Any, Literal

from transformers import PreTrainedModel

from steadfast.errors import ChatTemplateError
from steadfast.evals.measure import Condition, OnDone, Preference
from steadfast.evals.mismatched import GREETING
from steadfast.evals.rows import PREFERENCE
from steadfast.graders.preference import Nats, ReplyLikelihood, compare_replies
from steadfast.messages import Message
from steadfast.models.chat import ChatTemplate
from steadfast.models.lower_layers import LowerLayers
from steadfast.models.scoring import CandidateScore, score_candidates
from steadfast.models.word_tokens import WordTokens
from steadfast.rollouts import Rollout, drive
from steadfast.rollouts.sampler import LocalSampler
from steadfast.tasks.task import Task

_Conversation = Literal["own", "mismatched", "alone"]


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

    def prefer(
        self, tasks: Sequence[Task], mismatched: Sequence[Task | None], condition: Condition, on_done: OnDone
    ) -> list[Preference]:
        """The preference for each task's good references: the share of pairs won by pointwise mutual information.

        The condition's style is not shown: see `Condition`. A task that the model cannot be shown, such as one beyond
        its context, has a reason instead.
        """
        asked = _Asked(self.chat, condition)
        found: dict[int, Preference] = {}
        for place, (task, other) in enumerate(zip(tasks, mismatched, strict=True)):
            try:
                asked.add(place, task, other)
            except ChatTemplateError as error:
                found[place] = Preference(None, reason=str(error), shown=False)
                on_done(1)
        for place, likelihoods in asked.scored(self.lm, self.lower_layers, on_done).items():
            split = len(tasks[place].references.good)
            compared = compare_replies(likelihoods[:split], likelihoods[split:])
            found[place] = Preference(compared["pmi"].share, compared=compared)
        return [found[place] for place in range(len(tasks))]

    def answer(self, tasks: Sequence[Task], condition: Condition, on_done: OnDone) -> list[Rollout]:
        """One rollout of each task, at the condition's temperature.

        A rollout is of the task as it is, without the condition's persona: that is what it is graded as.
        """
        sampler = LocalSampler(
            self.lm,
            self.chat,
            self.max_new_tokens,
            style=condition.style,
            temperature=condition.temperature,
            seed=condition.seed,
            lower_layers=None if self.lower_layers is None else self.lower_layers.of(self.lm),
        )
        asked = [t.model_copy(update={"messages": condition.asks(t.messages)}) for t in tasks]
        made = drive(sampler, asked, on_done)
        return [rollout.for_task(task) for rollout, task in zip(made, tasks, strict=True)]


class _Asked:
    """The requests of some tasks, each conversation once with all replies that are tried after it.

    A conversation is the own one of a task and the mismatched one of another, so it is prefilled once for both. After
    the greeting the replies of a task, or of twins that exchange theirs, are a request of their own: it is short, and
    rows of like length are batched. A reply is tried once after each conversation.
    """

    def __init__(self, chat: ChatTemplate, condition: Condition) -> None:
        self._chat = chat
        self._condition = condition
        self._is_word = WordTokens(chat.tokenizer)
        self._prompts: list[tuple[int, ...]] = []
        self._candidates: list[list[list[int]]] = []
        self._request_of: dict[Hashable, int] = {}
        self._places: dict[int, dict[_Conversation, tuple[int, list[int]]]] = {}
        self._words: dict[int, list[list[bool]]] = {}

    def add(self, place: int, task: Task, mismatched: Task | None) -> None:
        """Ask for the likelihoods of a task's replies.

        Raises:
            ChatTemplateError: A conversation or a reply cannot be shown to the model; then nothing is asked.
        """
        end = self._chat.end_of_turn
        replies = [[*self._chat.encode_reply(r), end] for r in (*task.references.good, *task.references.bad)]
        longest = max(map(len, replies))
        own = self._encode(task.messages, longest)
        other = None if mismatched is None else self._encode(mismatched.messages, longest)
        greeting = self._greeting
        self._words[place] = [self._is_word(r) for r in replies]
        alone = self._ask(frozenset(map(tuple, replies)), greeting, replies)
        self._places[place] = {
            "own": self._ask(own, own, replies),
            "mismatched": alone if other is None else self._ask(other, other, replies),
            "alone": alone,
        }

    @cached_property
    def _greeting(self) -> tuple[int, ...]:
        return self._encode(GREETING)

    def _encode(self, messages: Sequence[Message], longest: int = 0) -> tuple[int, ...]:
        return tuple(self._chat.encode(self._condition.asks(messages), max_new_tokens=longest))

    def _ask(self, key: Hashable, prompt: tuple[int, ...], replies: list[list[int]]) -> tuple[int, list[int]]:
        """Return the place of the request with a key, and the places of the replies in it."""
        if key not in self._request_of:
            self._request_of[key] = len(self._prompts)
            self._prompts.append(prompt)
            self._candidates.append([])
        request = self._request_of[key]
        tried = self._candidates[request]
        tried += [r for i, r in enumerate(replies) if r not in tried and r not in replies[:i]]
        return request, [tried.index(r) for r in replies]

    def scored(
        self, lm: PreTrainedModel, lower_layers: LowerLayers | None, on_done: OnDone
    ) -> dict[int, list[ReplyLikelihood]]:
        """The likelihoods of each task's replies, good ones first, by the task's place."""
        done, told = 0, 0

        def one_more() -> None:
            nonlocal done, told
            done += 1
            tasks = done * len(self._places) // len(self._prompts)
            if tasks > told:
                on_done(tasks - told)
                told = tasks

        requests = list(zip(self._prompts, self._candidates, strict=True))
        scores = score_candidates(lm, requests, on_done=one_more, lower_layers=lower_layers)
        found: dict[int, list[ReplyLikelihood]] = {}
        for place, where in self._places.items():
            nats = {
                name: self._nats(place, [scores[request][i] for i in own]) for name, (request, own) in where.items()
            }
            found[place] = [
                ReplyLikelihood(*after) for after in zip(nats["own"], nats["mismatched"], nats["alone"], strict=True)
            ]
        return found

    def _nats(self, place: int, scores: Sequence[CandidateScore]) -> list[Nats]:
        """Split the nats of a task's replies into those of word tokens and those of all others."""
        split: list[Nats] = []
        for score, words in zip(scores, self._words[place], strict=True):
            told = list(zip(score.logprobs, words, strict=True))
            split.append(Nats(fsum(p for p, word in told if word), fsum(p for p, word in told if not word)))
        return split
