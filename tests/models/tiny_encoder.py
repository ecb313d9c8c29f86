"""A sentence encoder with random weights and single letters for tokens, made here: fast tests need no wheel."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from steadfast.models import sentence_encoder
from steadfast.models.sentence_encoder import SIZE, TOP_LAYER, SentenceEncoder

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_VOCABULARY = [*_SPECIAL, *_LETTERS, *(f"##{c}" for c in _LETTERS), *".,;:!?'\"-/", "the", "##ing", "dose"]


def make_folder(folder: Path) -> Path:
    """Write the tokenizer and the weights as the wheel holds them."""
    ids = {token: i for i, token in enumerate(_VOCABULARY)}
    tokenizer = Tokenizer(models.WordPiece(vocab=ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(t, ids[t]) for t in ("[CLS]", "[SEP]")]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(_VOCABULARY),
        hidden_size=SIZE,
        num_hidden_layers=TOP_LAYER,
        num_attention_heads=2,
        intermediate_size=32,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def make_encoder(folder: Path) -> SentenceEncoder:
    """An encoder of a folder's weights."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sentence_encoder, "fetch", lambda wheel: make_folder(folder))
        return SentenceEncoder()
