"""A causal LM with a trainable adapter: made, saved and loaded through PEFT."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from pydantic import BaseModel, ConfigDict, Field
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from steadfast.errors import ModelNotFoundError, RecipeError
from steadfast.messages import Message
from steadfast.models.chat import encode_chat
from steadfast.models.forward import can_start_at, decoder_of
from steadfast.models.prepack import prepack_frozen_linears


class AdapterConfig(BaseModel):
    """The LoRA adapter that is trained.

    Attributes:
        rank: of the low-rank update.
        alpha: its scale is alpha / rank.
        layers: "all", or how many of the top decoder layers carry it. With the top layers only, what the layers
            below compute during the rollout serves training too, which saves most of the training pass.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=32.0, gt=0)
    layers: Annotated[int, Field(ge=1)] | Literal["all"] = "all"


@dataclass
class Policy:
    """A model with its adapter.

    Attributes:
        model: the PEFT model.
        tokenizer: with a chat template.
        first_adapted_layer: layers below it are frozen and the same for all policies of the run.
    """

    model: PeftModel
    tokenizer: PreTrainedTokenizerBase
    first_adapted_layer: int

    @property
    def lm(self) -> PreTrainedModel:
        """The causal LM itself, the adapter inside it."""
        return self.model.get_base_model()  # type: ignore[return-value]

    @property
    def eos_token_ids(self) -> list[int]:
        """Tokens that end the model's turn."""
        return eos_token_ids(self.lm, self.tokenizer)

    def encode(self, messages: Sequence[Message], style: str | None = None) -> list[int]:
        """Token ids of a conversation up to the model's turn."""
        return encode_chat(self.tokenizer, messages, style=style)

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of a completion without special tokens."""
        return str(self.tokenizer.decode(list(token_ids), skip_special_tokens=True)).strip()

    def trainable(self) -> list[torch.nn.Parameter]:
        """The adapter's parameters."""
        return [p for p in self.model.parameters() if p.requires_grad]

    def save_adapter(self, directory: Path) -> None:
        """Write the adapter in PEFT's format; any PEFT user can load it."""
        self.model.save_pretrained(str(directory))


def eos_token_ids(lm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """End-of-turn tokens as the generation config and the tokenizer name them."""
    configured: Any = getattr(lm.generation_config, "eos_token_id", None)
    ids = set(configured if isinstance(configured, list) else [configured])
    ids.add(tokenizer.eos_token_id)
    return sorted(i for i in ids if isinstance(i, int))


def add_adapter(lm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, config: AdapterConfig, *, seed: int) -> Policy:
    """Put a fresh adapter, which changes nothing yet, on every linear layer of the chosen decoder layers.

    Raises:
        RecipeError: more layers asked for than the model has.
    """
    total = int(lm.config.num_hidden_layers)
    wanted = total if config.layers == "all" else config.layers
    if not 1 <= wanted <= total:
        raise RecipeError(f"training.adapter.layers is {config.layers}, but the model has {total} layers")
    torch.manual_seed(seed)
    lora = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]
        target_modules=sorted(_linear_names(lm)),
        layers_to_transform=list(range(total - wanted, total)),
        layers_pattern="layers",
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(lm, lora)
    prepack_frozen_linears(model)
    first = total - wanted
    if first and not can_start_at(model.get_base_model(), first):  # type: ignore[arg-type, operator]
        first = 0
    return Policy(model, tokenizer, first)  # type: ignore[arg-type]


def load_adapter(lm: PreTrainedModel, directory: Path) -> PreTrainedModel:
    """The model with a saved adapter applied, for inference.

    Raises:
        ModelNotFoundError: no adapter in that directory, or one of another model.
    """
    if not (directory / "adapter_config.json").is_file():
        raise ModelNotFoundError(f"{directory} holds no adapter (adapter_config.json is missing)")
    try:
        return PeftModel.from_pretrained(lm, str(directory)).merge_and_unload()  # type: ignore[return-value, operator]
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelNotFoundError(f"the adapter in {directory} does not fit this model: {error}") from error


def _linear_names(lm: PreTrainedModel) -> set[str]:
    layers = decoder_of(lm).layers
    return {name.rsplit(".", 1)[-1] for name, m in layers.named_modules() if isinstance(m, torch.nn.Linear)}
