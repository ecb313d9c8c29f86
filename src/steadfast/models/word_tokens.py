"""Word tokens are told apart from punctuation and from the tokens that end a turn."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

_PIECE_OF_A_LETTER = "\N{REPLACEMENT CHARACTER}"


class WordTokens:
    """This says which tokens of a tokenizer carry words.

    A word token is one whose own text has a letter or a digit of any script, or is a piece of a character that takes
    several tokens. All others are punctuation, white space, or control tokens such as the end of a turn. A token that
    holds both, such as ".The", is a word token.

    Args:
        tokenizer: The tokenizer whose ids are asked about.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._special = frozenset(tokenizer.all_special_ids)
        self._known: dict[int, bool] = {}

    def __call__(self, token_ids: Sequence[int]) -> list[bool]:
        """Tell for each token id whether it is a word token."""
        return [self._is_word(i) for i in token_ids]

    def _is_word(self, token: int) -> bool:
        if token not in self._known:
            text = str(self._tokenizer.decode([token]))
            lettered = any(c.isalnum() or c == _PIECE_OF_A_LETTER for c in text)
            self._known[token] = lettered and token not in self._special
        return self._known[token]
