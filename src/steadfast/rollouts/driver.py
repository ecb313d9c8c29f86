"""Drive rollouts over a sampler: single answers in one batch, and episodes with tools in one batch for each turn."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from steadfast.messages import Message, is_blank
from steadfast.rollouts.rollout import Rollout, Segment, Stop
from steadfast.rollouts.sampler import Conversation, OnDone, Reply, Sampler
from steadfast.tasks.environment import MAX_CALLS, Call, Simulation
from steadfast.tasks.task import Task
from steadfast.tasks.tool_text import parse_call, render_result


def drive(sampler: Sampler, tasks: Sequence[Task], on_done: OnDone = lambda _: None) -> list[Rollout]:
    """Make one rollout of each task, and return them in order.

    Tasks without an environment are answered first, as one batch; then the model acts in all the others at once.

    Args:
        sampler: The source of the replies.
        tasks: Tasks of any kind; a task may stand there several times.
        on_done: A function that is told how many tasks have ended since its last call.
    """
    plain = [i for i, t in enumerate(tasks) if t.environment is None]
    replies = sampler.reply([tasks[i].messages for i in plain], on_done)
    found = {i: _answered(tasks[i], reply) for i, reply in zip(plain, replies, strict=True)}
    episodes = {i: _Episode(t) for i, t in enumerate(tasks) if t.environment is not None}
    live = list(episodes.values())
    while live:
        turns = sampler.reply([e.conversation for e in live])
        going_on = [e for e, reply in zip(live, turns, strict=True) if e.take(reply)]
        on_done(len(live) - len(going_on))
        live = going_on
    return [found[i] if i in found else episodes[i].rollout() for i in range(len(tasks))]


def _answered(task: Task, reply: Reply) -> Rollout:
    if reply.reason is not None:
        return Rollout.without_answer(task, reply.reason, "unscored" if reply.shown else "unshown")
    prompt = Segment("prompt", task.text, token_ids=reply.prompt_ids)
    return Rollout(task, (prompt, reply.segment), "end" if reply.finished else "length")


@dataclass
class _Episode:
    """The model acts in a task's environment by the text protocol of `steadfast.tasks.tool_text`."""

    task: Task
    segments: list[Segment] = field(default_factory=list[Segment])
    stop: Stop = "end"
    reason: str | None = None

    def __post_init__(self) -> None:
        assert self.task.environment is not None
        self.simulation = Simulation.after(self.task.environment, ())
        self.conversation: Conversation = self.task.messages
        self._seen: tuple[int, ...] = ()
        self._turns = 0

    def take(self, reply: Reply) -> bool:
        """Carry out a reply's call, and return whether the model has another turn."""
        if reply.reason is not None:
            self.stop, self.reason = "unscored" if reply.shown else "unshown", reply.reason
            return False
        self._append(reply)
        self._turns += 1
        if not reply.finished:
            self.stop = "length"
        made = parse_call(reply.segment.text)
        if made is None or is_blank(reply.segment.text):
            return False
        result = self._call(*made)
        self.conversation = (
            *self.conversation,
            Message(role="assistant", content=reply.segment.text),
            Message(role="user", content=render_result(made[0], result)),
        )
        self._result = result
        if self._turns >= MAX_CALLS:
            self.stop = "turns"
            self.segments.append(Segment("tool", result))
            return False
        return True

    def _append(self, reply: Reply) -> None:
        """Add what was said since the last reply, and then the reply, so that its tokens follow its prompt's.

        If the template writes earlier turns anew, or their text has other tokens than those that were sampled, the new
        conversation does not begin with the old one. Its tokens then stand there whole, as another prompt.
        """
        if not self.segments:
            self.segments.append(Segment("prompt", self.task.text, token_ids=reply.prompt_ids))
        else:
            goes_on = reply.prompt_ids[: len(self._seen)] == self._seen
            new = reply.prompt_ids[len(self._seen) :] if goes_on else ()
            self.segments.append(Segment("tool", self._result, token_ids=new))
            if not goes_on:
                self.segments.append(Segment("prompt", "", token_ids=reply.prompt_ids))
        self.segments.append(reply.segment)
        self._seen = (*reply.prompt_ids, *reply.segment.token_ids)

    def _call(self, tool: str, arguments: dict[str, object]) -> str:
        call = Call.model_validate({"tool": tool, "arguments": arguments})
        if fault := self.simulation.fault(call):
            return f"error: {fault}"
        return self.simulation.call(call)

    def rollout(self) -> Rollout:
        """Return the episode's rollout."""
        return Rollout(self.task, tuple(self.segments), self.stop, self.reason)
