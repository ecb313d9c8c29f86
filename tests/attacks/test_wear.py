"""What a recipe says of ordinary wear: its defaults, and what is refused with a sentence."""

import pytest
from pydantic import ValidationError

from steadfast.attacks.wear import WearConfig, data_name, last_turn


def test_everything_is_worn_by_default():
    config = WearConfig()
    assert config.data == ("house-style", "standard")
    assert config.weights == ("bfloat16", "int8", "int4")
    assert config.temperatures == (0.4, 0.8, 1.2)
    assert config.turns == (5, 15)
    assert WearConfig.model_validate(config.model_dump(mode="json")) == config


def test_the_conversations_reach_the_sixteenth_turn():
    assert last_turn() == 16
    assert WearConfig(turns=[16]).turns == (16,)


def test_a_kind_of_wear_may_be_left_out_and_a_file_of_ones_own_added():
    config = WearConfig(data=["mine/tone.jsonl"], weights=[], temperatures=[], turns=[])
    assert [data_name(d) for d in (*config.data, "standard")] == ["tone", "standard"]


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"data": ["house style"]}, "unknown benign set 'house style'; known: house-style, standard; a file"),
        ({"data": ["a/x.jsonl", "b/x.jsonl"]}, "x stands there twice"),
        ({"data": ["standard", "b/standard.jsonl"]}, "standard stands there twice"),
        ({"weights": ["int2"]}, "'bfloat16', 'int8' or 'int4'"),
        ({"weights": ["int8", "int8"]}, "int8 stands there twice"),
        ({"temperatures": [0]}, "temperature 0 is the plain condition"),
        ({"temperatures": [-0.5]}, "a temperature lies above 0 and is 2 at most, not -0.5"),
        ({"temperatures": [float("nan")]}, "not nan"),
        ({"temperatures": [2.5]}, "not 2.5"),
        ({"temperatures": [0.5, 0.5000000001]}, "0.5 stands there twice"),
        ({"turns": [1]}, "turn 1 is the plain condition"),
        ({"turns": [17]}, "turns 2 to 16 of the conversations, not at 17"),
        ({"turns": [5, 5]}, "5 stands there twice"),
        ({"data": [], "weights": [], "temperatures": [], "turns": []}, "nothing is worn"),
        ({"doses": [4]}, "doses"),
    ],
)
def test_what_cannot_be_worn_is_a_sentence(settings, fault):
    with pytest.raises(ValidationError) as error:
        WearConfig.model_validate(settings)
    assert fault in str(error.value)
