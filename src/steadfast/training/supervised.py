"""Supervised training imitates the assistant's turns of conversations, in the loop and the files of reinforcement.

The loss is the mean cross-entropy in nats over the assistant's tokens, the end of its turn among them; what the user
says and what the chat template writes is read and not learned. It equals TRL's SFTTrainer's on the same batch
(`tests/training/test_supervised_against_trl.py`). Only the adapter is trained: a checkpoint of this project is an
adapter, so there is no training of all weights.

A step first answers its prompts once, as a step of reinforcement does: so rewards, lengths, entropy and the KL from
the model without its adapter are measured in the same way on the same prompts, and can be held against each other. The
answers teach nothing, and where an update is cheaper than they are, as in an attack, only some steps give them.
"""

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any, Literal

import torch
from torch import Tensor

from steadfast.errors import DataError
from steadfast.graders.grade import Judge
from steadfast.messages import Message
from steadfast.models.chat import ChatTemplate
from steadfast.models.forward import completion_logprobs
from steadfast.models.lower_layers import KeptLowerLayers, LowerLayers
from steadfast.models.packing import Span, pack_sequences, shared_out
from steadfast.models.policy import Policy
from steadfast.tasks.programs import correct_answers
from steadfast.tasks.task import References, RefusalGrader, Task
from steadfast.training.config import TrainingConfig
from steadfast.training.descent import descend, refuse_not_finite
from steadfast.training.groups import GradedGroup
from steadfast.training.loop import OnStep, StepOutput, rollout_rows, run_steps, seed_of_step
from steadfast.training.mixture import ScheduledTask
from steadfast.training.policy_update import measure_kl
from steadfast.training.step import grade, roll_out, rollout_metrics

_PASS_TOKENS = 768
"""A pass has about this many tokens at most: more gains no speed on a CPU and costs memory."""


@dataclass(frozen=True)
class Demonstration:
    """A conversation that is to be imitated.

    Attributes:
        task: What is asked, and what grades the model's own answers to it.
        answer: The assistant's answer to the task's last turn.
        pool: The part of the mixture that it belongs to; what is measured is logged by pool.
        turns: Whether the answer alone is imitated ("last"), or the assistant's earlier turns as well ("all"). A
            task's earlier turns are given, and may be wrong on purpose.
    """

    task: Task
    answer: str
    pool: str
    turns: Literal["last", "all"] = "last"

    @classmethod
    def of_conversation(
        cls, identifier: str, messages: Sequence[Message], pool: str = "conversations"
    ) -> "Demonstration":
        """Make a demonstration of a whole conversation, whose last turn is the assistant's.

        Its task is graded by whether an answer refuses, which needs no judge.

        Raises:
            DataError: The last turn is not the assistant's.
            ValidationError: The turns before it are no conversation that a task may have.
        """
        if not messages or messages[-1].role != "assistant":
            raise DataError([f"conversation {identifier!r}: the last turn must be the assistant's, which is imitated"])
        answer = messages[-1].content
        task = Task(
            id=identifier,
            messages=tuple(messages[:-1]),
            grader=RefusalGrader(),
            references=References(good=(answer,)),
        )
        return cls(task, answer, pool, "all")

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation with its answer."""
        return (*self.task.messages, Message(role="assistant", content=self.answer))


def demonstrations_of(schedule: Sequence[Sequence[ScheduledTask]], seed: int) -> list[list[Demonstration]]:
    """Give each place of a schedule a correct answer to its task; of several, one drawn by the seed.

    A place whose task has none stays empty, so that every other task keeps its step. In a study these are the
    instruction tasks of the standard pool, of which a program knows the form and nobody wrote an answer: one that we
    wrote would teach our style, and one of the model's own would be reinforcement.
    """
    return [
        [
            Demonstration(s.task, Random(f"{seed}/{number}/{place}").choice(answers), s.pool)
            for place, s in enumerate(step)
            if (answers := correct_answers(s.task))
        ]
        for number, step in enumerate(schedule)
    ]


def batches_of(
    demonstrations: Sequence[Demonstration], *, steps: int, per_step: int, seed: int
) -> list[list[Demonstration]]:
    """Lay demonstrations out in steps: over and over, each pass through them in a new order, which the seed decides.

    Raises:
        ValueError: There are none.
    """
    if not demonstrations:
        raise ValueError("there are no demonstrations to train on")

    def orders() -> Iterator[Demonstration]:
        for epoch in count():
            yield from Random(f"{seed}/{epoch}").sample(demonstrations, len(demonstrations))

    endless = orders()
    return [list(islice(endless, per_step)) for _ in range(steps)]


def encode_demonstration(
    chat: ChatTemplate, demonstration: Demonstration, style: str | None = None
) -> list[list[Span]]:
    """Return a demonstration's tokens as sequences of spans, of which those of imitated turns are trained.

    Each imitated turn follows exactly the tokens after which the model would be sampled. One sequence holds all turns,
    unless the template writes earlier turns anew as the conversation goes on; then a turn begins another sequence.
    Where the prompt opens the model's thoughts, an answer begins with the mark that ends them.

    Args:
        chat: The model's chat template.
        demonstration: The conversation.
        style: An instruction on form, as `ChatTemplate.render` takes it.

    Raises:
        ChatTemplateError: The conversation cannot be rendered rightly, or exceeds the model's context.
    """
    messages = demonstration.messages
    spoken = [i for i, m in enumerate(messages) if m.role == "assistant"]
    found: list[list[Span]] = []
    for place in spoken if demonstration.turns == "all" else spoken[-1:]:
        text = messages[place].content
        if chat.opens_thoughts:
            text = f"{chat.settings.marks.end}\n\n{text}"
        reply = [*chat.encode_reply(text), chat.end_of_turn]
        prompt = chat.encode(messages[:place], style, max_new_tokens=len(reply))
        before = [t for span in found[-1] for t in span.token_ids] if found else []
        if not before or prompt[: len(before)] != before:
            found.append([])
            before = []
        found[-1] += [Span(prompt[len(before) :], trained=False), Span(reply, trained=True)]
    return found


def _losses(policy: Policy, sequences: Sequence[list[Span]], lower: KeptLowerLayers | None) -> Iterator[Tensor]:
    """Yield the loss of each pass; together they are the mean cross-entropy over all trained tokens."""
    total = _trained_tokens(sequences)
    for one in shared_out(sequences, lambda spans: sum(len(s.token_ids) for s in spans), _PASS_TOKENS):
        packed = pack_sequences(one)
        entering_TD, first = None, 0
        if lower is not None:
            first = lower.first_layer
            entering_TD = packed.laid_out([lower.entering(policy.lm, packed.input_ids_T[p]) for p in packed.places])
        yield -completion_logprobs(policy.lm, packed, hidden_TD=entering_TD, first_layer=first).sum() / total


def _trained_tokens(sequences: Sequence[list[Span]]) -> int:
    return sum(len(span.token_ids) for sequence in sequences for span in sequence if span.trained)


@torch.no_grad()
def supervised_loss(
    policy: Policy,
    demonstrations: Sequence[Demonstration],
    style: str | None = None,
    lower: KeptLowerLayers | None = None,
) -> float:
    """Return the mean cross-entropy in nats over the tokens of all imitated turns, and change nothing.

    Args:
        policy: The model with its adapter.
        demonstrations: What is imitated.
        style: An instruction on form, as `ChatTemplate.render` takes it.
        lower: What the layers below the adapter made of the sequences, if it is kept.

    Raises:
        ChatTemplateError: A demonstration cannot be encoded.
        ValueError: There are no demonstrations.
    """
    if not demonstrations:
        raise ValueError("a loss needs demonstrations")
    return float(sum(_losses(policy, _encoded(policy, demonstrations, style), lower)))


def _encoded(policy: Policy, demonstrations: Sequence[Demonstration], style: str | None) -> list[list[Span]]:
    return [s for d in demonstrations for s in encode_demonstration(policy.chat, d, style)]


def supervised_step(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    demonstrations: Sequence[Demonstration],
    judge: Judge,
    config: TrainingConfig,
    seed: int,
    answered: bool = True,
    lower: KeptLowerLayers | None = None,
) -> tuple[list[GradedGroup], dict[str, Any]]:
    """Answer the prompts of a step once, then imitate its demonstrations; return the answers and the metrics.

    Args:
        policy: The model with its adapter.
        optimizer: The optimizer of the adapter.
        demonstrations: What is imitated; a step without any changes nothing.
        judge: The judge that grades the answers to tasks with a rubric. Its grades are logged and teach nothing.
        config: The settings of the training.
        seed: The seed of the answers.
        answered: Whether the prompts are answered; without answers there is nothing to measure on them.
        lower: What the layers below the adapter made of the demonstrations, if it is kept.

    Raises:
        TrainingError: A loss, a gradient or a weight is not finite, as `descend` says.
    """
    times = [time.perf_counter()]
    scheduled = [ScheduledTask(d.task, d.pool) for d in demonstrations]
    one_each = config.model_copy(update={"group_size": 1})  # nothing is learned from it, so it needs no group
    groups = roll_out(policy, scheduled, one_each, seed) if scheduled and answered else []
    times.append(time.perf_counter())
    graded = grade(groups, judge)
    times.append(time.perf_counter())
    metrics: dict[str, Any] = {"demonstrations": len(demonstrations)}
    if graded:
        # A group of one completion is dead by its size alone.
        measured = rollout_metrics(graded)
        metrics |= {k: v for k, v in measured.items() if not k.startswith("dead_group_share")}
        metrics["kl"] = measure_kl(policy, graded, config)
        refuse_not_finite("log-probability", metrics["kl"])
    metrics |= imitate(policy, optimizer, demonstrations, config, lower)
    times.append(time.perf_counter())
    sample, judged, train = (b - a for a, b in itertools.pairwise(times))
    return graded, metrics | {"seconds/sample": sample, "seconds/grade": judged, "seconds/train": train}


def imitate(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    demonstrations: Sequence[Demonstration],
    config: TrainingConfig,
    lower: KeptLowerLayers | None = None,
) -> dict[str, float]:
    """Take a batch of demonstrations through the loss and the optimizer, and return what is to be logged.

    There are as many updates on the batch as reinforcement takes on a batch of rollouts.

    Raises:
        ChatTemplateError: A demonstration cannot be encoded.
        TrainingError: A loss, a gradient or a weight is not finite.
    """
    sequences = _encoded(policy, demonstrations, config.style)
    steps = [
        descend(policy, optimizer, _losses(policy, sequences, lower), config.max_grad_norm)
        for _ in range(config.updates_per_rollout if sequences else 0)
    ]
    return {
        "loss": fmean(loss for loss, _ in steps) if steps else 0.0,
        "grad_norm": steps[-1][1] if steps else 0.0,
        "trained_tokens": _trained_tokens(sequences),
    }


def train_supervised(
    policy: Policy,
    batches: Sequence[Sequence[Demonstration]],
    judge: Judge,
    config: TrainingConfig,
    directory: Path,
    *,
    seed: int,
    held_out: Sequence[Demonstration] = (),
    answer_every: int = 1,
    lower_layers: LowerLayers | None = None,
    on_step: OnStep = lambda _step, _metrics: None,
) -> None:
    """Train a policy on demonstrations, or go on where a killed run stopped.

    The directory gets the same files as in reinforcement, see `steadfast.training.loop`. Of the settings those of the
    optimizer, the schedule, the adapter and the sampling count; the loss is taken at temperature 1, and has no KL
    penalty.

    Args:
        policy: The model with a fresh adapter, whose weights are replaced if a state is found.
        batches: The demonstrations of each step.
        judge: The judge that grades the model's answers to tasks with a rubric.
        config: The settings of the training.
        directory: The directory of the arm.
        seed: The seed of the answers.
        held_out: Demonstrations that are not trained on. Their loss is logged after every `save_every` steps, after
            the steps in `keep` and after the last one; and, with the first step, as it was before that
            ("held_out_loss_before").
        answer_every: The prompts are answered, and rewards, lengths and the KL measured on them, in every so many
            steps, and in the first, the last and those in `keep`.
        lower_layers: A store that is shared with other trainings on the same demonstrations, whose adapters lie in the
            same layers; what the layers below make of a demonstration is then computed once. It is not used where
            something is trained below its first layer.
        on_step: A function that is told each step's number, from 1, and its metrics.

    Raises:
        SteadfastError: The disk is full, or the saved state is damaged.
        TrainingError: A loss, a gradient or a weight is not finite; the last saved state is whole.
    """
    told = {len(batches), *config.keep}
    lower = None
    if lower_layers is not None and policy.first_adapted_layer >= lower_layers.first_layer:
        lower = lower_layers.of(policy.lm)

    def step(optimizer: torch.optim.Optimizer, number: int) -> StepOutput:
        before = supervised_loss(policy, held_out, config.style, lower) if held_out and number == 1 else None
        answered = number == 1 or number in told or number % answer_every == 0
        graded, metrics = supervised_step(
            policy, optimizer, batches[number - 1], judge, config, seed_of_step(seed, number), answered, lower
        )
        if before is not None:
            metrics["held_out_loss_before"] = before
        if held_out and (number in told or number % config.save_every == 0):
            metrics["held_out_loss"] = supervised_loss(policy, held_out, config.style, lower)
        return StepOutput(rollout_rows(number, graded, rewarded=False), metrics)

    run_steps(policy, step, len(batches), config, directory, on_step)
