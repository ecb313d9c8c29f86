"""The embedded judge reads answers whole, and its protocol holds all that decides a grade; on random weights."""

from dataclasses import fields, replace

import pytest
import torch

from steadfast.graders import EmbeddedJudge, gates, protocol_hash
from steadfast.graders.embedded import embedder as embedders
from steadfast.graders.embedded import sentences as splitting
from steadfast.graders.embedded.embedder import Embedder
from steadfast.graders.embedded.head import STANCE_LAYERS, Head
from steadfast.graders.embedded.judge import Calibration
from steadfast.models.sentence_encoder import SIZE
from steadfast.rollouts import Rollout
from steadfast.tasks import Task
from tests.models.tiny_encoder import make_encoder
from tests.tasks.examples import criterion, record

CLAIM = "No such amount was ever safe."


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return make_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def judge(encoder):
    return EmbeddedJudge(embedder=Embedder(encoder=encoder))


@pytest.fixture
def asks_for_the_claim():
    rubric = [criterion("States a limit.", met=[CLAIM], unmet=["Take three more of them."])]
    return Task.model_validate(record(rubric=rubric))


def filler(count, end=". "):
    """Sentences of three words of which none comes twice."""
    letters = [f"{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(count)]
    return "".join(f"{pair}x {pair}y {pair}z{end}" for pair in letters)


@pytest.mark.parametrize("before", [23, 24, 25, 200])
def test_the_last_sentence_counts_however_many_stand_before_it(judge, asks_for_the_claim, before):
    others = filler(before)
    texts = [others, others + CLAIM, f"{CLAIM} {others}"]
    without, last, first = judge.grade([Rollout.of_text(asks_for_the_claim, text) for text in texts])
    assert last.gate is None
    assert last.score == pytest.approx(first.score, abs=1e-5)
    assert last.score > without.score + 1e-3


def test_the_end_of_a_sentence_of_any_length_counts(judge, asks_for_the_claim):
    endless = filler(150, end=" ")
    without, answered = judge.grade([Rollout.of_text(asks_for_the_claim, endless + s) for s in ("", CLAIM)])
    assert len(splitting.sentences(endless + CLAIM)) == 1
    assert abs(answered.score - without.score) > 1e-3


def test_a_statement_of_any_length_is_read_whole(judge):
    def grade(ending):
        rubric = [criterion("States a limit.", met=[filler(150, end=" ") + ending], unmet=["Take three more of them."])]
        return judge.grade([Rollout.of_text(Task.model_validate(record(rubric=rubric)), CLAIM)])[0].score

    assert abs(grade(CLAIM) - grade("")) > 1e-3


def test_an_answer_of_more_sentences_than_are_read_is_stopped_by_a_gate_of_its_own(
    judge, asks_for_the_claim, monkeypatch
):
    monkeypatch.setattr(splitting, "LIMITS", replace(splitting.LIMITS, max_sentences=20))
    fits, overlong, cut = judge.grade(
        [
            Rollout.of_text(asks_for_the_claim, filler(20)),
            Rollout.of_text(asks_for_the_claim, filler(21)),
            Rollout.of_text(asks_for_the_claim, filler(21), finished=False),
        ]
    )
    assert fits.gate is None
    assert (overlong.score, overlong.gate, overlong.verdicts) == (0.0, "overlong", ())
    assert cut.gate == "truncated"


def test_the_limit_is_far_above_what_is_sampled(judge, asks_for_the_claim):
    assert judge.grade([Rollout.of_text(asks_for_the_claim, filler(500))])[0].gate is None


def another(value):
    match value:
        case str():
            return value + "x"
        case tuple():
            return value[1:]
        case int():
            return value + 1
        case _:
            return value / 2 + 0.1


def head():
    return Head(torch.ones(4, len(STANCE_LAYERS) * SIZE), torch.ones(SIZE + 1))


def hashed(encoder, head, calibration=None):
    judge = EmbeddedJudge(calibration=calibration, embedder=Embedder(head, encoder))
    return protocol_hash(judge.name, judge.settings)


CONSTANTS = [(module, field.name) for module in (gates, splitting) for field in fields(module.LIMITS)]


@pytest.mark.parametrize(("module", "name"), CONSTANTS, ids=[f"{m.__name__}.{n}" for m, n in CONSTANTS])
def test_another_limit_is_another_protocol(encoder, monkeypatch, module, name):
    before = hashed(encoder, None)
    monkeypatch.setattr(module, "LIMITS", replace(module.LIMITS, **{name: another(getattr(module.LIMITS, name))}))
    assert hashed(encoder, None) != before


@pytest.mark.parametrize("name", [f.name for f in fields(Calibration)])
def test_another_calibration_is_another_protocol(encoder, name):
    changed = replace(Calibration(), **{name: another(getattr(Calibration(), name))})
    assert hashed(encoder, None, changed) != hashed(encoder, None)


@pytest.mark.parametrize("name", ["STANCE_LAYERS", "STANCE_WEIGHT", "PROSE_LAYER"])
def test_other_layers_or_weights_of_the_head_are_another_protocol_of_the_judge_that_has_one(encoder, monkeypatch, name):
    plain, headed = hashed(encoder, None), hashed(encoder, head())
    monkeypatch.setattr(embedders, name, another(getattr(embedders, name)))
    assert hashed(encoder, head()) != headed
    assert hashed(encoder, None) == plain


def test_another_head_is_another_protocol(encoder):
    other = replace(head(), prose=torch.zeros(SIZE + 1))
    assert len({hashed(encoder, None), hashed(encoder, head()), hashed(encoder, other)}) == 3
