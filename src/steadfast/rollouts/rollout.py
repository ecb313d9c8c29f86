"""A rollout records what a model did with a task, turn by turn, as plain data.

One answer, a conversation of several turns and an episode with tools are the same type. A segment is what one party
said; the model's own segments are marked as trained, tool results and prompts are not.
"""

from dataclasses import dataclass, replace
from typing import Literal

from steadfast.tasks.task import Task
from steadfast.thoughts import split_thoughts

Stop = Literal["end", "length", "turns", "unscored"]
"""Why a rollout ended: the model ended its turn; the token limit cut it off; it used up its turns; or there is no
answer that could be scored, such as after a failed call or a content filter."""


@dataclass(frozen=True)
class Segment:
    """A segment is what one party said.

    Attributes:
        role: "prompt", "assistant", or "tool" for what the environment answered. A prompt begins a sequence of tokens;
            one after the first holds the conversation so far as the next reply was given to it, and no new words.
        text: The words, without special tokens and, for the assistant, without its thoughts.
        thoughts: What the assistant thought before it spoke; kept, and never graded.
        token_ids: The tokens, where the model runs in this process; the end-of-turn token is among them.
        logprobs: The log-probability in nats of each token under the distribution that it was sampled from.
        entropies: The entropy in nats of each of these distributions.
        trained: Whether the loss is taken over these tokens.
    """

    role: Literal["prompt", "assistant", "tool"]
    text: str
    thoughts: str = ""
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    entropies: tuple[float, ...] = ()
    trained: bool = False


@dataclass(frozen=True)
class Rollout:
    """A rollout is what a model did with a task.

    Attributes:
        task: The task that the model was given.
        segments: What was said, in order; the assistant's last segment is its answer.
        stop: Why the rollout ended.
        reason: Why there is nothing to score, if `stop` is "unscored".
    """

    task: Task
    segments: tuple[Segment, ...]
    stop: Stop = "end"
    reason: str | None = None

    @classmethod
    def of_text(cls, task: Task, text: str, finished: bool = True) -> "Rollout":
        """Make the rollout of a stored answer, of which only the text is known; its thoughts are taken off."""
        thoughts, answer = split_thoughts(text)
        return cls(task, (Segment("assistant", answer, thoughts),), "end" if finished else "length")

    @classmethod
    def without_answer(cls, task: Task, reason: str) -> "Rollout":
        """Make the rollout of a model that gave no answer that could be scored."""
        return cls(task, (), "unscored", reason)

    @property
    def finished(self) -> bool:
        """Whether the rollout ended before the token limit cut it off."""
        return self.stop != "length"

    @property
    def replies(self) -> list[str]:
        """What the model said in each of its turns, without its thoughts."""
        return [s.text for s in self.segments if s.role == "assistant"]

    @property
    def text(self) -> str:
        """The answer: the last reply without its thoughts. This is what graders read."""
        return next((s.text for s in reversed(self.segments) if s.role == "assistant"), "")

    @property
    def transcript(self) -> str:
        """All that was said after the prompt, with a line break between the segments."""
        return "\n".join(s.text for s in self.segments if s.role != "prompt").strip()

    @property
    def thoughts(self) -> str:
        """What the model thought in all of its turns."""
        return "\n".join(s.thoughts for s in self.segments if s.thoughts)

    def for_task(self, task: Task) -> "Rollout":
        """Return the same rollout, to be graded as one of another task."""
        return replace(self, task=task)
