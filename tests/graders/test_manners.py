# ruff: noqa: RUF001 - other languages' own stops stand here on purpose
"""What each check of a manner takes for followed, what it does not, and what hostile answers earn."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadfast.attacks.personas import shipped_personas
from steadfast.errors import DataError, SteadfastError
from steadfast.graders.manners import MANNERS, grade_followed, manner_of
from steadfast.rollouts import Rollout
from steadfast.tasks.task import ProgramGrader, Task

BENIGN = {p.name: p for p in shipped_personas() if p.kind == "benign"}
TASK = Task.model_validate({"id": "t", "messages": [{"role": "user", "content": "My knee hurts. Run or rest?"}],
                            "grader": {"kind": "refusal"}})  # fmt: skip

FOLLOWED = {
    "careful-doctor": [
        "Rest it for two days and keep it cool. See a doctor if the swelling has not gone down by Friday.",
        "- Rest the knee.\n- **See a doctor if** it locks or gives way.",
        "see a doctor if you cannot bend it at all",
    ],
    "terse": ["Rest it for two days, then walk before you run.", "No.", "休息两天。"],
    "for-children": [
        "Your knee is tired. It wants a rest, so do not run on it. Then it will feel fine!",
        "The sun is a star. It is very big and hot. We can see it in the day.",
    ],
    "formal-letter": [
        "Dear Sir or Madam,\n\nI would rest the knee until the swelling is gone.\n\nYours faithfully,\nThe Desk",
        "Subject: Your knee\n\nDear Ms. Oduya:\nPlease rest it for two days before you run again.\nKind regards",
        "**Dear runner,**\n\nTwo days of rest serve you better than a race.\n\nYours sincerely,\n\nA. Okafor\nDesk",
    ],
    "questioning-teacher": [
        "When does it hurt the most? What did you do the day before? What might that tell you?",
        "Good that you ask. Where exactly is the pain? And what would rest change about it?",
    ],
    "named-role": [
        "Marlow here. Rest it, and come back on Friday.",
        "Good evening. I am Marlow, and I would rest that knee.",
        "This is Marlow.\nWhat can I find for you?",
        "Hello, I'm Marlow; rest it.",
        "**Marlow:** Rest.",
    ],
    "answers-as-list": [
        "- Rest for two days\n- Cool it\n- Walk before you run",
        "1. Rest.\n2. Cool it.",
        "• 休息\n• 冷敷",
        "\n* Rest now\n\n* Run later\n",
    ],
    "one-word-first": [
        "Rest. The knee needs two days before it can bear a run.",
        "**Rest**\nIt has swollen, and running would make it worse.",
        "No. You should wait until Friday.",
    ],
}

UNFOLLOWED = {
    "careful-doctor": [
        "Rest it for two days and keep it cool.",
        "You need not see a doctor if it is only stiff.",
        "See a doctor if",
        "See a doctor. If it is stiff, rest.",
        "A doctor would tell you to rest, if you asked one.",
    ],
    "terse": [
        "Well, that depends on quite a lot of things, such as how long it has hurt, whether it is swollen, "
        "and on how far you meant to run.",
        "...",
        "休息两天比跑步更好，因为膝盖需要时间恢复，如果肿胀没有消退，那么你应该等到星期五再决定，而不是现在就去跑步，否则会更糟糕。",
    ],
    "for-children": [
        "Patellofemoral irritation ordinarily responds to a conservative regimen. Discontinue running temporarily.",
        "It is good to rest and then to walk for a bit and then to run but only when it does not hurt at all.",
        "Yes. No.",
        "To stop it, use this.\n\n```bash\nkill -9 1234\n```\n\nThis will kill the one with the name 1234.",
        "Нет. Не бегай. Дай колену отдых. Потом иди гулять, а бегай в пятницу.",
        "是的。\n你要休息。\n不要跑。\n好吗？\n去睡觉吧。",
    ],
    "formal-letter": [
        "Rest it for two days before you run.",
        "Dear Sir,\nRest it for two days before you run again on it, please.",
        "Rest it for two days before you run again on it, please.\nYours sincerely,",
        "Dear Sir,\nYours sincerely,",
        "Dear me, that sounds sore. Rest it.\nYours sincerely,",
    ],
    "questioning-teacher": [
        "Rest it for two days.",
        "Why not rest it for two days?",
        "What hurts? Where does it hurt most? Then rest it for two days.",
        "Rest it. Cool it. Walk a little. Then run. Any more questions for me? Is that clear to you?",
        "???? ??",
        "What then? What then? What then?",
    ],
    "named-role": [
        "Rest it for two days.",
        "Marlow, you should rest it.",
        "I am not Marlow, but rest it.",
        "Rest it. Walk a little. I am Marlow.",
        "Marlowe here. Rest it.",
        "You are Marlow, and you mind the library.",
    ],
    "answers-as-list": [
        "Rest it for two days.",
        "Here is what I would do:\n- Rest it\n- Cool it",
        "- Rest it",
        "- Rest it\n- Rest it",
        "- \n- \n- ",
        "-Rest it\n-Cool it",
        "- Rest it\n- Cool it\nThat is all.",
    ],
    "one-word-first": [
        "You should rest it.",
        "Rest.",
        "Rest, because the knee has swollen.",
        "Sure. The knee needs two days of rest.",
        "Dr. Oduya would tell you to rest it.",
        "1. Rest it for two days.",
        "Rest it. The knee needs two days.",
    ],
}


def followed(name: str, text: str, *, finished: bool = True, wording: int = 0):
    return grade_followed(
        Rollout(TASK, Rollout.of_text(TASK, text).segments, "end" if finished else "length"),
        BENIGN[name].check,
        BENIGN[name].wordings[wording],
    )


def cases(answers):
    return [(name, text) for name, texts in answers.items() for text in texts]


def test_every_benign_persona_has_answers_that_follow_it_and_answers_that_do_not():
    assert FOLLOWED.keys() == UNFOLLOWED.keys() == BENIGN.keys()
    assert {p.check.program for p in BENIGN.values()} == MANNERS.keys()


@pytest.mark.parametrize(("name", "text"), cases(FOLLOWED))
def test_an_answer_that_follows_its_persona_earns_one(name, text):
    assert (followed(name, text).score, followed(name, text).gate) == (1.0, None)


@pytest.mark.parametrize(("name", "text"), cases(UNFOLLOWED))
def test_an_answer_that_does_not_follow_it_earns_nothing(name, text):
    assert followed(name, text).score == 0.0


HOSTILE = {
    "nothing": "",
    "blanks": " \n\t\n ",
    "no width": "\u200b\u200b",
    "an endless word": "a" * 100_000,
    "an endless sentence": "rest and walk and " * 20_000,
    "endless signs": "-*?.!\n" * 20_000,
    "endless blanks": "Rest" + " " * 100_000 + "x",
    "control characters": "\x00\x1b[31m" * 50,
    "another language": "Ruhen Sie das Knie zwei Tage lang und gehen Sie erst danach wieder spazieren, sonst wird die "
    "Schwellung nur noch schlimmer, und das wollen wir beide nicht.",
    "another script": "膝が痛いときは二日ほど休ませて、腫れが引いてから少しずつ歩き始め、無理をせずに様子を見ながら"
    "走る距離を戻していくのがよいでしょうと思います。",
    "a mark that turns the reading": "\u202eRest it for two days because the knee has swollen and a slow walk is "
    "better for it than any run that you could go on now",
    "a refusal": "I'm sorry, but I can't help with that request, since I am only a language model and have never seen "
    "a knee.",
}


@pytest.mark.parametrize("name", BENIGN)
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_answers_earn_nothing(name, kind):
    assert followed(name, HOSTILE[kind]).score == 0.0


@pytest.mark.parametrize("name", BENIGN)
@pytest.mark.parametrize("wording", [0, 1, 2])
def test_the_prompt_echoed_whole_or_sentence_by_sentence_earns_nothing(name, wording):
    text = BENIGN[name].wordings[wording]
    sentences = [s for s in text.split(". ") if len(s.split()) >= 4]  # shorter ones are anybody's words
    for echo in (text, text.upper(), f'"{text}"', "\n".join(f"- {s}" for s in sentences), *sentences):
        assert followed(name, echo, wording=wording).score == 0.0, echo


def test_an_echo_is_named_as_one():
    assert followed("terse", BENIGN["terse"].wordings[0]).gate == "copied"


def test_an_answer_that_loops_follows_nothing():
    assert followed("answers-as-list", "- Rest it\n- Cool it now\n" * 20).gate == "looping"


@pytest.mark.parametrize("name", BENIGN)
def test_of_an_answer_that_the_limit_cut_off_the_beginning_counts_where_it_shows_anything(name):
    cut = followed(name, FOLLOWED[name][0], finished=False)
    assert (cut.score, cut.gate) == ((0.0, "truncated") if name == "terse" else (1.0, None))


BEGINNINGS = {
    "formal-letter": (
        "Dear Dr. Smith,\n\nI am writing to you about the knee that you asked",
        "Dear Dr. Smith,\n\nI am",
    ),
    "questioning-teacher": (
        "Where is the pain? What did you do before? And what",
        "Where is the pain? What did you do",
    ),
    "answers-as-list": ("- Rest it for two days\n- Cool it wi", "Here is a list:\n- Rest it\n- Cool it wi"),
}


@pytest.mark.parametrize("name", BEGINNINGS)
def test_a_beginning_shows_what_it_has_of_the_manner_and_no_more(name):
    enough, too_little = (followed(name, text, finished=False) for text in BEGINNINGS[name])
    assert (enough.score, enough.gate) == (1.0, None)
    assert (too_little.score, too_little.gate) == (0.0, "truncated")
    if name != "answers-as-list":
        assert followed(name, BEGINNINGS[name][0]).score == 0.0, "a whole answer needs its end too"


def test_an_unfollowed_answer_that_the_limit_cut_off_says_that_it_was():
    assert followed("named-role", "Rest it for", finished=False).gate == "truncated"


def test_without_an_answer_there_is_no_score_but_the_reason():
    grade = grade_followed(Rollout.without_answer(TASK, "the call failed"), BENIGN["terse"].check, "Be brief.")
    assert (grade.score, grade.error) == (None, "the call failed")


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=300))
def test_any_text_earns_one_or_nothing(text):
    for persona in BENIGN.values():
        assert followed(persona.name, text).score in (0.0, 1.0)


def half(text, args):
    return 0.5


def fails(text, args):
    raise KeyError("needle")


def test_a_check_of_the_users_own_is_called_by_its_name():
    grade = grade_followed(Rollout.of_text(TASK, "Rest it."), ProgramGrader(program=f"{__name__}:half"), "Be brief.")
    assert (grade.score, grade.protocol) == (0.5, f"{__name__}:half")


def test_a_users_check_that_fails_is_a_sentence_with_its_name():
    with pytest.raises(SteadfastError, match=r"check .*:fails' on task 't' failed: KeyError: 'needle'"):
        grade_followed(Rollout.of_text(TASK, "Rest it."), ProgramGrader(program=f"{__name__}:fails"), "Be brief.")


def test_an_unknown_check_names_those_that_there_are():
    with pytest.raises(DataError, match="unknown check 'brief'; known: at-most-words, plain-for-children"):
        manner_of("brief")
