"""A local checkpoint as a model of Inspect's, for the public benchmarks that Inspect runs itself."""

from typing import Any

from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelAPI, ModelOutput, modelapi
from inspect_ai.tool import ToolChoice, ToolInfo
from transformers import PreTrainedModel

from steadfast.evals.messages import as_output, as_turns
from steadfast.models.chat import ChatTemplate
from steadfast.rollouts.sampler import LocalSampler


class LocalModelAPI(ModelAPI):
    """Inspect's model interface over a causal LM in this process: greedy answers, one at a time."""

    def __init__(self, name: str, lm: PreTrainedModel, chat: ChatTemplate, *, max_new_tokens: int) -> None:
        super().__init__(name)
        self._sampler = LocalSampler(lm, chat, max_new_tokens)

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """The greedy answer; with tools on offer, a call in its text is made one."""
        del tool_choice, config
        turns = as_turns(input, tools)
        (reply,) = self._sampler.reply([turns])
        return as_output(self.model_name, reply.segment.text, finished=reply.finished, tools=tools, turn=len(turns))

    def max_tokens(self) -> int | None:
        """The limit that all answers share."""
        return self._sampler.max_new_tokens


# Inspect writes the provider's registered name into its logs; the decorator hides the class's own signature.
_registered: Any = modelapi(name="steadfast")(LocalModelAPI)


def local_model(name: str, lm: PreTrainedModel, chat: ChatTemplate, *, max_new_tokens: int) -> Model:
    """A checkpoint as an Inspect model."""
    return Model(_registered(name, lm, chat, max_new_tokens=max_new_tokens), GenerateConfig())
