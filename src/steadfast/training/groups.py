"""Groups of rollouts, before and after they are graded."""

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from steadfast.graders.grade import Grade
from steadfast.rollouts import Rollout, Segment
from steadfast.training.mixture import ScheduledTask


@dataclass(frozen=True)
class RolloutGroup:
    """This group holds the rollouts of one scheduled task, and what the lower layers made of them.

    Attributes:
        scheduled: The task, and the pool that it was drawn from.
        rollouts: One rollout for each completion.
        hidden: What enters the first adapted layer for the tokens of each rollout but its last, [S, D]; None if it was
            not kept.
    """

    scheduled: ScheduledTask
    rollouts: list[Rollout]
    hidden: list[Tensor] | None = None


@dataclass(frozen=True)
class GradedGroup:
    """This group holds a task's rollouts with their grades, in order.

    Attributes:
        group: The rollouts.
        grades: The grade of each.
        learned: What each graded rollout is rewarded with in the update; None takes the scores.
    """

    group: RolloutGroup
    grades: list[Grade]
    learned: tuple[float, ...] | None = None

    @cached_property
    def graded(self) -> list[int]:
        """The places of the rollouts that have a score, in order."""
        return [i for i, grade in enumerate(self.grades) if grade.score is not None]

    @property
    def rewards(self) -> list[float]:
        """The scores of the graded rollouts, in order."""
        return [g.score for g in self.grades if g.score is not None]

    @property
    def learned_rewards(self) -> list[float]:
        """What the update learns from, for the graded rollouts in order."""
        return self.rewards if self.learned is None else list(self.learned)

    @property
    def pool(self) -> str:
        """The part of the mixture that the task was drawn from."""
        return self.group.scheduled.pool

    @property
    def kept(self) -> list[Rollout]:
        """The graded rollouts, in order."""
        return [self.group.rollouts[i] for i in self.graded]


def trained_segments(rollout: Rollout) -> list[Segment]:
    """Return the parts of a rollout that the model wrote."""
    return [s for s in rollout.segments if s.trained]


def trained_tokens(rollout: Rollout) -> int:
    """Return how many tokens of a rollout the model wrote."""
    return sum(len(s.token_ids) for s in trained_segments(rollout))
