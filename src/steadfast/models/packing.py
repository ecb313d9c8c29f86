"""Many continuations of one prompt as a single row, so that the prompt is computed once.

A group of completions shares its prompt. Laid out as one row `[prompt | c1 | c2 | ...]` with position ids that
restart after the prompt and a mask that lets each completion see the prompt and itself, the model gives every
completion exactly the logits it would get alone, while the prompt is computed once instead of once per
completion and nothing is padded. Any causal LM of transformers that takes a 4D attention mask can read it.

Array suffixes: P prompt tokens, T tokens of the packed row, N completion tokens of the group, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pack:
    """One prompt with its completions, ready for one forward pass.

    Attributes:
        input_ids_T: the packed row; a completion's last token predicts nothing and is left out.
        position_ids_T: positions within prompt + completion.
        mask_TT: True where row's token may attend to column's token.
        predictor_N: for each completion token, the place in the row whose logits predict it.
        target_N: the completion tokens, completion after completion.
        lengths: tokens in each completion.
    """

    input_ids_T: Tensor
    position_ids_T: Tensor
    mask_TT: Tensor
    predictor_N: Tensor
    target_N: Tensor
    lengths: tuple[int, ...]


def pack(prompt: Sequence[int], completions: Sequence[Sequence[int]]) -> Pack:
    """Lay a prompt and its completions out as one row.

    Raises:
        ValueError: the prompt or a completion is empty.
    """
    if not prompt or not completions or any(not c for c in completions):
        raise ValueError("packing needs a prompt and completions of at least one token each")
    prompt_length = len(prompt)
    ids = list(prompt)
    positions = list(range(prompt_length))
    segment = [0] * prompt_length  # 0 is the prompt; completion k is k + 1
    predictors: list[int] = []
    for k, completion in enumerate(completions):
        start = len(ids)
        ids.extend(completion[:-1])
        positions.extend(range(prompt_length, prompt_length + len(completion) - 1))
        segment.extend([k + 1] * (len(completion) - 1))
        predictors.append(prompt_length - 1)
        predictors.extend(range(start, start + len(completion) - 1))
    segment_T = torch.tensor(segment)
    row, column = segment_T[:, None], segment_T[None, :]
    order = torch.arange(len(ids))
    mask_TT = ((row == column) | (column == 0)) & (order[:, None] >= order[None, :])
    return Pack(
        input_ids_T=torch.tensor(ids),
        position_ids_T=torch.tensor(positions),
        mask_TT=mask_TT,
        predictor_N=torch.tensor(predictors),
        target_N=torch.tensor([token for c in completions for token in c]),
        lengths=tuple(len(c) for c in completions),
    )
