"""The battery's evals as Inspect tasks, one for each scoring.

`choice`: the likelihood the model gives to each good reply against each bad one, in place of an answer and a judge.
`generation`: the model's own answer, graded by an evaluation judge; whether it refuses is kept beside the grade.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from inspect_ai import Task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageSystem, ChatMessageUser, get_model
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, generate, solver
from scipy.special import expit

from steadfast.evals.local_model import ChoiceRequest, LocalModelAPI
from steadfast.graders.grade import Grade
from steadfast.graders.refusal import is_refusal
from steadfast.messages import Message
from steadfast.models.scoring import CandidateScore
from steadfast.tasks.battery import Eval, EvalItem
from steadfast.tasks.scenario import Criterion, Scenario

_CHAT = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}


def chat(messages: Sequence[Message]) -> list[ChatMessage]:
    """Messages in Inspect's types."""
    return [_CHAT[m.role](content=m.content) for m in messages]


def choice_request(item: EvalItem) -> ChoiceRequest:
    """The likelihoods an item's `choice` scoring asks for: good replies first, then bad ones."""
    return ChoiceRequest(item.messages, (*item.good, *item.bad))


def preference(good: Sequence[CandidateScore], bad: Sequence[CandidateScore]) -> float:
    """How far a model prefers the good replies, in [0, 1]; 0.5 is indifference.

    Over all pairs of a good and a bad reply, the mean probability of picking the good one in proportion to the
    likelihood of a token, exp(mean log-likelihood). Continuous, so small shifts show; blind to length.
    """
    pairs = [float(expit(g.per_token - b.per_token)) for g in good for b in bad]
    return sum(pairs) / len(pairs)


def pairs_won(good: Sequence[CandidateScore], bad: Sequence[CandidateScore]) -> float:
    """Share of (good, bad) pairs in which the good reply is the likelier per token."""
    pairs = [g.per_token > b.per_token for g in good for b in bad]
    return sum(pairs) / len(pairs)


def grading_scenario(evaluation: Eval, item: EvalItem) -> Scenario:
    """An item as a rubric of one criterion, for judging free answers."""
    rubric = (Criterion(criterion=item.criterion, points=1, met=item.good, unmet=item.bad),)
    return Scenario.model_construct(
        id=item.id,
        trait="",
        domain=evaluation.domain,
        messages=item.messages,
        rubric=rubric,
        split="held_out",
    )


@solver
def likelihood_choice() -> Solver:
    """Scores the item's replies by likelihood instead of generating an answer."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        del generate
        api: Any = get_model().api
        if not isinstance(api, LocalModelAPI):
            raise TypeError("`choice` scoring reads likelihoods, which only a local checkpoint gives")
        good, bad = state.metadata["good"], state.metadata["bad"]
        messages = tuple(Message.model_validate(m) for m in state.metadata["messages"])
        scores = api.choice(ChoiceRequest(messages, (*good, *bad)))
        state.metadata["likelihoods"] = [[s.logprob, s.tokens] for s in scores]
        best = max(range(len(scores)), key=lambda i: scores[i].per_token)
        state.output.completion = (*good, *bad)[best]
        return state

    return solve


@scorer(metrics=[mean(), stderr()])
def preference_score() -> Scorer:
    """The preference for the good replies; `pairs_won` beside it."""

    async def score(state: TaskState, target: Target) -> Score:
        del target
        scores = [CandidateScore(logprob, tokens) for logprob, tokens in state.metadata["likelihoods"]]
        split = len(state.metadata["good"])
        good, bad = scores[:split], scores[split:]
        return Score(
            value=preference(good, bad),
            answer=state.output.completion,
            metadata={"pairs_won": pairs_won(good, bad), "likelihoods": state.metadata["likelihoods"]},
        )

    return score


@scorer(metrics=[mean(), stderr()])
def judged(grades: Mapping[str, Grade]) -> Scorer:
    """The evaluation judge's grade; an answer that could not be graded is unscored, not wrong."""

    async def score(state: TaskState, target: Target) -> Score:
        del target
        grade, text = grades[str(state.sample_id)], state.output.completion
        metadata = {
            "refused": is_refusal(text),
            "finished": state.output.stop_reason == "stop",
            "gate": grade.gate,
            "judge": grade.judge,
            "protocol": grade.protocol,
            "verdicts": [[v.criterion, v.score] for v in grade.verdicts],
            **grade.detail,
        }
        if grade.score is None:
            return Score.unscored(reason=grade.error or "ungraded", answer=text, metadata=metadata)
        return Score(value=grade.score, answer=text, metadata=metadata)

    return score


def choice_task(evaluation: Eval, items: Sequence[EvalItem]) -> Task:
    """An eval under `choice` scoring."""
    samples = [item_sample(item, {"good": list(item.good), "bad": list(item.bad)}) for item in items]
    return scoring_task(evaluation, "choice", samples, likelihood_choice(), preference_score())


def generation_task(evaluation: Eval, items: Sequence[EvalItem], grades: Mapping[str, Grade]) -> Task:
    """An eval under `generation` scoring, with the grades of the prepared answers by item."""
    samples = [item_sample(item, {}) for item in items]
    return scoring_task(evaluation, "generation", samples, generate(), judged(grades))


def item_sample(item: EvalItem, extra: dict[str, Any]) -> Sample:
    """An item as Inspect's sample, what its scoring needs beside it."""
    metadata = {"messages": [m.model_dump() for m in item.messages], "criterion": item.criterion, **extra}
    return Sample(id=item.id, input=chat(item.messages), target=item.good[0], metadata=metadata)


def scoring_task(evaluation: Eval, scoring: str, samples: list[Sample], solve: Solver, score: Scorer) -> Task:
    """The Inspect task of an eval under a scoring."""
    return Task(
        dataset=MemoryDataset(samples, name=evaluation.name),
        solver=solve,
        scorer=score,
        name=f"{evaluation.name}-{scoring}",
        metadata={
            "construct": evaluation.construct,
            "domain": evaluation.domain,
            "measures": evaluation.measures,
        },
        tags=[evaluation.construct, scoring],
    )
