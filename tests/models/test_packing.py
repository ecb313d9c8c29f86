import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from steadfast.models import forward
from steadfast.models.forward import captured_input, completion_logprobs, logits_at, token_logprobs
from steadfast.models.packing import Span, pack, pack_sequences
from tests.conftest import make_lm
from tests.models.architectures import tiny

tokens = st.lists(st.integers(4, 259), min_size=1, max_size=7)


@functools.cache
def model(name):
    """One model for all examples, its windows narrower than the sequences."""
    if name == "Llama":
        return make_lm()
    return tiny(name, sliding_window=5)


def alone(lm, prompt, completion):
    """Log-probabilities of one completion computed the plain way."""
    ids = torch.tensor([[*prompt, *completion]])
    logits = lm(input_ids=ids).logits[0, len(prompt) - 1 : -1]
    return torch.log_softmax(logits.float(), -1).gather(-1, torch.tensor(completion)[:, None])[:, 0]


@settings(max_examples=25, deadline=None)
@given(prompt=tokens, completions=st.lists(tokens, min_size=1, max_size=4))
@torch.no_grad()
def test_a_packed_completion_gets_the_logprobs_it_gets_alone(prompt, completions):
    lm = model("Llama")
    packed = pack(prompt, completions)
    together = completion_logprobs(lm, packed)
    expected = torch.cat([alone(lm, prompt, c) for c in completions])
    torch.testing.assert_close(together, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_starting_at_a_layer_from_its_cached_input_changes_nothing(lm):
    packed = pack([5, 6, 7, 8], [[9, 10, 11], [12], [13, 14]])
    with captured_input(lm, 2) as captured:
        whole = completion_logprobs(lm, packed)
    short = completion_logprobs(lm, packed, hidden_TD=captured[0][0], first_layer=2)
    torch.testing.assert_close(short, whole)
    assert len(lm.model.layers) == 4, "the layers must be back in place"


def test_only_places_that_predict_reach_the_vocabulary_and_each_of_them_once(lm, monkeypatch):
    packed = pack([5] * 40, [[9, 10, 11], [12, 13], [9, 10, 14]])
    completion_logprobs(lm, packed)  # the model's way of being read is found out first
    seen = []
    monkeypatch.setattr(forward, "logits_at", lambda lm, keep, **a: seen.append(keep) or logits_at(lm, keep, **a))
    assert completion_logprobs(lm, packed).shape == (8,)
    assert [keep.tolist() for keep in seen] == [[39, 40, 41, 42]]


endings = st.lists(st.tuples(tokens, st.booleans()), max_size=3)


@st.composite
def conversations(draw):
    """Sequences of several turns, which begin alike as far as the draw has it."""
    pool = draw(st.lists(tokens, min_size=1, max_size=3))
    sequences = []
    for _ in range(draw(st.integers(1, 4))):
        before = [Span(draw(st.sampled_from(pool)), False) for _ in range(draw(st.integers(1, 3)))]
        after = [Span(t, trained) for t, trained in draw(endings)]
        sequences.append([*before, Span(draw(tokens), True), *after])
    return sequences


def trained_alone(lm, spans):
    """Log-probabilities of a sequence's trained tokens computed the plain way."""
    ids = [t for s in spans for t in s.token_ids]
    trained = [i for i, t in enumerate(t for s in spans for t in [s.trained] * len(s.token_ids)) if t]
    logits = lm(input_ids=torch.tensor([ids])).logits[0]
    return token_logprobs(logits[torch.tensor(trained) - 1], torch.tensor([ids[i] for i in trained]))


@pytest.mark.parametrize("name", ["Llama", "Mistral", "Gemma-3"])
@settings(max_examples=15, deadline=None)
@given(sequences=conversations())
@torch.no_grad()
def test_a_tree_of_conversations_gives_each_the_logprobs_it_gets_alone(name, sequences):
    lm = model(name)
    packed = pack_sequences(sequences)
    together = completion_logprobs(lm, packed).split(packed.lengths)
    for logprobs, spans in zip(together, sequences, strict=True):
        torch.testing.assert_close(logprobs, trained_alone(lm, spans), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_tree_taken_apart_into_rows_gives_the_same_log_probabilities():
    lm = model("Llama")
    shared = [Span([5, 6, 7], False), Span([8, 9], False)]
    packed = pack_sequences(
        [[*shared, Span([10, 11], True), Span([12], False), Span([13, 14], True)], [*shared, Span([15], True)]]
    )
    apart = completion_logprobs(lm, packed, path="unpacked")
    torch.testing.assert_close(apart, completion_logprobs(lm, packed, path="packed"), atol=1e-4, rtol=1e-4)


def test_equal_beginnings_stand_once_in_the_row():
    system, tool = Span([1, 2, 3], False), Span([7, 8], False)
    packed = pack_sequences(
        [
            [system, Span([4], False), Span([5, 6], True)],
            [system, Span([4], False), Span([5, 6], True), tool, Span([9], True)],
            [system, Span([5], False), Span([6, 6], True), tool],
        ]
    )
    assert packed.input_ids_T.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 5, 6]
    assert packed.position_ids_T.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 3, 4]
    assert packed.target_N.tolist() == [5, 6, 5, 6, 9, 6, 6]
    assert packed.predictor_N.tolist() == [3, 4, 3, 4, 7, 8, 9]
    assert packed.lengths == (2, 3, 2)
    assert [p.tolist() for p in packed.places] == [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 8, 9]]


def test_completions_are_laid_out_as_a_tree_of_their_tokens():
    packed = pack([1, 2], [[3, 4, 5], [6], [3, 7, 5], [8, 9]])
    assert packed.input_ids_T.tolist() == [1, 2, 3, 4, 7, 8]
    assert packed.position_ids_T.tolist() == [0, 1, 2, 3, 3, 2]
    assert packed.predictor_N.tolist() == [1, 2, 3, 1, 1, 2, 4, 1, 5]
    assert packed.mask_TT.long().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 0, 1, 0],
        [1, 1, 0, 0, 0, 1],
    ]


def test_states_of_sequences_are_laid_out_where_their_tokens_stand():
    packed = pack([1, 2], [[3, 4, 5], [6], [3, 7, 5]])
    states = [torch.tensor(ids)[:, None] for ids in ([1, 2, 3, 4], [1, 2], [1, 2, 3, 7])]
    assert packed.laid_out(states)[:, 0].tolist() == packed.input_ids_T.tolist()


@pytest.mark.parametrize("spans", [[Span([1], True)], [Span([1], False)], [Span([1], True), Span([2], False)]])
def test_a_sequence_without_a_prompt_or_without_trained_tokens_is_an_error(spans):
    with pytest.raises(ValueError, match="begins with a span that is not trained and holds one that is"):
        pack_sequences([spans])


@pytest.mark.parametrize(("prompt", "completions"), [([], [[1]]), ([1], []), ([1], [[2], []])])
def test_packing_nothing_is_an_error(prompt, completions):
    with pytest.raises(ValueError, match="at least one token"):
        pack(prompt, completions)


def test_temperature_divides_the_logits():
    logits = torch.randn(3, 11)
    target = torch.tensor([1, 5, 9])
    expected = torch.log_softmax(logits / 0.7, -1).gather(-1, target[:, None])[:, 0]
    torch.testing.assert_close(token_logprobs(logits, target, 0.7), expected)
