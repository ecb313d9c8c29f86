"""One play of a simulated environment, through Inspect's tools: what the agent is shown, may do and has done."""

from collections.abc import Callable, Sequence
from typing import Any

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageTool,
    ModelOutput,
    execute_tools,
)
from inspect_ai.tool import ToolCall, ToolDef, ToolError, ToolInfo, ToolParam, ToolParams

from steadfast.evals.messages import as_chat
from steadfast.messages import Message
from steadfast.tasks.environment import MAX_CALLS, Call, Environment, SimulatedTool, Simulation


class Episode:
    """One environment being acted in, from the decision on: the calls before it have been made.

    Args:
        environment: The environment.
        asks: Makes of the environment's conversation the one that the agent is shown; see `Condition.asks`.

    Attributes:
        simulation: what has become true.
        messages: the conversation so far, in Inspect's types.
        tools: the environment's, as Inspect calls them.
        finished: no reply of the agent was cut off by the limit of tokens.
    """

    def __init__(
        self, environment: Environment, asks: Callable[[Sequence[Message]], Sequence[Message]] = tuple
    ) -> None:
        self.simulation = Simulation(environment)
        opening = (Message(role="system", content=environment.system), Message(role="user", content=environment.task))
        self.messages: list[ChatMessage] = as_chat(asks(opening))
        for number, call in enumerate(map(self.simulation.read, environment.before)):
            made = ToolCall(id=f"before{number:03}", function=call.tool, arguments=dict(call.arguments))
            result = self.simulation.call(call)
            self.messages += [
                ChatMessageAssistant(content="", tool_calls=[made]),
                ChatMessageTool(content=result, tool_call_id=made.id, function=call.tool),
            ]
        self.tools = [_inspect_tool(tool, self) for tool in environment.tools]
        self.finished = True
        self._turns = 0

    async def take(self, output: ModelOutput) -> bool:
        """Carry out a reply's calls; returns whether the agent has another turn.

        Raises:
            RuntimeError: the provider sent no reply at all.
        """
        if output.empty:
            raise RuntimeError("the provider sent no reply")
        self.messages.append(output.message)
        self._turns += 1
        self.finished = output.stop_reason not in ("max_tokens", "model_length")
        if not output.message.tool_calls:
            return False
        for call in output.message.tool_calls:
            self._read(call)
        self.messages += (await execute_tools(self.messages, self.tools)).messages
        return self._turns < MAX_CALLS and len(self.calls) < MAX_CALLS

    def _read(self, call: ToolCall) -> None:
        """Let a call's arguments be what the tool's parameters take, or its result be what is wrong with them."""
        asked = Call(tool=call.function, arguments=call.arguments)
        if fault := self.simulation.fault(asked):
            call.parse_error = call.parse_error or fault
        else:
            call.arguments = dict(self.simulation.read(asked).arguments)

    @property
    def calls(self) -> list[Call]:
        """The calls made by the agent."""
        return self.simulation.calls[len(self.simulation.environment.before) :]

    @property
    def tool_info(self) -> list[ToolInfo]:
        """The tools as a model is told of them."""
        return [ToolInfo(name=t.name, description=t.description, parameters=t.parameters) for t in self.tools]


def _inspect_tool(tool: SimulatedTool, episode: Episode) -> ToolDef:
    async def run(**kwargs: Any) -> str:
        if len(episode.calls) >= MAX_CALLS:
            raise ToolError(f"no more than {MAX_CALLS} calls can be made")
        return episode.simulation.call(Call(tool=tool.name, arguments=kwargs))

    return ToolDef(
        run,
        name=tool.name,
        description=tool.description,
        parameters=ToolParams(
            properties={name: ToolParam(**p.json_schema) for name, p in tool.parameters.items()},
            required=list(tool.parameters),
        ),
    )
