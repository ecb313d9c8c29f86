"""Word tokens apart from punctuation and ends, on a tokenizer whose tokens are known."""

import pytest

from steadfast.models.word_tokens import WordTokens


def test_letters_and_digits_are_words_and_punctuation_space_and_the_end_are_not(tokenizer):
    ids = [*tokenizer("No, 7.", add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    assert WordTokens(tokenizer)(ids) == [True, True, False, False, True, False, False]


def test_the_bytes_of_a_letter_that_takes_several_tokens_are_words(tokenizer):
    ids = tokenizer("\u00fc\u4e2d", add_special_tokens=False)["input_ids"]
    assert len(ids) == 5
    assert all(WordTokens(tokenizer)(ids))


def test_a_control_token_is_no_word_whatever_letters_its_name_has(tokenizer):
    assert WordTokens(tokenizer)(tokenizer.all_special_ids) == [False] * len(tokenizer.all_special_ids)


@pytest.mark.slow
def test_the_default_models_words_and_ends_are_told_apart():
    from steadfast.models import load_model

    chat = load_model().chat
    ids = [*chat.encode_reply("It isn't safe, so stop."), chat.end_of_turn]
    texts = [chat.tokenizer.decode([i]) for i in ids]
    words = [t for t, word in zip(texts, WordTokens(chat.tokenizer)(ids), strict=True) if word]
    assert "".join(words) == "It isn't safe so stop"
    assert texts[-1] == "<|im_end|>"
