"""Whole conversations are embedded whole, whatever their length."""

import numpy as np
import pytest

from steadfast.models.conversations import conversation_embeddings
from steadfast.models.sentence_encoder import WINDOW, sentence_encoder

pytestmark = pytest.mark.slow

SHORT = "My mother takes warfarin every evening. Is ibuprofen fine for her knee?"


def test_a_text_that_fits_one_window_has_the_encoders_own_embedding():
    assert conversation_embeddings([SHORT])[0] == pytest.approx(sentence_encoder().embed([SHORT])[0].numpy(), abs=1e-5)


def test_what_stands_after_the_first_window_counts():
    long = " ".join(["The reading club meets on Fridays in the back room."] * 40)
    same, other = conversation_embeddings([long, f"{long} {SHORT * 8}"])
    assert len(sentence_encoder().tokenizer(long)["input_ids"]) > WINDOW
    assert same @ other < 0.99


def test_embeddings_are_of_unit_length_and_an_empty_list_has_none():
    assert np.linalg.norm(conversation_embeddings([SHORT, "x"]), axis=1) == pytest.approx([1.0, 1.0], abs=1e-5)
    assert conversation_embeddings([]).shape == (0, 384)
