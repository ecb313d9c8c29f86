"""Messages in Inspect's types and back, for models that know no tools but text."""

from collections.abc import Sequence
from typing import Literal

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    ModelOutput,
)
from inspect_ai.tool import ToolCall, ToolInfo

from steadfast.messages import Message, is_blank
from steadfast.tasks.tool_text import ToolText, describe_parameter, parse_call, render_call, render_result, with_tools

_CHAT = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}


def as_chat(messages: Sequence[Message]) -> list[ChatMessage]:
    """Messages in Inspect's types."""
    return [_CHAT[m.role](content=m.content) for m in messages]


def as_turns(messages: Sequence[ChatMessage], tools: Sequence[ToolInfo] = ()) -> tuple[Message, ...]:
    """A conversation as text, its tools described in the system turn.

    Turns without text are left out, and the user's that follow one another become one.
    """
    turns: list[Message] = []
    for message in messages:
        role, text = _role(message), _text(message)
        if not is_blank(text) and turns and turns[-1].role == role == "user":
            turns[-1] = Message(role="user", content=f"{turns[-1].content}\n\n{text}")
        elif not is_blank(text):
            turns.append(Message(role=role, content=text))
    return with_tools(turns, [_described(tool) for tool in tools]) if tools else tuple(turns)


def as_output(model: str, text: str, *, finished: bool, tools: Sequence[ToolInfo] = (), turn: int = 0) -> ModelOutput:
    """A reply as Inspect's output; with tools on offer, a call in the text is made one, its id by tool and turn."""
    call = parse_call(text) if tools else None
    if call is None:
        return ModelOutput.from_content(model, text, "stop" if finished else "max_tokens")
    name, arguments = call
    made = ToolCall(id=f"{name}-{turn}", function=name, arguments=arguments)
    message = ChatMessageAssistant(content="", tool_calls=[made], model=model, source="generate")
    return ModelOutput.from_message(message, "tool_calls")


def _role(message: ChatMessage) -> Literal["system", "user", "assistant"]:
    return "user" if message.role == "tool" else message.role


def _text(message: ChatMessage) -> str:
    if isinstance(message, ChatMessageTool):
        error = f"error: {message.error.message}" if message.error else ""
        return render_result(message.function or "tool", message.text or error)
    if isinstance(message, ChatMessageAssistant) and message.tool_calls:
        calls = [render_call(c.function, c.arguments) for c in message.tool_calls]
        return "\n".join([message.text, *calls]).strip()
    return message.text


def _described(tool: ToolInfo) -> ToolText:
    schemas = {name: p.model_dump(exclude_none=True) for name, p in tool.parameters.properties.items()}
    return ToolText(tool.name, tool.description, {n: describe_parameter(s) for n, s in schemas.items()})
