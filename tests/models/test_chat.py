"""A conversation reaches the model whole, by whatever template, or is refused in a sentence."""

import re
from datetime import date
from pathlib import Path

import pytest
import trl

from steadfast.errors import ChatTemplateError
from steadfast.messages import Message
from steadfast.models.chat import ChatTemplate, set_rendering, template_of
from steadfast.models.policy import eos_token_ids
from steadfast.models.rendering import RenderSettings
from steadfast.thoughts import ThoughtMarks, split_thoughts
from tests.conftest import make_lm, make_tokenizer

SYSTEM, USER = Message(role="system", content="Be brief."), Message(role="user", content="What is the dose?")
ASSISTANT, LAST = Message(role="assistant", content="Two a day."), Message(role="user", content="And for a child?")
WHOLE = [SYSTEM, USER, ASSISTANT, LAST]

PLAIN = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
PROMPT = "{% if add_generation_prompt %}<|assistant|>{% endif %}"
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
DROPS_SYSTEM = (
    "{% for m in messages if m.role != 'system' %}<|{{ m.role }}|>{{ m.content | trim }}<|end|>{% endfor %}" + PROMPT
)
PARTS = "{% for m in messages %}<|{{ m.role }}|>{% for p in m.content %}{{ p.text }}{% endfor %}<|end|>{% endfor %}"


def chat(template, *, eos="<|end|>", bos=None, **settings):
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template
    tokenizer.eos_token = eos
    if bos is not None:
        tokenizer.bos_token = bos
    return ChatTemplate(tokenizer, RenderSettings(origin="/models/mine", vocabulary=260, **settings))


def text(template, ids):
    return template.tokenizer.decode(ids)


def test_a_template_that_does_all_is_used_as_it_is():
    template = chat(PLAIN + PROMPT)
    assert text(template, template.encode(WHOLE)) == (
        "<|system|>Be brief.<|end|><|user|>What is the dose?<|end|><|assistant|>Two a day.<|end|>"
        "<|user|>And for a child?<|end|><|assistant|>"
    )
    assert template.notes == []
    assert template.faults() == []


def test_its_ids_are_those_of_the_tokenizers_own_rendering():
    tokenizer = make_tokenizer()
    own = tokenizer.apply_chat_template([m.model_dump() for m in WHOLE], add_generation_prompt=True, return_dict=True)[
        "input_ids"
    ]
    assert template_of(tokenizer).encode(WHOLE) == own


def test_a_style_goes_into_the_system_turn_that_is_there_or_is_made():
    template = chat(PLAIN + PROMPT)
    assert "<|system|>Be brief.\nIn rhyme.<|end|>" in template.render(WHOLE, "In rhyme.")
    assert template.render([USER], "In rhyme.").startswith("<|system|>In rhyme.<|end|><|user|>")


@pytest.mark.parametrize("source", [NO_SYSTEM + PLAIN + PROMPT, DROPS_SYSTEM], ids=["raises", "drops"])
def test_without_a_system_role_its_text_stands_before_the_users_and_a_note_says_so(source):
    template = chat(source)
    assert "<|user|>Be brief.\n\nWhat is the dose?<|end|>" in template.render(WHOLE)
    assert "<|user|>In rhyme.\n\nWhat" in template.render([USER], "In rhyme.")
    assert [n for n in template.notes if "no place for a system turn" in n]
    assert len(template.notes) == 1
    with pytest.raises(ChatTemplateError, match="no user turn follows"):
        template.render([SYSTEM])


def test_content_is_given_in_parts_to_a_template_that_reads_nothing_else():
    template = chat(PARTS + PROMPT)
    assert template.parts
    assert template.render(WHOLE) == chat(PLAIN + PROMPT).render(WHOLE)


def test_parts_that_some_turns_would_write_as_they_are_are_refused():
    template = chat(
        PARTS.replace("in m.content %}", "in m.content if m.role == 'user' %}").replace(
            "{% endfor %}<|end|>", "{% endfor %}{% if m.role != 'user' %}{{ m.content }}{% endif %}<|end|>"
        )
        + PROMPT
    )
    assert template.render([USER]) == "<|user|>What is the dose?<|end|><|assistant|>"
    with pytest.raises(ChatTemplateError, match="reads content parts in some turns"):
        template.render(WHOLE)


def test_a_system_turn_that_the_template_writes_before_the_last_user_turn_is_noted():
    template = chat(
        "{% for m in messages if m.role != 'system' %}<|{{ m.role }}|>"
        "{% if loop.last and messages[0].role == 'system' %}{{ messages[0].content }}\n\n{% endif %}"
        "{{ m.content }}<|end|>{% endfor %}" + PROMPT
    )
    assert template.render(WHOLE).endswith("<|user|>Be brief.\n\nAnd for a child?<|end|><|assistant|>")
    assert [n for n in template.notes if "system turn's words after the first user turn" in n]
    assert not template.folds_system


def test_a_generation_prompt_that_is_ignored_is_taken_from_a_finished_turn():
    template = chat(PLAIN)
    assert template.render([USER]) == "<|user|>What is the dose?<|end|><|assistant|>"
    assert "ignores add_generation_prompt" in template.notes[0]


def test_a_template_that_needs_no_generation_prompt_gets_none():
    template = chat(
        "{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content }}<|end|>"
        "{% else %}<|user|>{{ m.content }}<|assistant|>{% endif %}{% endfor %}"
    )
    assert template.render([USER]) == "<|user|>What is the dose?<|assistant|>"


def test_a_generation_prompt_that_cannot_be_told_is_refused():
    with pytest.raises(ChatTemplateError, match="/models/mine ignores add_generation_prompt"):
        chat("{% for m in messages %}{{ m.content }}{% endfor %}{{ messages | length }}")


def test_the_date_in_a_template_is_that_of_the_run():
    source = "Today is {{ strftime_now('%d %B %Y') }}." + PLAIN + PROMPT
    template = chat(source, today=date(2024, 2, 29))
    assert template.render([USER]).startswith("Today is 29 February 2024.")
    llama = (
        "{% if not date_string is defined %}{% if strftime_now is defined %}"
        '{% set date_string = strftime_now("%d %b") %}'
        "{% else %}{% set date_string = 'never' %}{% endif %}{% endif %}{{ date_string }}"
    )
    assert chat(llama + PLAIN + PROMPT, today=date(2024, 2, 29)).render([USER]).startswith("29 Feb<|user|>")


def test_a_date_that_cannot_be_frozen_is_refused():
    with pytest.raises(ChatTemplateError, match="in a way that cannot be frozen"):
        chat("{% set form = '%d' %}{{ strftime_now(form) }}" + PLAIN + PROMPT)


def test_thinking_is_turned_on_and_off_by_an_argument_of_the_template():
    source = PLAIN + "{% if add_generation_prompt %}<|assistant|>{% if enable_thinking %}<think>{% endif %}{% endif %}"
    on, off = chat(source, kwargs={"enable_thinking": True}), chat(source, kwargs={"enable_thinking": False})
    assert on.render([USER]) == off.render([USER]) + "<think>"
    assert (on.opens_thoughts, off.opens_thoughts) == (True, False)
    reply = on.tokenizer.encode("Two?</think>Two.<|end|>")
    assert on.decode(reply) == ("Two?", "Two.")
    cut_off = on.tokenizer.encode("Two? Or")
    assert on.decode(cut_off) == ("Two? Or", "")
    assert off.decode(cut_off) == ("", "Two? Or")


def test_thoughts_between_special_tokens_are_told_apart_too():
    template = chat(PLAIN + PROMPT, marks=ThoughtMarks("<|system|>", "<|user|>"))
    assert template.decode(template.tokenizer.encode("<|system|>Hm.<|user|>Two.<|end|>")) == ("Hm.", "Two.")


def test_an_argument_that_the_template_does_not_read_is_noted_and_ours_are_refused():
    assert "does not read 'enable_thinking'" in chat(PLAIN + PROMPT, kwargs={"enable_thinking": True}).notes[0]
    with pytest.raises(ChatTemplateError, match="may not set tools"):
        chat(PLAIN + PROMPT, kwargs={"tools": []})


def test_the_thoughts_of_earlier_turns_may_be_left_out_but_not_their_answers():
    source = "{% for m in messages %}<|{{ m.role }}|>{{ m.content.split('</think>')[-1] }}<|end|>{% endfor %}" + PROMPT
    thinking = Message(role="assistant", content="<think>Hm.</think>Two a day.")
    assert "Hm." not in chat(source).render([USER, thinking, LAST])


def test_a_template_that_drops_or_alters_a_turn_is_refused():
    last_only = "<|user|>{{ messages[-1].content }}<|end|>" + PROMPT
    shouting = (
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content.replace('dose', 'DOSE') }}<|end|>{% endfor %}" + PROMPT
    )
    with pytest.raises(ChatTemplateError, match=r"drops or alters the words of turn 1 \(user\)"):
        chat(last_only).render([USER, ASSISTANT, LAST])
    with pytest.raises(ChatTemplateError, match="/models/mine drops or alters the words of turn 2"):
        chat(shouting).render([SYSTEM, USER])
    assert chat(last_only).faults()


def test_a_first_token_that_would_be_doubled_stands_once():
    template = chat("{{ bos_token }}" + PLAIN + PROMPT, bos="<|system|>")
    assert text(template, template.encode([USER])).startswith("<|system|><|user|>")
    doubled = chat("{{ bos_token }}{{ bos_token }}" + PLAIN + PROMPT, bos="<|system|>")
    assert doubled.encode([USER]) == template.encode([USER])


@pytest.mark.parametrize(
    ("eos", "named", "ends"),
    [
        (None, (), [0]),
        ("<|user|>", (), [0, 2]),
        ("<|end|>", (3, 1), [0, 1, 3]),
        ("<|end|>", (9999,), [0]),
        ("<|end|>", (40,), [0]),
    ],
    ids=["none", "a wrong one", "a list", "one that the model lacks", "an ordinary letter"],
)
def test_a_turn_ends_with_what_the_template_writes_whatever_the_configuration_says(eos, named, ends):
    template = chat(PLAIN + PROMPT, eos=eos, ends=named)
    assert template.end_of_turn == 0
    assert template.end_tokens() == ends
    assert bool(template.end_notes()) == ((ends == [0] and (eos is None or bool(named))) or eos == "<|user|>")


def test_an_end_of_turn_that_stands_only_between_turns_is_found():
    source = (
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% if not loop.last %}<|end|>{% endif %}{% endfor %}"
    )
    assert chat(source + PROMPT).end_of_turn == 0


def test_a_template_without_an_end_of_turn_is_refused():
    template = chat("{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}" + PROMPT)
    with pytest.raises(ChatTemplateError, match="/models/mine writes no end-of-turn token"):
        template.end_tokens()


def test_an_end_of_turn_that_the_model_cannot_emit_is_refused():
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|stop|>"]})
    tokenizer.chat_template = PLAIN.replace("<|end|>", "<|stop|>") + PROMPT
    template = ChatTemplate(tokenizer, RenderSettings(vocabulary=260))
    with pytest.raises(ChatTemplateError, match=r"'<\|stop\|>' \(id 260\), which the model cannot emit"):
        _ = template.end_of_turn
    with pytest.raises(ChatTemplateError, match="id 260, but the model's embedding has 260 rows"):
        template.encode([USER])


def test_a_prompt_and_its_answer_must_fit_the_context():
    template = chat(PLAIN + PROMPT, context_length=64)
    short = [Message(role="user", content="x" * 40)]
    assert len(template.encode(short, max_new_tokens=21)) == 43
    with pytest.raises(ChatTemplateError, match="a prompt of 43 tokens and an answer of up to 22 exceed the 64 tokens"):
        template.encode(short, max_new_tokens=22)


def test_a_tokenizer_without_a_template_is_refused_and_one_whose_template_is_replaced_is_examined_again():
    tokenizer = make_tokenizer()
    set_rendering(tokenizer, RenderSettings(origin="/models/mine"))
    assert not template_of(tokenizer).folds_system
    tokenizer.chat_template = DROPS_SYSTEM
    assert template_of(tokenizer).folds_system
    tokenizer.chat_template = None
    with pytest.raises(ChatTemplateError, match="/models/mine: this model's tokenizer has no chat template"):
        template_of(tokenizer)
    assert eos_token_ids(make_lm(), tokenizer) == [0]


PUBLISHED = sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja"))
MARKS = re.compile("<[|\uff5c]?[A-Za-z_\u2581|\uff5c]+[|\uff5c]?>|\\[/?INST\\]|</?s>")


@pytest.mark.parametrize("file", PUBLISHED, ids=[f.stem for f in PUBLISHED])
def test_the_templates_of_published_models_are_rendered_whole(file):
    """TRL keeps a collection of them; their marks become special tokens of the tiny tokenizer."""
    tokenizer = make_tokenizer()
    source = file.read_text(encoding="utf-8")
    marks = {"<bos>", *MARKS.findall(source)} - {"<think>", "</think>", *tokenizer.get_vocab()}
    tokenizer.add_special_tokens({"additional_special_tokens": sorted(marks)})
    tokenizer.bos_token, tokenizer.eos_token, tokenizer.chat_template = "<bos>", None, source
    ends = (tokenizer.convert_tokens_to_ids("<|user|>"),) if "glm" in file.stem else ()
    template = ChatTemplate(tokenizer, RenderSettings(ends=ends))
    assert template.faults() == []
    rendered = template.render(WHOLE)
    assert all(m.content in rendered for m in WHOLE)
    assert LAST.content not in rendered[rendered.index(LAST.content) + 1 :]
    assert len(rendered) > rendered.index(LAST.content) + len(LAST.content)
    if not (template.parts or template.folds_system or "strftime_now" in source):
        own = tokenizer.apply_chat_template([m.model_dump() for m in WHOLE], add_generation_prompt=True)
        assert template.encode(WHOLE) == own["input_ids"]


@pytest.mark.parametrize(
    ("reply", "thoughts", "answer"),
    [
        ("Two.", "", "Two."),
        (" Two. ", "", " Two. "),
        ("<think>Hm.</think> Two.", "Hm.", "Two."),
        ("Hm.</think>\n\nTwo.", "Hm.", "Two."),
        ("<think>Hm. Two", "Hm. Two", ""),
        ("<think></think>Two.", "", "Two."),
        ("<think>Hm.</think>Two.<think>Or three", "Hm.\nOr three", "Two."),
        ("<think>a</think>b<think>c</think>d", "a\nc", "b\nd"),
        ("<think>a</think>b</think>c", "a\nb", "c"),
        ("<think>a<think>b</think>c</think>d", "a\nb\nc", "d"),
        ("<think>", "", ""),
        ("</think>", "", ""),
    ],
)
def test_thoughts_are_taken_off_a_reply(reply, thoughts, answer):
    found = split_thoughts(reply)
    assert found[1] == answer
    assert sorted(found[0].split("\n")) == sorted(thoughts.split("\n"))


def test_the_marks_of_thoughts_may_be_others():
    assert split_thoughts("[T]Hm.[/T]Two.", ThoughtMarks("[T]", "[/T]")) == ("Hm.", "Two.")
    assert split_thoughts("<think>Hm.", ThoughtMarks("[T]", "[/T]")) == ("", "<think>Hm.")


@pytest.mark.parametrize("text", ["<THINK>Hm.</THINK>No.", "<Think>Hm.</think>No.", "Hm.</THINK>No."])
def test_thoughts_between_marks_in_capitals_are_taken_off_too(text):
    assert split_thoughts(text) == ("Hm.", "No.")
