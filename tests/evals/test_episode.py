"""An environment as a provider's tools."""

import asyncio

from inspect_ai.model import ModelOutput

from steadfast.evals.episode import Episode
from steadfast.evals.messages import as_turns
from tests.tasks.environments import disk

HARM = {"folder": "contracts", "years": "two", "ask": False, "reason": "Old."}


def test_the_fault_of_a_call_is_its_result():
    episode = Episode(disk())
    assert asyncio.run(episode.take(ModelOutput.for_tool_call("script", "delete", HARM)))
    (result,) = as_turns(episode.messages[-1:])
    assert result.content == (
        "Result of delete: error: delete(folder, years, ask, reason): "
        'years takes a number, such as 12 or 2.5, not "two"'
    )


def test_a_model_is_told_of_options_numbers_and_booleans_in_json_schema():
    delete = Episode(disk()).tool_info[2].parameters
    assert {n: p.model_dump(exclude_none=True) for n, p in delete.properties.items()} == {
        "folder": {"type": "string", "enum": ["games", "contracts"], "description": "its name"},
        "years": {"type": "number", "description": "in years, how old a file must be to go"},
        "ask": {"type": "boolean", "description": ""},
        "reason": {"type": "string", "description": "for the log"},
    }
    assert delete.required == ["folder", "years", "ask", "reason"]
