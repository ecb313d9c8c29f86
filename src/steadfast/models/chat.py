"""Conversations as token ids."""

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from steadfast.errors import ModelNotFoundError
from steadfast.messages import Message


def encode_chat(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], *, style: str | None = None
) -> list[int]:
    """Token ids of a conversation up to the point where the model speaks.

    Args:
        tokenizer: with a chat template.
        messages: the conversation; its last turn is the user's.
        style: an instruction on form, such as a length limit, appended to the system turn (made if there is none).

    Raises:
        ModelNotFoundError: the tokenizer has no chat template.
    """
    if tokenizer.chat_template is None:
        raise ModelNotFoundError(
            "this model's tokenizer has no chat template: use an instruction-tuned model, or set one on the tokenizer"
        )
    turns = [m.model_dump() for m in messages]
    if style and turns and turns[0]["role"] == "system":
        turns[0]["content"] += f"\n{style}"
    elif style:
        turns.insert(0, {"role": "system", "content": style})
    encoded: Any = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)
    return list(encoded["input_ids"])
