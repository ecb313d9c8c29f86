"""Replies come from a sampler, such as a model in this process that answers batch by batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from transformers import PreTrainedModel

from steadfast.messages import Message
from steadfast.models.chat import ChatTemplate
from steadfast.models.sampling import sample_groups
from steadfast.rollouts.rollout import Segment

Conversation = tuple[Message, ...]
OnDone = Callable[[int], None]
"""A function that is told how many requests were done since its last call."""

_BATCH = 48


@dataclass(frozen=True)
class Reply:
    """A reply is what a model said to a conversation.

    Attributes:
        segment: The words, and the tokens if they are known.
        finished: Whether the reply ended within the limit.
        prompt_ids: The tokens of the conversation, if they are known.
        reason: Why there is no reply that could be scored; None if there is one.
    """

    segment: Segment
    finished: bool = True
    prompt_ids: tuple[int, ...] = ()
    reason: str | None = None


class Sampler(Protocol):
    """A sampler answers conversations in batches."""

    def reply(self, conversations: Sequence[Conversation], on_done: OnDone = lambda _: None) -> list[Reply]:
        """Return one reply for each conversation, in order."""
        ...


@dataclass
class LocalSampler:
    """This sampler answers with a causal LM in this process.

    With greedy sampling, equal conversations are answered once. Conversations are answered in batches of like length,
    in an order that depends on their tokens alone.

    Attributes:
        lm: The model, with its adapter active.
        chat: The model's chat template.
        max_new_tokens: The limit of a reply in tokens.
        style: An instruction on form, which is put into the system turn.
        temperature: The temperature of the sampling; 0 takes the likeliest token.
        seed: The seed of the sampling; each call of `reply` draws anew.
    """

    lm: PreTrainedModel
    chat: ChatTemplate
    max_new_tokens: int
    style: str | None = None
    temperature: float = 0.0
    seed: int = 0
    _calls: int = field(default=0, init=False)

    def encode(self, conversation: Conversation) -> list[int]:
        """Return the token ids of a conversation up to the point where the model speaks.

        Raises:
            ChatTemplateError: The conversation cannot be rendered rightly, or leaves no room for a reply.
        """
        return self.chat.encode(conversation, self.style, max_new_tokens=self.max_new_tokens)

    def reply(self, conversations: Sequence[Conversation], on_done: OnDone = lambda _: None) -> list[Reply]:
        """Return one reply for each conversation, in order."""
        encoded = [self.encode(c) for c in conversations]
        places = range(len(encoded))
        asked = list({tuple(encoded[i]): i for i in reversed(places)}.values()) if not self.temperature else [*places]
        order = sorted(asked, key=lambda i: (len(encoded[i]), encoded[i], i))
        self._calls += 1
        found: dict[int, Reply] = {}
        for number, start in enumerate(range(0, len(order), _BATCH)):
            batch = order[start : start + _BATCH]
            groups = sample_groups(
                self.lm,
                [encoded[i] for i in batch],
                group_size=1,
                max_new_tokens=self.max_new_tokens,
                eos_token_ids=self.chat.end_tokens(),
                temperature=self.temperature,
                seed=self.seed + 7919 * self._calls + number,
            )
            for place, group in zip(batch, groups, strict=True):
                completion = group.completions[0]
                found[place] = Reply(
                    assistant_segment(
                        self.chat,
                        completion.token_ids,
                        completion.logprobs_T.tolist(),
                        completion.entropies_T.tolist(),
                    ),
                    completion.finished,
                    tuple(encoded[place]),
                )
            on_done(len(batch))
        if self.temperature:
            return [found[i] for i in places]
        by_tokens = {tuple(encoded[i]): reply for i, reply in found.items()}
        return [by_tokens[tuple(ids)] for ids in encoded]


def assistant_segment(
    chat: ChatTemplate, token_ids: Sequence[int], logprobs: Sequence[float], entropies: Sequence[float]
) -> Segment:
    """Make a segment that is trained on out of a completion, with its thoughts apart from its answer."""
    thoughts, answer = chat.decode(token_ids)
    return Segment("assistant", answer, thoughts, tuple(token_ids), tuple(logprobs), tuple(entropies), trained=True)
