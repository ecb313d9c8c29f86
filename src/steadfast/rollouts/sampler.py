"""Where replies come from: a model in this process, batch by batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from transformers import PreTrainedModel

from steadfast.errors import ChatTemplateError
from steadfast.messages import Message
from steadfast.models.chat import ChatTemplate
from steadfast.models.lower_layers import KeptLowerLayers
from steadfast.models.sampling import sample_groups
from steadfast.rollouts.rollout import Segment

Conversation = tuple[Message, ...]
OnDone = Callable[[int], None]
"""Told the number of requests done since the last call."""

_BATCH = 48
_LIKE_LENGTH = 64
"""Conversations whose lengths differ by less than so many tokens may share a batch, by what they begin with."""


@dataclass(frozen=True)
class Reply:
    """What a model said to a conversation.

    Attributes:
        segment: Its words, and its tokens where they are known.
        finished: Whether it ended within the limit.
        prompt_ids: The tokens of the conversation, where they are known.
        reason: Why there is no reply that could be scored.
        shown: Whether the conversation could be shown to the model at all.
    """

    segment: Segment
    finished: bool = True
    prompt_ids: tuple[int, ...] = ()
    reason: str | None = None
    shown: bool = True


class Sampler(Protocol):
    """Answers conversations in batches."""

    def reply(self, conversations: Sequence[Conversation], on_done: OnDone = lambda _: None) -> list[Reply]:
        """One reply for each conversation, in order."""
        ...


@dataclass
class LocalSampler:
    """A causal LM in this process.

    Equal conversations are answered once where the sampling is greedy. They are answered in batches of like length, in
    an order that depends on their tokens alone.

    Attributes:
        lm: The model, its adapter active.
        chat: Its chat template.
        max_new_tokens: The limit of a reply.
        style: An instruction on form, in the system turn.
        temperature: 0 takes the likeliest token.
        seed: Seeds the sampling; each call of `reply` draws anew.
        lower_layers: What other checkpoints made of the same conversations below their adapters.
    """

    lm: PreTrainedModel
    chat: ChatTemplate
    max_new_tokens: int
    style: str | None = None
    temperature: float = 0.0
    seed: int = 0
    lower_layers: KeptLowerLayers | None = None
    _calls: int = field(default=0, init=False)

    def encode(self, conversation: Conversation) -> list[int]:
        """The token ids of a conversation up to the point where the model speaks.

        Raises:
            ChatTemplateError: it cannot be rendered rightly, or leaves no room for a reply.
        """
        return self.chat.encode(conversation, self.style, max_new_tokens=self.max_new_tokens)

    def reply(self, conversations: Sequence[Conversation], on_done: OnDone = lambda _: None) -> list[Reply]:
        """One reply for each conversation, in order; one that cannot be rendered or is too long has a reason."""
        encoded: dict[int, list[int]] = {}
        found: dict[int, Reply] = {}
        for place, conversation in enumerate(conversations):
            try:
                encoded[place] = self.encode(conversation)
            except ChatTemplateError as error:
                found[place] = Reply(Segment("assistant", ""), reason=str(error), shown=False)
        on_done(len(found))
        asked = list(encoded)
        if not self.temperature:
            asked = list({tuple(encoded[i]): i for i in reversed(asked)}.values())
        order = sorted(asked, key=lambda i: (len(encoded[i]) // _LIKE_LENGTH, encoded[i], i))
        self._calls += 1
        for number, start in enumerate(range(0, len(order), _BATCH)):
            batch = order[start : start + _BATCH]
            found |= self._batch({i: encoded[i] for i in batch}, self.seed + 7919 * self._calls + number)
            on_done(len(batch))
        by_tokens = {tuple(encoded[i]): found[i] for i in asked}
        return [found[i] if i in found else by_tokens[tuple(encoded[i])] for i in range(len(conversations))]

    def _batch(self, encoded: dict[int, list[int]], seed: int) -> dict[int, Reply]:
        groups = sample_groups(
            self.lm,
            list(encoded.values()),
            group_size=1,
            max_new_tokens=self.max_new_tokens,
            eos_token_ids=self.chat.end_tokens(),
            temperature=self.temperature,
            seed=seed,
            lower_layers=self.lower_layers,
        )
        found: dict[int, Reply] = {}
        for place, group in zip(encoded, groups, strict=True):
            c = group.completions[0]
            said = assistant_segment(self.chat, c.token_ids, c.logprobs_T.tolist(), c.entropies_T.tolist())
            found[place] = Reply(said, c.finished, tuple(encoded[place]))
        return found


def assistant_segment(
    chat: ChatTemplate, token_ids: Sequence[int], logprobs: Sequence[float], entropies: Sequence[float]
) -> Segment:
    """A completion as a segment that is trained on, its thoughts apart from its answer."""
    thoughts, answer = chat.decode(token_ids)
    return Segment("assistant", answer, thoughts, tuple(token_ids), tuple(logprobs), tuple(entropies), trained=True)
