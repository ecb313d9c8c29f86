"""Tiny random models of the architectures people have: four layers, hidden size 32, a window of 16 if any."""

from typing import Any

import torch
import transformers
from transformers import PreTrainedModel

SHAPE: dict[str, Any] = {
    "vocab_size": 260,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": None,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
MIXED = ["sliding_attention", "full_attention"] * 2
LINEAR = ["linear_attention", "full_attention"] * 2
DELTA: dict[str, Any] = {
    "head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": LINEAR,
}
EXPERTS: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
MAMBA: dict[str, Any] = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_chunk_size": 16}

ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "Llama": ("Llama", {}),
    "Qwen2": ("Qwen2", {}),
    "Qwen3": ("Qwen3", {"head_dim": 8}),
    "Qwen3-MoE": ("Qwen3Moe", {"head_dim": 8, **EXPERTS}),
    "Mistral": ("Mistral", {"sliding_window": 16}),
    "Phi-3": ("Phi3", {"sliding_window": 16}),
    "Gemma-2": ("Gemma2", {"head_dim": 8, "sliding_window": 16, "layer_types": MIXED}),
    "Gemma-3": ("Gemma3", {"head_dim": 8, "sliding_window": 16, "layer_types": MIXED}),
    "gpt-oss": (
        "GptOss",
        {
            "head_dim": 8,
            "sliding_window": 16,
            "layer_types": MIXED,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
        },
    ),
    "Olmo-3": ("Olmo3", {"sliding_window": 16, "layer_types": MIXED}),
    "Llama-4": (
        "Llama4Text",
        {
            "attention_chunk_size": 16,
            "head_dim": 8,
            "intermediate_size_mlp": 64,
            "num_local_experts": 2,
            "num_experts_per_tok": 1,
            "no_rope_layers": [1, 1, 1, 0],
        },
    ),
    "LFM2": ("Lfm2", {"layer_types": ["conv", "full_attention"] * 2, "block_auto_adjust_ff_dim": False}),
    "Qwen3-Next": ("Qwen3Next", {**DELTA, **EXPERTS, "shared_expert_intermediate_size": 32}),
    "Qwen3.5": ("Qwen3_5", DELTA),
    "Granite hybrid": (
        "GraniteMoeHybrid",
        {
            **MAMBA,
            "layer_types": ["mamba", "attention"] * 2,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "shared_intermediate_size": 32,
        },
    ),
    "Nemotron-H": (
        "NemotronH",
        {
            "head_dim": 8,
            "mamba_num_heads": 8,
            "mamba_head_dim": 8,
            "ssm_state_size": 8,
            "n_groups": 2,
            "chunk_size": 16,
            "layers_block_type": ["mamba", "attention", "mamba", "mlp"],
        },
    ),
    "Mamba-2": ("Mamba2", {"num_heads": 8, "head_dim": 8, "state_size": 8, "n_groups": 1, "chunk_size": 16}),
    "GPT-Neo": (
        "GPTNeo",
        {"attention_types": [[["global", "local"], 2]], "window_size": 16, "num_layers": 4, "num_heads": 4},
    ),
    "GPT-2": ("GPT2", {}),
    "GPT-NeoX": ("GPTNeoX", {}),
    "Falcon": ("Falcon", {"alibi": False}),
    "Falcon with alibi": ("Falcon", {"alibi": True, "new_decoder_architecture": False}),
    "Bloom": ("Bloom", {}),
    "OPT": ("OPT", {"ffn_dim": 64, "word_embed_proj_dim": 32}),
}
CAUSAL_LM = {"Llama4Text": "Llama4ForCausalLM", "GPT2": "GPT2LMHeadModel", "Qwen3_5": "Qwen3_5ForCausalLM"}
CONFIG = {"Gemma3": "Gemma3TextConfig", "Qwen3_5": "Qwen3_5TextConfig"}


def tiny(name: str, **changes: Any) -> PreTrainedModel:
    """A random model, loud enough that each token hears those before it."""
    family, settings = ARCHITECTURES[name]
    config = getattr(transformers, CONFIG.get(family, f"{family}Config"))(**{**SHAPE, **settings, **changes})
    torch.manual_seed(0)
    lm = getattr(transformers, CAUSAL_LM.get(family, f"{family}ForCausalLM"))(config).eval()
    with torch.no_grad():
        for parameter in lm.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4.0)
    return lm.requires_grad_(False)


def tiny_gemma3_with_vision() -> PreTrainedModel:
    """Gemma-3 as its multimodal wrapper, the class that the larger Gemma-3 checkpoints load as."""
    text = {**SHAPE, "head_dim": 8, "sliding_window": 16, "layer_types": MIXED}
    vision = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    config = transformers.Gemma3Config(
        text_config=text,
        vision_config=vision,
        mm_tokens_per_image=4,
        boi_token_index=250,
        eoi_token_index=251,
        image_token_index=252,
    )
    torch.manual_seed(0)
    lm = transformers.Gemma3ForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in lm.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4.0)
    return lm.requires_grad_(False)
