"""The sentence encoder reads all of a text or says that it cannot, and is loaded once."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from steadfast.models import sentence_encoder
from steadfast.models.conversations import conversation_embeddings
from steadfast.models.sentence_encoder import SIZE, TOP_LAYER, WINDOW
from tests.models.tiny_encoder import make_encoder, make_folder

TEXTS = ["The dose is too high.", "Ask first.", "Who told you that it was safe to take two of them at once?"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return make_encoder(tmp_path_factory.mktemp("encoder"))


def tokens(encoder, text):
    return len(encoder.tokenizer(text)["input_ids"])


def test_each_text_has_a_unit_embedding_at_each_layer_whatever_stands_beside_it(encoder):
    layers = encoder.layers(TEXTS, (2, TOP_LAYER))
    assert layers.shape == (3, 2, SIZE)
    assert torch.allclose(layers.norm(dim=-1), torch.ones(3, 2), atol=1e-5)
    assert torch.allclose(encoder.layers(TEXTS[::-1], (2, TOP_LAYER)).flip(0), layers, atol=1e-5)
    assert not torch.allclose(layers[:, 0], layers[:, 1], atol=1e-2)


def test_the_plain_embedding_is_that_of_the_top_layer(encoder):
    assert torch.equal(encoder.embed(TEXTS), encoder.layers(TEXTS, (TOP_LAYER,))[:, 0])


def test_pieces_without_room_for_a_word_are_refused(encoder):
    with pytest.raises(ValueError, match="no room for a word"):
        encoder.pieces(TEXTS, 2)


def test_no_texts_have_no_embeddings_and_no_pieces(encoder):
    assert encoder.layers([], (2, 3)).shape == (0, 2, SIZE)
    assert encoder.pieces([]) == []


def test_a_text_longer_than_the_encoder_reads_is_an_error_and_not_cut_in_silence(encoder):
    with pytest.raises(ValueError, match=f"{WINDOW + 1} tokens and the encoder reads {WINDOW}"):
        encoder.embed(["short", "x " * (WINDOW - 1)])
    assert encoder.embed(["x " * (WINDOW - 2)]).shape == (1, SIZE)


def test_texts_within_the_limit_are_their_own_only_piece(encoder):
    assert encoder.pieces(["  as it is ", "", TEXTS[0]], 24) == ["  as it is ", "", TEXTS[0]]
    exact = "x " * 22
    assert encoder.pieces([exact], 24) == [exact]
    assert encoder.pieces([exact + "x"], 24) == [exact.strip(), "x"]


def test_a_long_text_is_cut_between_words_where_it_can_be(encoder):
    text = "three seven doubt about night water stone green"
    assert encoder.pieces([TEXTS[1], text, TEXTS[1]], 14) == [
        TEXTS[1],
        "three seven",
        "doubt about",
        "night water",
        "stone green",
        TEXTS[1],
    ]


def test_a_word_too_long_by_itself_is_cut_within(encoder):
    assert encoder.pieces(["so abcdefghijklmno it is"], 12) == ["so", "abcdefghij", "klmno it is"]


def test_the_rest_of_a_word_that_comes_to_more_tokens_alone_still_fits(encoder):
    """A token of three letters within a word, three tokens at the beginning of one."""
    parts = encoder.pieces(["abcde" + "ing" * 6], 7)
    assert "".join(parts) == "abcde" + "ing" * 6
    assert max(tokens(encoder, p) for p in parts) <= 7


@settings(max_examples=80, deadline=None)
@given(st.text(st.sampled_from("abcing the.,;\n\t \u00e9\u4e2d"), max_size=200), st.integers(3, 40))
def test_pieces_fit_and_lose_nothing_but_white_space(encoder, text, limit):
    parts = encoder.pieces([text], limit)
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert all(tokens(encoder, p) <= limit for p in parts)


def test_the_encoder_is_loaded_once_a_process(monkeypatch, tmp_path):
    loaded = []
    monkeypatch.setattr(sentence_encoder, "fetch", lambda wheel: loaded.append(wheel) or make_folder(tmp_path))
    sentence_encoder.sentence_encoder.cache_clear()
    try:
        for _ in range(3):
            assert conversation_embeddings(["a text", "another " * 200]).shape == (2, SIZE)
        assert len(loaded) == 1
    finally:
        sentence_encoder.sentence_encoder.cache_clear()
