import pytest

from steadfast.redaction import redacted

OPENAI = "sk-proj-abcdEFGH1234567890ijkl"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"Incorrect API key provided: {OPENAI}.", "Incorrect API key provided: [redacted]"),
        ("Authorization: Bearer abc.def-ghi_jkl/mno+12==", "Authorization: Bearer [redacted]"),
        ('{"api_key": "0123456789abcdef"}', '{"api_key": "[redacted]"}'),
        ("x-api-key: 0123456789abcdef", "x-api-key: [redacted]"),
        ("AIzaSyA1234567890abcdefghijklmnopqrstu is blocked", "[redacted] is blocked"),
        ("token hf_abcdefghijklmnopqrst", "token [redacted]"),
        ("AKIAIOSFODNN7EXAMPLE", "[redacted]"),
        ("http://me:hunter22@proxy:80/", "http://[redacted]@proxy:80/"),
    ],
)
def test_what_has_the_shape_of_a_key_is_taken_out(text, expected):
    assert redacted(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Rate limit reached for gpt-4o in organization org-abc on tokens per min.",
        "the risk-averse, task-specific sk-learn answer at https://example.org/a:b",
        "no JSON schema: response_format is not supported",
        "the bearer of bad news has an API key missing",
    ],
)
def test_other_text_stays(text):
    assert redacted(text) == text


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "DB_PASSWORD", "MINE_KEY_2"])
def test_the_values_of_variables_named_like_keys_are_taken_out(monkeypatch, name):
    monkeypatch.setenv(name, "correct horse/battery")
    assert redacted("no: correct horse/battery!") == "no: [redacted]!"
    assert redacted("?key=correct%20horse%2Fbattery&x") == "?key=[redacted]&x"


@pytest.mark.parametrize(("name", "value"), [("TOKENIZERS_PARALLELISM", "not-a-key-at-all"), ("SOME_KEY", "false")])
def test_other_variables_and_short_values_are_no_keys(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert redacted(f"set to {value}") == f"set to {value}"
