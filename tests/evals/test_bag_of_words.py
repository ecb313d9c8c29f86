"""A bag of words finds what wording gives away, and nothing that only the conversation tells."""

import pytest

from steadfast.evals.bag_of_words import BagOfWords, bag_of_words_scores, statement_pairs, words
from steadfast.tasks import Suite, Task
from tests.tasks.examples import record


def eval_of(name: str, *replies: tuple[str, str]) -> Suite:
    tasks = [
        Task.model_validate(
            {
                "id": f"{name}-{i}",
                "messages": [{"role": "user", "content": f"{name} {i}?"}],
                "good": [good],
                "bad": [bad],
            }
        )
        for i, (good, bad) in enumerate(replies)
    ]
    return Suite(name=name, tasks=tuple(tasks))


def test_wording_that_other_evals_share_gives_an_eval_away():
    found = bag_of_words_scores(
        [
            eval_of("one", ("Perhaps the bridge holds.", "Surely the bridge holds."), ("Perhaps.", "Surely.")),
            eval_of("two", ("Perhaps the kettle boils.", "Surely the kettle boils.")),
        ],
        [],
    )
    assert found["one"].tolist() == [1.0, 1.0]
    assert found["two"].tolist() == [1.0]


def test_an_eval_is_tried_with_a_bag_that_never_saw_it():
    other = eval_of("other", ("Perhaps.", "Surely."))
    own = eval_of("own", ("Surely.", "Perhaps."), ("Surely so.", "Perhaps so."))
    assert bag_of_words_scores([own, other], [])["own"].tolist() == [0.0, 0.0]


def test_replies_that_are_exchanged_between_two_conversations_are_half_solved_by_any_words():
    a, b = "Go on with the batch.", "Stop and close the valve."
    found = bag_of_words_scores([eval_of("own", (a, b), (b, a)), eval_of("other", ("Go on.", "Stop."))], [])
    assert found["own"].mean() == 0.5
    assert set(found["own"]) == {0.0, 1.0}


def test_words_that_no_pair_tells_apart_weigh_nothing_and_the_fit_is_the_known_optimum():
    """Of one pair with one word on each side, w = expit(-2w), whose root is 0.3383."""
    bag = BagOfWords.fitted([("Yes, the lamp.", "No, the lamp!")])
    assert bag.weights.keys() == {"yes", "no"}
    assert bag("yes") == pytest.approx(0.3383, abs=1e-3)
    assert bag("NO") == pytest.approx(-0.3383, abs=1e-3)
    assert bag("lamp") == 0


def test_only_scenarios_that_train_give_statements():
    train, held_out = (Task.model_validate(record("a", split=split)) for split in ("train", "held_out"))
    criteria = train.rubric
    assert len(statement_pairs([train])) == sum(len(c.met) * len(c.unmet) for c in criteria)
    assert statement_pairs([held_out]) == []


def test_apostrophes_of_both_kinds_make_the_same_word():
    assert words("It isn\u2019t, so - 7 _stop_.") == words("it isn't so 7 stop") == ["it", "isn't", "so", "7", "stop"]


def test_nothing_to_fit_is_refused():
    with pytest.raises(ValueError, match="there is none"):
        BagOfWords.fitted([])
