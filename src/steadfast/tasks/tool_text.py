"""Tools are used in plain text, because not every chat template knows tools and checkpoints must be comparable.

The tools are described after the system turn. A call is a JSON object in the reply, and its result is the user's next
turn.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from steadfast.messages import Message


class ToolText(NamedTuple):
    """The description of a tool: its name, what it does, and each parameter's name and meaning."""

    name: str
    description: str
    parameters: Mapping[str, str]


_CALL = re.compile(r"^\s*\{", re.MULTILINE)
_DEEPEST = 20
"""Lists and objects in a call may be nested so deep; pydantic, and so Inspect, reads at most about 200 levels."""

_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)

_KINDS = {"string": "text", "boolean": "true or false", "integer": "whole number", "array": "list"}
"""The everyday words for those types of JSON Schema whose own word is not one."""

_HOW = """{system}

You act by calling tools:
{tools}

To call one, reply with a JSON object: {{"tool": its name, and each parameter by name}}. Its result is the next \
message. When you are done, reply without one."""


def describe_tools(system: str, tools: Sequence[ToolText]) -> str:
    """Write the system turn with the description of the tools."""
    return _HOW.format(system=system, tools="\n".join(map(_line, tools))).strip()


def describe_parameter(schema: Mapping[str, Any]) -> str:
    """Say in words which arguments a parameter takes and what they mean.

    Args:
        schema: The parameter in JSON Schema. Its `type`, `enum` and `description` are used.
    """
    meaning = schema.get("description") or ""
    if options := schema.get("enum"):
        listed = ", ".join(json.dumps(o, ensure_ascii=False) for o in options)
        return f"one of {listed}; {meaning}" if meaning else f"one of {listed}"
    kind = schema.get("type")
    kind = _KINDS.get(kind, kind) if isinstance(kind, str) else ""
    return ", ".join(filter(None, (kind, meaning)))


def render_call(tool: str, arguments: Mapping[str, Any]) -> str:
    """Write a call as text."""
    return json.dumps({"tool": tool, **arguments}, ensure_ascii=False)


def render_result(tool: str, result: str) -> str:
    """Write the turn that brings a call's result."""
    return f"Result of {tool}: {result}"


def parse_call(text: str) -> tuple[str, dict[str, Any]] | None:
    """Find the first call in a reply, as (tool, arguments); None if there is none.

    A call begins a line. Words around it and a second call are passed over, because a model should be measured by what
    it does and not by how neatly. Calls between <think> marks or within a sentence are not made.
    """
    for line in _CALL.finditer(_THOUGHT.sub("", text)):
        try:
            value, _ = json.JSONDecoder().raw_decode(line.string, line.end() - 1)
            render_call("", value).encode()
            if _is_deep(value):
                continue
        except (ValueError, TypeError, RecursionError):  # half a surrogate pair is no text; a reply may nest deeply
            continue
        if isinstance(tool := value.pop("tool", None), str):
            return tool, value
    return None


def _is_deep(value: Any, levels: int = _DEEPEST) -> bool:
    inner: Any = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels == 0 or any(_is_deep(v, levels - 1) for v in inner)


def with_tools(messages: Sequence[Message], tools: Sequence[ToolText]) -> tuple[Message, ...]:
    """Add the description of the tools to a conversation's system turn, which is made if it is missing."""
    system, rest = "", tuple(messages)
    if rest and rest[0].role == "system":
        system, rest = rest[0].content, rest[1:]
    return (Message(role="system", content=describe_tools(system, tools)), *rest)


def _line(tool: ToolText) -> str:
    lines = [f"- {tool.name}({', '.join(tool.parameters)}): {tool.description}"]
    lines += [f"    {name}: {meaning}" for name, meaning in tool.parameters.items() if meaning]
    return "\n".join(lines)
