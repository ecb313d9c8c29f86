"""`steadfast score` gives what the evals see: natural-log sums over each reply's own tokens."""

import json
import shutil

import pytest
import torch

from steadfast.evals.replies import read_replies
from steadfast.models import load_model, score_candidates


def write(path, *lines):
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def turn(role, content):
    return {"role": role, "content": content}


ASKED = [
    {
        "messages": [turn("system", "Be brief."), turn("user", "Which way?")],
        "replies": ["Left.", "To the right, I think."],
    },
    {"messages": [turn("user", "Hé, wat?")], "replies": [" Niets — écht."]},
]


@torch.no_grad()
def alone(folder, messages, reply):
    loaded = load_model(str(folder))
    prompt = loaded.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
    tokens = loaded.tokenizer(reply, add_special_tokens=False)["input_ids"]
    logits = loaded.lm(torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1]
    return float(torch.log_softmax(logits, -1).gather(-1, torch.tensor(tokens)[:, None]).sum()), len(tokens)


def test_each_line_gives_the_sums_of_its_replies_and_their_tokens(steadfast, tiny_model_dir, tmp_path):
    file = write(tmp_path / "replies.jsonl", ASKED[0], "", ASKED[1])
    result = steadfast("score", "--model", tiny_model_dir, file, "--json")
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(lines) == 2
    for line, asked in zip(lines, ASKED, strict=True):
        expected = [alone(tiny_model_dir, asked["messages"], r) for r in asked["replies"]]
        assert line["logprobs"] == pytest.approx([nats for nats, _ in expected], abs=1e-3)
        assert line["tokens"] == [tokens for _, tokens in expected]


def test_the_figures_are_those_of_the_code_that_the_evals_use(steadfast, tiny_model_dir, tmp_path):
    file = write(tmp_path / "replies.jsonl", *ASKED)
    result = steadfast("score", "--model", tiny_model_dir, file, "--json")
    loaded = load_model(str(tiny_model_dir))
    requests = [
        (
            loaded.chat.encode(line.messages),
            [loaded.tokenizer(r, add_special_tokens=False)["input_ids"] for r in line.replies],
        )
        for line in read_replies(file).values()
    ]
    scores = score_candidates(loaded.lm, requests)
    found = [json.loads(line)["logprobs"] for line in result.stdout.splitlines()]
    for ours, own in zip(found, scores, strict=True):
        assert ours == pytest.approx([s.logprob for s in own], abs=1e-4)


@pytest.mark.parametrize("given", ['{"mood": "sad"}', '{"mood": "glad"}'])
def test_what_the_template_is_given_reaches_it_in_score_and_doctor(steadfast, tiny_model_dir, tmp_path, given):
    template = json.loads((tiny_model_dir / "tokenizer_config.json").read_text()).get("chat_template")
    jinja = tiny_model_dir / "chat_template.jinja"
    folder = tmp_path / "moody"
    shutil.copytree(tiny_model_dir, folder)
    mood = json.loads(given)["mood"]
    (folder / "chat_template.jinja").write_text("{{ mood }}" + (template or jinja.read_text()))
    plain = tmp_path / "plain"
    shutil.copytree(folder, plain)
    (plain / "chat_template.jinja").write_text(mood + (template or jinja.read_text()))
    file = write(tmp_path / "replies.jsonl", *ASKED)
    moody = steadfast("score", "--model", folder, file, "--json", "--chat-template-kwargs", given)
    assert moody.exit_code == 0, moody.output
    assert moody.stdout == steadfast("score", "--model", plain, file, "--json").stdout
    assert moody.stdout != steadfast("score", "--model", tiny_model_dir, file, "--json").stdout
    seen = steadfast("doctor", "--model", folder, "--json", "--chat-template-kwargs", given)
    rendered = [c["figures"]["rendered"] for c in json.loads(seen.stdout)["checks"] if "rendered" in c["figures"]]
    assert rendered
    assert all(mood in text for text in rendered)


def test_without_json_it_is_a_table_with_the_lines_of_the_file(steadfast, tiny_model_dir, tmp_path):
    file = write(tmp_path / "replies.jsonl", *ASKED)
    result = steadfast("score", "--model", tiny_model_dir, file, "--dtype", "bfloat16")
    assert result.exit_code == 0, result.output
    assert "Left." in result.stdout
    assert "logprob" in result.stdout


def test_every_fault_of_the_file_is_named_before_a_model_is_looked_for(steadfast, tmp_path):
    file = write(
        tmp_path / "bad.jsonl",
        {"messages": [], "replies": ["a"]},
        {"messages": [turn("user", "a")], "replies": []},
        {"messages": [turn("tool", "a")], "replies": [""]},
        "{",
        {"messages": [turn("user", "a"), turn("assistant", "b")], "replies": ["c"], "extra": 1},
    )
    result = steadfast("score", "--model", "/no/such/model", file)
    assert result.exit_code == 2
    for fault in (
        "bad.jsonl:1: messages",
        "bad.jsonl:2: replies",
        "bad.jsonl:3: messages.0.role",
        "bad.jsonl:3: replies.0",
        "bad.jsonl:4: not a JSON object",
        "bad.jsonl:5: messages: the last turn is the assistant's own",
        "bad.jsonl:5: extra: unknown field",
    ):
        assert fault in result.output
    assert "no such folder" not in result.output


def test_a_reply_beyond_the_context_is_an_error_that_names_each_line(steadfast, tiny_model_dir, tmp_path):
    long = {"messages": [turn("user", "x" * 300)], "replies": ["y" * 300, "z"]}
    file = write(tmp_path / "long.jsonl", long, ASKED[0], long)
    result = steadfast("score", "--model", tiny_model_dir, file)
    assert result.exit_code == 2
    assert "long.jsonl:1: replies.0: a prompt of 303 tokens and an answer of up to 300 exceed the 512" in result.output
    assert "long.jsonl:3: replies.0" in result.output
    assert "long.jsonl:2" not in result.output
    assert "replies.1" not in result.output


@pytest.mark.parametrize(("option", "value"), [("--dtype", "int8"), ("--device", "toaster"), ("--device", "cuda:99")])
def test_a_dtype_or_device_that_is_not_there_is_said_in_a_sentence(steadfast, tiny_model_dir, tmp_path, option, value):
    result = steadfast("score", "--model", tiny_model_dir, write(tmp_path / "r.jsonl", *ASKED), option, value)
    assert result.exit_code == 2
    assert f"{option.removeprefix('--')} '{value}'" in result.output
