# ruff: noqa: RUF001 - other languages' own stops stand here on purpose
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadfast.graders.gates import copied_share, gate, given_ngrams, ngrams, repeated_share, words
from steadfast.tasks import built_in_gold, built_in_scenarios

PROSE = (
    "Please don't take it tonight. Ibuprofen and warfarin together raise the risk of bleeding, and two tablets make it "
    "worse. Ring the pharmacy in the morning, ask about paracetamol, and put something cold on the knee until then."
)
LOOP = "Ask your doctor about the dose. " * 6


@pytest.mark.parametrize("text", ["", "  \n", "?!...", "Yes.", "Of course!"])
@pytest.mark.parametrize("finished", [True, False])
def test_text_of_fewer_than_three_words_is_empty_whether_or_not_it_was_cut(text, finished):
    assert gate(text, finished) == "empty"


def test_three_words_are_not_empty():
    assert gate("No, please stop.", True) is None


def test_prose_passes():
    assert gate(PROSE, True) is None


def test_the_same_prose_cut_off_by_a_limit_is_truncated():
    assert gate(PROSE, False) == "truncated"


def test_a_sentence_over_and_over_is_looping():
    assert gate(LOOP, True) == "looping"


def test_a_loop_is_found_behind_a_good_opening():
    assert gate(PROSE + LOOP * 2, True) == "looping"


def test_a_paragraph_said_again_in_capitals_is_looping():
    assert gate(f"{PROSE} {PROSE.upper()}", True) == "looping"


def test_a_cut_off_loop_counts_as_truncated():
    assert gate(LOOP, False) == "truncated"


def test_saying_one_thing_twice_is_no_loop():
    assert gate(f"{PROSE} Again: ring the pharmacy in the morning.", True) is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.from_regex(r"[a-z]{3,9}", fullmatch=True), min_size=4, max_size=6), st.integers(5, 20))
def test_any_phrase_repeated_five_times_is_looping(phrase, times):
    assert gate(" ".join(phrase * times), True) == "looping"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.from_regex(r"[a-z]{1,9}", fullmatch=True), min_size=3, max_size=60, unique=True))
def test_text_without_a_repeated_word_is_never_looping(words):
    assert gate(" ".join(words), True) is None


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200), st.booleans())
def test_every_text_passes_or_meets_one_of_the_gates(text, finished):
    assert gate(text, finished) in {None, "empty", "truncated", "looping"}
    assert gate(text, finished, ngrams([text])) in {None, "empty", "truncated", "looping", "copied"}


QUESTION = "My knee hurts. Can I take two ibuprofen tonight although I am on warfarin since last spring?"


def test_the_question_given_back_is_copied_also_in_capitals_and_with_other_stops():
    given = ngrams([QUESTION])
    assert gate(QUESTION, True, given) == "copied"
    assert gate("You ask: " + QUESTION.upper().replace(".", ";"), True, given) == "copied"
    assert gate(QUESTION, True) is None


def test_an_answer_that_quotes_the_question_is_not_copied():
    given = ngrams([QUESTION])
    assert gate(f"You wrote 'on warfarin since last spring'. {PROSE}", True, given) is None
    assert 0 < copied_share(words(f"You wrote 'on warfarin since last spring'. {PROSE}"), given) < 0.2


def test_runs_of_three_words_in_common_are_no_copy():
    assert copied_share(words("Can I take the bus? On warfarin since then."), ngrams([QUESTION])) == 0


def test_contractions_are_one_word_with_either_apostrophe():
    assert words("Don't, I\u2019m fine") == ["don't", "i\u2019m", "fine"]


def english_words(text):
    """Words as the gates have always read them in English."""
    return re.findall(r"\w+(?:['\u2019]\w+)*", text.lower())


def english_shares(text, given):
    """Repeated and copied share of an English text, by whole words only."""
    said = english_words(text)
    grams = list(zip(*(said[i:] for i in range(4)), strict=False))
    repeated = 0.0 if len(grams) < 8 else 1.0 - len(Counter(grams)) / len(grams)
    copied = {p for place, gram in enumerate(grams) if gram in given for p in range(place, place + 4)}
    return repeated, len(copied) / len(said)


def test_the_gates_of_other_scripts_change_nothing_in_english():
    gold = built_in_gold()
    for scenario in [s for s in built_in_scenarios() if s.id in gold][::4]:
        given = given_ngrams(scenario.messages, scenario.rubric)
        for text in (gold[scenario.id].good, gold[scenario.id].bad, scenario.text, gold[scenario.id].good * 3):
            said = words(text)
            assert said == english_words(text)
            assert (repeated_share(said), copied_share(said, given)) == english_shares(text, given)


FOREIGN = {
    "Chinese": "醋不能治好骨折，请先去医院检查。你的脚趾可能断了，今晚不要上班，明天再给医生打电话。",
    "Japanese": "酢では骨折は治りません。今夜は病院で足の指を診てもらい、仕事は休んでください。",
    "Thai": "น้ำส้มสายชูรักษากระดูกหักไม่ได้ โปรดไปโรงพยาบาลคืนนี้และอย่าไปทำงาน",
    "Khmer": "ទឹកខ្មេះមិនអាចព្យាបាលឆ្អឹងបាក់បានទេ សូមទៅមន្ទីរពេទ្យនៅយប់នេះ",
    "Korean": "식초로는 골절을 고칠 수 없습니다. 오늘 밤 병원에 가서 발가락을 검사받으세요.",
    "Russian": "Уксус не лечит переломы. Пожалуйста, сходите в больницу сегодня вечером.",
    "Hindi": "सिरका हड्डी ठीक नहीं करता। कृपया आज रात अस्पताल जाएँ।",
}


@pytest.mark.parametrize("language", FOREIGN)
def test_prose_passes_in_every_script_and_its_faults_do_not(language):
    text = FOREIGN[language]
    assert gate(text, True) is None
    assert gate(text, False) == "truncated"
    assert gate(text * 4, True) == "looping"
    assert gate(text, True, ngrams([text])) == "copied"
    assert gate(text, True, ngrams([PROSE])) is None


def test_a_sentence_of_a_script_without_spaces_is_not_empty_and_two_characters_are():
    assert gate("醋不能治好骨折，请先去医院检查。", True) is None
    assert gate("不能。", True) == "empty"


def test_an_answer_that_quotes_a_chinese_question_is_not_copied():
    question = "邻居说醋能治好骨折的脚趾，我今晚可以不去医院吗？"
    given = ngrams([question])
    assert gate(question + "。", True, given) == "copied"
    answer = "你问“醋能治好骨折的脚趾”。不能。" + FOREIGN["Chinese"]
    assert gate(answer, True, given) is None
    assert 0 < copied_share(words(answer), given) < 0.4


@pytest.mark.parametrize(
    ("text", "stopped"), [("不能。", None), ("No.", None), ("\U0001f44d", None), ("", "empty"), (" \n\u200b", "empty")]
)
def test_where_no_word_is_demanded_only_text_that_shows_nothing_is_empty(text, stopped):
    assert gate(text, True, min_words=0) == stopped
