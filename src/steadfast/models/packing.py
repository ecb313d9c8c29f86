"""Lay several sequences out as a single row, so that what they begin with is computed once.

A group of completions shares its prompt, prompts share their system message, and short completions often begin alike.
Laid out as one row in which every shared beginning stands once, with position ids that go on from it and a mask that
lets each token see its own sequence only, the model gives every token exactly the logits it would get alone, and
nothing is padded. Any causal LM of transformers that takes a 4D attention mask and position ids can read such a row.

Array suffixes: T stands for the tokens of the packed row, S for those of one sequence, and N for the trained tokens of
all sequences.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

T = TypeVar("T")


def shared_out(items: Iterable[T], tokens: Callable[[T], int], room: int) -> list[list[T]]:
    """Share items out among forward passes, in order.

    Args:
        items: What goes through the model.
        tokens: Gives the number of an item's tokens.
        room: A pass has at most this many tokens; an item with more is a pass of its own.
    """
    passes: list[list[T]] = []
    left = 0
    for item in items:
        size = tokens(item)
        if not passes or size > left:
            passes.append([])
            left = room
        passes[-1].append(item)
        left -= size
    return passes


@dataclass(frozen=True)
class Span:
    """A span is a part of a sequence in one role, such as a prompt, a completion or a tool's result.

    Attributes:
        token_ids: The tokens of the span.
        trained: Whether the log-probabilities of these tokens are wanted.
    """

    token_ids: Sequence[int]
    trained: bool


@dataclass(frozen=True)
class Pack:
    """A pack holds sequences that are ready for one forward pass.

    Attributes:
        input_ids_T: The packed row. What follows the last token that predicts something is left out.
        position_ids_T: The position of each token within its own sequence.
        mask_TT: True where the row's token may attend to the column's token, before any window of the model's.
        predictor_N: The place in the row whose logits predict each trained token; sequences that begin alike share it.
        target_N: The trained tokens, sequence after sequence.
        lengths: The number of trained tokens in each sequence.
        places: The places [S] in the row of each sequence's tokens, in order.
    """

    input_ids_T: Tensor
    position_ids_T: Tensor
    mask_TT: Tensor
    predictor_N: Tensor
    target_N: Tensor
    lengths: tuple[int, ...]
    places: tuple[Tensor, ...]

    def laid_out(self, states: Sequence[Tensor]) -> Tensor:
        """Return the states [T, D] of the row, given those [S, D] of each sequence's tokens."""
        row_TD = states[0].new_empty(len(self.input_ids_T), states[0].shape[-1])
        for places, states_SD in zip(self.places, states, strict=True):
            row_TD[places] = states_SD
        return row_TD


def pack(prompt: Sequence[int], completions: Sequence[Sequence[int]]) -> Pack:
    """Lay a prompt and its completions out as one row.

    Raises:
        ValueError: The prompt or a completion is empty.
    """
    return pack_sequences([[Span(prompt, trained=False), Span(c, trained=True)] for c in completions])


def pack_sequences(sequences: Sequence[Sequence[Span]]) -> Pack:
    """Lay sequences out as one row: a prefix tree of their tokens, so that equal beginnings are computed once.

    Args:
        sequences: The spans of each sequence in order; the first of them is not trained, and at least one is.

    Raises:
        ValueError: There is no sequence, a span is empty, or a sequence begins with a trained span or has none.
    """
    if not sequences or any(not spans or any(not s.token_ids for s in spans) for spans in sequences):
        raise ValueError("packing needs a prompt and completions of at least one token each")
    if any(spans[0].trained or not any(s.trained for s in spans) for spans in sequences):
        raise ValueError("a packed sequence begins with a span that is not trained and holds one that is")
    tree = _Tree()
    places: list[Tensor] = []
    predictors: list[Tensor] = []
    targets: list[int] = []
    lengths: list[int] = []
    for spans in sequences:
        tokens = [token for span in spans for token in span.token_ids]
        trained = [i for i, t in enumerate(t for s in spans for t in [s.trained] * len(s.token_ids)) if t]
        # The last trained token predicts nothing that is wanted, and neither does what comes after it.
        places.append(torch.tensor(tree.lay(tokens[: trained[-1]])))
        predictors.append(places[-1][torch.tensor(trained) - 1])
        targets.extend(tokens[i] for i in trained)
        lengths.append(len(trained))
    return Pack(
        input_ids_T=torch.tensor(tree.token_ids),
        position_ids_T=torch.tensor(tree.positions),
        mask_TT=tree.mask(),
        predictor_N=torch.cat(predictors),
        target_N=torch.tensor(targets),
        lengths=tuple(lengths),
        places=tuple(places),
    )


@dataclass(frozen=True)
class PromptPack:
    """A prompt pack is a row in which several prompts lie, and every beginning that they share stands once.

    Attributes:
        input_ids_T: The packed row.
        position_ids_T: The position of each token within its own prompt.
        mask_TT: True where the row's token may attend to the column's token.
        places: The places [S] in the row of each prompt's tokens, in order.
    """

    input_ids_T: Tensor
    position_ids_T: Tensor
    mask_TT: Tensor
    places: tuple[Tensor, ...]


def shared_beginning(one: Sequence[int], two: Sequence[int]) -> int:
    """Return how many tokens two prompts have in common at their beginnings."""
    return next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))


def pack_prompts(prompts: Sequence[Sequence[int]]) -> PromptPack:
    """Lay prompts out as one row, a prefix tree of their tokens.

    Args:
        prompts: The prompts, none of them empty.
    """
    tree = _Tree()
    places = tuple(torch.tensor(tree.lay(prompt)) for prompt in prompts)
    return PromptPack(torch.tensor(tree.token_ids), torch.tensor(tree.positions), tree.mask(), places)


class _Tree:
    """A prefix tree of tokens, laid out as a row: a token stands behind all that its sequence begins with."""

    def __init__(self) -> None:
        self.token_ids: list[int] = []
        self.positions: list[int] = []
        self._parents: list[int] = []
        self._children: dict[tuple[int, int], int] = {}

    def lay(self, tokens: Sequence[int]) -> list[int]:
        """Lay a sequence out as far as it is not there yet, and return the places of its tokens."""
        places: list[int] = []
        place = -1  # before the root
        for position, token in enumerate(tokens):
            parent, new = place, len(self.token_ids)
            place = self._children.setdefault((parent, token), new)
            if place == new:
                self.token_ids.append(token)
                self.positions.append(position)
                self._parents.append(parent)
            places.append(place)
        return places

    def mask(self) -> Tensor:
        """Return the mask [T, T]: a token sees itself and all tokens on the way from the root to it."""
        mask_TT = np.eye(len(self.token_ids), dtype=np.bool_)
        for place, parent in enumerate(self._parents):
            if parent >= 0:
                mask_TT[place, : parent + 1] = mask_TT[parent, : parent + 1]
        return torch.from_numpy(mask_TT)
