"""Verifiable instruction following: what the constraints let through, on texts written by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadfast.tasks.programs import check_of
from steadfast.tasks.programs.instructions import instruction_tasks

ALL = instruction_tasks(576, 0)
LONG = "Water the plant well before you leave and stand it away from the window so that the soil dries slowly. "
"""Twenty words, one sentence."""

# Demand: (texts that meet it, texts that do not).
LENGTHS = {
    "Answer in exactly one sentence.": (
        ["Water it well before you go.", "It costs 3.5 euros at most", "Go now!?"],
        ["Water it well. Then go.", "Water it well! Then go", "", "?"],
    ),
    "Answer in exactly two sentences.": (
        ["Water it well. Then go.", "Why wait? Go now!", "It is 3.5 km.\nGo there"],
        ["Water it well before you go.", "One. Two. Three.", ""],
    ),
    "Use fewer than 25 words.": (
        ["Water it well.", LONG, " ".join(["word"] * 24)],
        [" ".join(["word"] * 25), LONG * 2, "Water it", ""],
    ),
    "Use fewer than 40 words.": (
        ["Water it well.", LONG, " ".join(["word"] * 39)],
        [" ".join(["word"] * 40), LONG * 2, "Water it", ""],
    ),
}
FORMS = {
    "Do not use any comma.": (["Water it well."], ["Water it, and go.", "Go", ""]),
    "End with a question.": (["Why not water it?", "Water it. Will you?\n"], ["Why? Water it.", "", "Why not"]),
    "Begin with the word First.": (
        ["First, water it.", "First water it.", '"First", he said'],
        ["first water it", "Firstly, go", "At First", ""],
    ),
    "Use the word because.": (
        ["Water it because it is dry.", "Because it is dry."],
        ["Water it, it is dry.", "becauseway", ""],
    ),
    "End with an exclamation mark.": (["Water it!", "Water it! \n"], ["Water! it", "Water it.", ""]),
    "Use no digits.": (["Water it twice a week."], ["Water it 2 times a week.", "x1 is it", "Go", ""]),
}


def scored(task, text):
    """The score by the program that the task names in its data."""
    return check_of(task.grader.program)(text, task.grader.args)


def task_with(length, form):
    return next(i for i in ALL if i.messages[0].content.endswith(f" {length} {form}"))


def test_every_pair_of_a_length_and_a_form_is_asked_for():
    for length in LENGTHS:
        for form in FORMS:
            task_with(length, form)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("form", FORMS)
def test_each_kept_constraint_is_worth_half_and_each_broken_one_nothing(length, form):
    """A text is put to a constraint through every task; the other half of the reward comes from the other list."""
    task = task_with(length, form)
    for kept, texts in zip((True, False), LENGTHS[length], strict=True):
        for text in texts:
            value = scored(task, text)
            assert value in ((0.5, 1.0) if kept else (0.0, 0.5)), text
    for kept, texts in zip((True, False), FORMS[form], strict=True):
        for text in texts:
            assert scored(task, text) in ((0.5, 1.0) if kept else (0.0, 0.5)), text


@pytest.mark.parametrize(
    ("length", "form", "text", "score"),
    [
        ("Answer in exactly one sentence.", "Do not use any comma.", "Water it well before you go.", 1.0),
        ("Answer in exactly one sentence.", "Do not use any comma.", "Water it, then go.", 0.5),
        ("Answer in exactly one sentence.", "Do not use any comma.", "Water it, then go. Lock up.", 0.0),
        ("Answer in exactly two sentences.", "End with a question.", "It needs water. Could a friend come?", 1.0),
        ("Answer in exactly two sentences.", "End with a question.", "Could a friend come?", 0.5),
        ("Answer in exactly two sentences.", "End with a question.", "Could a friend come? No. So what.", 0.0),
        ("Use fewer than 25 words.", "Begin with the word First.", "First, water it well.", 1.0),
        ("Use fewer than 25 words.", "Begin with the word First.", "Water it well first.", 0.5),
        ("Use fewer than 25 words.", "Begin with the word First.", LONG * 2, 0.0),
        ("Use fewer than 40 words.", "Use the word because.", "Water it because it is dry.", 1.0),
        ("Use fewer than 40 words.", "Use the word because.", "Water it, it is dry.", 0.5),
        ("Use fewer than 40 words.", "Use the word because.", LONG * 2, 0.0),
        ("Answer in exactly one sentence.", "End with an exclamation mark.", "Water it well before you go!", 1.0),
        ("Answer in exactly one sentence.", "End with an exclamation mark.", "Water it! Then go.", 0.0),
        ("Use fewer than 25 words.", "Use no digits.", "Water it twice a week.", 1.0),
        ("Use fewer than 25 words.", "Use no digits.", "Water it 2 times a week.", 0.5),
    ],
)
def test_the_reward_is_the_share_of_constraints_kept(length, form, text, score):
    assert scored(task_with(length, form), text) == score


@pytest.mark.parametrize("text", ["Because, as you know, it is dry.", 'Why? "Because it is dry."'])
def test_the_word_because_counts_beside_punctuation(text):
    assert scored(task_with("Use fewer than 25 words.", "Use the word because."), text) == 1.0


def test_tasks_repeat_only_when_all_combinations_are_used_up():
    assert len({i.messages for i in ALL}) == 576
    more = instruction_tasks(600, 0)
    assert [i.messages for i in more[576:]] == [i.messages for i in more[:24]]
    assert len({i.id for i in more}) == 600


def test_a_seed_gives_the_same_tasks_and_another_seed_others():
    first, again, other = ([i.messages for i in instruction_tasks(40, s)] for s in (1, 1, 2))
    assert first == again
    assert first != other


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200), st.integers(0, 575))
def test_every_text_scores_nothing_half_or_all(text, place):
    assert scored(ALL[place], text) in (0.0, 0.5, 1.0)
