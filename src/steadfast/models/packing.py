"""Lay several sequences out as a single row, so that what they begin with is computed once.

A group of completions shares its prompt; the turns of several conversations share the turns before they part. Laid
out as one row in which every shared beginning stands once, with position ids that go on from it and a mask that lets
each token see its own sequence only, the model gives every token exactly the logits it would get alone, and nothing
is padded. The simple case is a star, one prompt with its completions: `[prompt | c1 | c2 | ...]`. Any causal LM of
transformers that takes a 4D attention mask and position ids can read such a row.

Array suffixes: T stands for the tokens of the packed row, S for those of one sequence, and N for the trained tokens of
all sequences.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


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
        predictor_N: The place in the row whose logits predict each trained token.
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


def pack(prompt: Sequence[int], completions: Sequence[Sequence[int]]) -> Pack:
    """Lay a prompt and its completions out as one row.

    Raises:
        ValueError: The prompt or a completion is empty.
    """
    return pack_sequences([[Span(prompt, trained=False), Span(c, trained=True)] for c in completions])


def pack_sequences(sequences: Sequence[Sequence[Span]]) -> Pack:
    """Lay sequences out as one row: a prefix tree of their leading spans.

    Spans before a sequence's first trained one are shared with the sequences that begin with equal spans.

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
        shared = next(i for i, span in enumerate(spans) if span.trained)
        node = tree.root
        for span in spans[:shared]:
            node = tree.shared_child(node, span.token_ids)
        beginning = sum(len(span.token_ids) for span in spans[:shared])
        # The last trained token predicts nothing that is wanted, and neither does what comes after it.
        node = tree.child(node, tokens[beginning : trained[-1]])
        places.append(torch.tensor(node.places))
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
    """Lay prompts out as one row, token for token: each goes on from where it parts from the one before it.

    Args:
        prompts: The prompts, none of them empty; sorted by their tokens they share most.
    """
    tokens: list[int] = []
    positions: list[int] = []
    places: list[list[int]] = []
    for i, prompt in enumerate(prompts):
        shared = shared_beginning(prompts[i - 1], prompt) if i else 0
        new = range(len(tokens), len(tokens) + len(prompt) - shared)
        places.append([*(places[-1][:shared] if i else ()), *new])
        tokens.extend(prompt[shared:])
        positions.extend(range(shared, len(prompt)))
    position_T, order_T = torch.tensor(positions), torch.arange(len(tokens))
    mask_TT = torch.zeros(len(tokens), len(tokens), dtype=torch.bool)
    for own in map(torch.tensor, places):
        # A token that two prompts share sees the same places for both.
        mask_TT[own[:, None], own[None, :]] |= order_T[: len(own), None] >= order_T[None, : len(own)]
    return PromptPack(torch.tensor(tokens), position_T, mask_TT, tuple(map(torch.tensor, places)))


@dataclass
class _Node:
    """A node of the tree is a span; `places` holds the places of all tokens from the root to the span's end."""

    index: int
    places: list[int]
    children: dict[tuple[int, ...], "_Node"] = field(default_factory=dict[tuple[int, ...], "_Node"])


class _Tree:
    """The tree is the row as it is laid out, with the node that each token belongs to."""

    def __init__(self) -> None:
        self.root = _Node(0, [])
        self.token_ids: list[int] = []
        self.positions: list[int] = []
        self.node_of_token: list[int] = []
        self.ancestors: list[list[int]] = [[0]]  # each node is among its own

    def shared_child(self, parent: _Node, token_ids: Sequence[int]) -> _Node:
        """Return the child with these tokens, which is laid out if it is not there yet."""
        key = tuple(token_ids)
        if key not in parent.children:
            parent.children[key] = self.child(parent, token_ids)
        return parent.children[key]

    def child(self, parent: _Node, token_ids: Sequence[int]) -> _Node:
        """Lay out a child of its own with these tokens, and return it."""
        index, start, position = len(self.ancestors), len(self.token_ids), len(parent.places)
        self.token_ids.extend(token_ids)
        self.positions.extend(range(position, position + len(token_ids)))
        self.node_of_token.extend([index] * len(token_ids))
        self.ancestors.append([*self.ancestors[parent.index], index])
        return _Node(index, [*parent.places, *range(start, start + len(token_ids))])

    def mask(self) -> Tensor:
        """Return the mask [T, T]: a token sees its ancestors and, in its own node, itself and what stands before it."""
        count = len(self.ancestors)
        related = torch.zeros(count, count, dtype=torch.bool)
        for node, ancestors in enumerate(self.ancestors):
            related[node, ancestors] = True
        node_T, order = torch.tensor(self.node_of_token), torch.arange(len(self.token_ids))
        return related[node_T[:, None], node_T[None, :]] & (order[:, None] >= order[None, :])
