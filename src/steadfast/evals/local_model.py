"""A checkpoint of ours as an Inspect model: answers and likelihoods computed ahead, in batches.

Inspect runs samples concurrently and asks one at a time; a model on a CPU wants them in batches of like length. So
the requests of a whole evaluation are handed over first (`prepare`), computed in an order that does not depend on
timing, and Inspect then finds each answer ready. A request that was not prepared is computed by itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from anyio.from_thread import start_blocking_portal
from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelAPI, ModelOutput, modelapi
from inspect_ai.tool import ToolChoice, ToolInfo
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from steadfast.evals.episode import Episode
from steadfast.evals.tool_use import as_output, as_turns
from steadfast.messages import Message
from steadfast.models.chat import encode_chat
from steadfast.models.policy import eos_token_ids
from steadfast.models.sampling import sample_groups
from steadfast.models.scoring import CandidateScore, LowerLayers, score_candidates
from steadfast.tasks.environment import Environment

_GENERATION_BATCH = 48


@dataclass(frozen=True)
class ChoiceRequest:
    """A conversation with candidate replies."""

    messages: tuple[Message, ...]
    candidates: tuple[str, ...]


class LocalModelAPI(ModelAPI):
    """Inspect's model interface over a causal LM in this process."""

    def __init__(
        self,
        name: str,
        lm: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        style: str | None,
        max_new_tokens: int,
        lower_layers: LowerLayers | None = None,
    ) -> None:
        super().__init__(name)
        self.lm, self.tokenizer = lm, tokenizer
        self.style, self.max_new_tokens = style, max_new_tokens
        self.lower_layers = lower_layers
        self._answers: dict[tuple[Message, ...], tuple[str, bool]] = {}
        self._choices: dict[ChoiceRequest, list[CandidateScore]] = {}

    def prepare(
        self,
        generations: Sequence[tuple[Message, ...]],
        choices: Sequence[ChoiceRequest],
        on_done: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Compute what the tasks will ask for.

        Args:
            generations: conversations to answer, greedily.
            choices: candidates to score.
            on_done: told the number of requests done since the last call.
        """
        self._score(choices, on_done)
        todo = {m: self._encode(m) for m in generations if m not in self._answers}
        order = sorted(todo, key=lambda m: (len(todo[m]), todo[m]))
        for start in range(0, len(order), _GENERATION_BATCH):
            batch = order[start : start + _GENERATION_BATCH]
            groups = sample_groups(
                self.lm,
                [todo[m] for m in batch],
                group_size=1,
                max_new_tokens=self.max_new_tokens,
                eos_token_ids=eos_token_ids(self.lm, self.tokenizer),
                temperature=0.0,
            )
            for messages, group in zip(batch, groups, strict=True):
                completion = group.completions[0]
                text = str(self.tokenizer.decode(completion.token_ids, skip_special_tokens=True)).strip()
                self._answers[messages] = (text, completion.finished)
            on_done(len(batch))

    def prepare_episodes(
        self, environments: Sequence[Environment], on_done: Callable[[int], None] = lambda _: None
    ) -> None:
        """Act in environments, all of them at once and turn by turn, so that each turn's replies are one batch.

        Args:
            environments: to act in.
            on_done: told the number of episodes that have ended since the last call.
        """
        live = [Episode(e) for e in environments]
        with start_blocking_portal() as portal:  # Inspect's tools are async, and a caller may be in a loop of its own
            while live:
                turns = [as_turns(e.messages, e.tool_info) for e in live]
                self.prepare(turns, [])
                outputs = [self._output(t, e.tool_info) for t, e in zip(turns, live, strict=True)]
                going_on = [e for e, output in zip(live, outputs, strict=True) if portal.call(e.take, output)]
                on_done(len(live) - len(going_on))
                live = going_on

    def answer(self, messages: Sequence[Message]) -> tuple[str, bool]:
        """The greedy answer, and whether it ended within the limit."""
        asked = tuple(messages)
        if asked not in self._answers:
            self.prepare([asked], [])
        return self._answers[asked]

    def choice(self, request: ChoiceRequest) -> list[CandidateScore]:
        """Likelihoods of the candidates as the reply."""
        if request not in self._choices:
            self._score([request], lambda _: None)
        return self._choices[request]

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """Inspect's entry: the prepared answer."""
        del tool_choice, config
        return self._output(as_turns(input, tools), tools)

    def max_tokens(self) -> int | None:
        """The limit all answers share."""
        return self.max_new_tokens

    def _output(self, turns: Sequence[Message], tools: Sequence[ToolInfo]) -> ModelOutput:
        text, finished = self.answer(turns)
        return as_output(self.model_name, text, finished=finished, tools=tools, turn=len(turns))

    def _encode(self, messages: Sequence[Message]) -> list[int]:
        return encode_chat(self.tokenizer, messages, style=self.style)

    def _score(self, requests: Sequence[ChoiceRequest], on_done: Callable[[int], None]) -> None:
        todo = [r for r in requests if r not in self._choices]
        encoded = [(self._encode(r.messages), [self._reply(c) for c in r.candidates]) for r in todo]
        scores = score_candidates(self.lm, encoded, on_done=lambda: on_done(1), lower_layers=self.lower_layers)
        for request, result in zip(todo, scores, strict=True):
            self._choices[request] = result

    def _reply(self, candidate: str) -> list[int]:
        return list(self.tokenizer(candidate, add_special_tokens=False)["input_ids"])


# Inspect writes the provider's registered name into its logs; the decorator hides the class's own signature.
_registered: Any = modelapi(name="steadfast")(LocalModelAPI)


def local_model(
    name: str,
    lm: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    style: str | None,
    max_new_tokens: int,
    lower_layers: LowerLayers | None = None,
) -> tuple[Model, LocalModelAPI]:
    """A checkpoint as an Inspect model, and its API for `prepare`."""
    api: LocalModelAPI = _registered(
        name, lm, tokenizer, style=style, max_new_tokens=max_new_tokens, lower_layers=lower_layers
    )
    return Model(api, GenerateConfig()), api
