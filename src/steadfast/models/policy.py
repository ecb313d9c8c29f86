"""A causal LM with a trainable adapter: made, saved and loaded through PEFT."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from pydantic import BaseModel, ConfigDict, Field
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from steadfast.errors import RecipeError, UnsupportedModelError
from steadfast.messages import Message
from steadfast.models.adapters import Undo, apply
from steadfast.models.boundary import reason
from steadfast.models.chat import ChatTemplate, template_of
from steadfast.models.forward import can_start_at, decoder_of
from steadfast.models.prepack import prepack_frozen_linears
from steadfast.models.pretrained import locate_adapter


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
        release: takes the adapter off the model, which is then what it was before, bit for bit.
    """

    model: PeftModel
    tokenizer: PreTrainedTokenizerBase
    first_adapted_layer: int
    release: Callable[[], None] = field(repr=False)

    @property
    def lm(self) -> PreTrainedModel:
        """The causal LM itself, the adapter inside it."""
        return self.model.get_base_model()  # type: ignore[return-value]

    @property
    def chat(self) -> ChatTemplate:
        """How the model's conversations are rendered."""
        return template_of(self.tokenizer)

    @property
    def eos_token_ids(self) -> list[int]:
        """Tokens that end the model's turn."""
        return eos_token_ids(self.lm, self.tokenizer)

    def encode(self, messages: Sequence[Message], style: str | None = None, *, max_new_tokens: int = 0) -> list[int]:
        """Token ids of a conversation up to the model's turn.

        Raises:
            ChatTemplateError: it cannot be rendered rightly, or exceeds the model's context with an answer of
                `max_new_tokens`.
        """
        return self.chat.encode(messages, style, max_new_tokens=max_new_tokens)

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of a completion without special tokens, its thoughts included."""
        return str(self.tokenizer.decode(list(token_ids), skip_special_tokens=True)).strip()

    def trainable(self) -> list[torch.nn.Parameter]:
        """The adapter's parameters."""
        return [p for p in self.model.parameters() if p.requires_grad]

    def save_adapter(self, directory: Path) -> None:
        """Write the adapter in PEFT's format; any PEFT user can load it."""
        self.model.save_pretrained(str(directory))


def eos_token_ids(lm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Tokens that end the model's turn: the one that its chat template writes, and those that its config names.

    A model without a chat template ends its texts with the tokens of its generation config and its tokenizer.

    Raises:
        ChatTemplateError: the template writes no end-of-turn token, or one that the model cannot emit.
    """
    configured: Any = getattr(lm.generation_config, "eos_token_id", None)
    named = configured if isinstance(configured, list) else [configured]
    if tokenizer.chat_template is not None:
        return template_of(tokenizer).end_tokens(named)
    return sorted({i for i in (*named, tokenizer.eos_token_id) if isinstance(i, int)})


def add_adapter(lm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, config: AdapterConfig, *, seed: int) -> Policy:
    """Put a fresh adapter, which changes nothing yet, on every linear layer of the chosen decoder layers.

    Raises:
        RecipeError: more layers asked for than the model has.
        UnsupportedModelError: this architecture can carry no adapter.
        RuntimeError: the model carries an adapter already.
    """
    if any(isinstance(m, BaseTunerLayer) for m in lm.modules()):
        raise RuntimeError("this model carries an adapter already: release its policy first")
    before = Undo(lm)
    try:
        torch.manual_seed(seed)
        model, first = _with_fresh_adapter(lm, config)
        prepack_frozen_linears(model)
        if first and not can_start_at(lm, first):
            first = 0
    except BaseException:
        before.restore()
        raise
    return Policy(model, tokenizer, first, before.restore)


def check_trainable(lm: PreTrainedModel) -> int:
    """How many modules a fresh adapter on all layers adapts; the model is left as it was.

    Raises:
        UnsupportedModelError: this architecture can carry no adapter.
    """
    before = Undo(lm)
    try:
        model, _ = _with_fresh_adapter(lm, AdapterConfig(rank=1))
        return sum(isinstance(m, BaseTunerLayer) for m in model.modules())
    finally:
        before.restore()


def _with_fresh_adapter(lm: PreTrainedModel, config: AdapterConfig) -> tuple[PeftModel, int]:
    """The model with a fresh adapter on its top layers, and the lowest of these."""
    total = int(lm.config.get_text_config().num_hidden_layers)
    wanted = total if config.layers == "all" else config.layers
    if not 1 <= wanted <= total:
        raise RecipeError(f"training.adapter.layers is {config.layers}, but the model has {total} layers")
    lora = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]
        target_modules=sorted(_linear_names(lm)),
        layers_to_transform=list(range(total - wanted, total)),
        layers_pattern="layers",
        task_type="CAUSAL_LM",
    )
    try:
        model: Any = get_peft_model(lm, lora)
    except (ValueError, TypeError, RuntimeError, AttributeError) as error:
        raise UnsupportedModelError(
            f"{type(lm).__name__} can carry no adapter, so it can be measured but not trained: {reason(error)}"
        ) from error
    return model, total - wanted


def load_adapter(lm: PreTrainedModel, adapter: Path | str) -> PreTrainedModel:
    """The model with a saved adapter applied, for inference: merged in float32, beside the weights in other types.

    Args:
        lm: the model, changed in place.
        adapter: a folder, or a name on the Hugging Face Hub such as "user/name".

    Raises:
        ModelNotFoundError: no adapter of that name is here or in reach.
        ModelLoadError: the adapter is damaged, is no LoRA, or does not fit this model in full.
    """
    return apply(lm, locate_adapter(adapter).folder)


def _linear_names(lm: PreTrainedModel) -> set[str]:
    layers = decoder_of(lm).layers
    return {name.rsplit(".", 1)[-1] for name, m in layers.named_modules() if isinstance(m, torch.nn.Linear)}
