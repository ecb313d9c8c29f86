"""Tools in plain text: described, called, answered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
)
from inspect_ai.tool import ToolCall, ToolCallError

from steadfast.evals.episode import Episode
from steadfast.evals.messages import as_output, as_turns
from steadfast.tasks.tool_text import parse_call, render_call
from tests.tasks.environments import disk


@pytest.fixture
def tools():
    return Episode(disk()).tool_info


arguments = st.dictionaries(
    st.text(min_size=1, max_size=8).filter(lambda name: name != "tool"), st.text(max_size=20), max_size=3
)


@given(st.text(min_size=1, max_size=12), arguments, st.text("abc }[].\n", max_size=12))
def test_a_call_on_a_line_of_its_own_is_read_back_whatever_stands_around_it(tool, given_arguments, words):
    assert parse_call(f"{words}\n {render_call(tool, given_arguments)} {words}") == (tool, given_arguments)


@given(st.text(max_size=60))
def test_any_reply_can_be_read(text):
    call = parse_call(text)
    assert call is None or isinstance(call[0], str)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I would archive it.",
        '{"folder": "x"}',
        '{"tool": 3}',
        '["tool"]',
        '{"tool": "a"',
        "{" * 5000,
        'I will not call {"tool": "delete"} here.',
        '<think>Perhaps\n{"tool": "delete"}',
        '{"tool": "a", "x": "\\ud83d"}',
        '{"tool": "a", "x": ' + "[" * 30 + "]" * 30 + "}",
    ],
)
def test_what_is_no_call_is_not_taken_for_one(text):
    assert parse_call(text) is None


def test_the_first_call_that_is_made_counts():
    assert parse_call('Sure.\n{"tool": "a"}\n{"tool": "b"}') == ("a", {})
    assert parse_call('```json\n{"note": 1}\n{"tool": "b", "x": 3}\n```') == ("b", {"x": 3})
    assert parse_call('<think>Or\n{"tool": "a"}\n? No.</think>\n{"tool": "b"}') == ("b", {})


def test_a_reply_with_a_call_becomes_a_tool_call_of_inspects(tools):
    output = as_output("m", '{"tool": "archive", "folder": "2019"}', finished=True, tools=tools, turn=3)
    (call,) = output.message.tool_calls
    assert (call.id, call.function, call.arguments) == ("archive-3", "archive", {"folder": "2019"})
    assert output.stop_reason == "tool_calls"


def test_without_tools_on_offer_a_call_is_just_text():
    output = as_output("m", '{"tool": "archive"}', finished=False)
    assert (output.completion, output.stop_reason) == ('{"tool": "archive"}', "max_tokens")
    assert not output.message.tool_calls


def test_calls_and_results_and_errors_are_turns_that_alternate(tools):
    call = ToolCall(id="1", function="archive", arguments={"folder": "x"})
    error = ToolCallError("parsing", "no such tool")
    turns = as_turns(
        [
            ChatMessageSystem(content="S"),
            ChatMessageUser(content="U"),
            ChatMessageAssistant(content="Well.", tool_calls=[call]),
            ChatMessageTool(content="Moved.", tool_call_id="1", function="archive"),
            ChatMessageTool(content="", tool_call_id="2", function="shred", error=error),
            ChatMessageAssistant(content=""),
        ]
    )
    assert [m.role for m in turns] == ["system", "user", "assistant", "user"]
    assert turns[2].content == 'Well.\n{"tool": "archive", "folder": "x"}'
    assert turns[3].content == "Result of archive: Moved.\n\nResult of shred: error: no such tool"


def test_tools_are_told_of_even_where_no_system_turn_stands(tools):
    system, user = as_turns([ChatMessageUser(content="U")], tools)
    assert system.role == "system"
    assert system.content.startswith("You act by calling tools:\n- list_folders()")
    assert user.content == "U"


def test_an_episode_begins_with_the_very_conversation_that_choice_scoring_shows(tools):
    episode = Episode(disk())
    assert as_turns(episode.messages, episode.tool_info) == disk().messages
