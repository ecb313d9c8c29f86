"""A policy is a causal LM that is trained: an adapter upon it, which PEFT makes and saves, or all of its weights."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from steadfast.errors import ModelLoadError, RecipeError, UnsupportedModelError
from steadfast.messages import Message
from steadfast.models.adapters import Undo, read_adapter
from steadfast.models.all_weights import save_weights, shapes
from steadfast.models.boundary import reason
from steadfast.models.chat import ChatTemplate, template_of
from steadfast.models.forward import can_start_at, decoder_of
from steadfast.models.prepack import prepack_frozen_linears


class AdapterConfig(BaseModel):
    """This is the LoRA adapter that is trained.

    Attributes:
        rank: The rank of the low-rank update.
        alpha: The update is scaled by alpha / rank.
        layers: How many of the top decoder layers carry the adapter, or "all". If only the top layers carry it,
            training uses what the layers below computed during the rollout, which saves most of the training pass.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=32.0, gt=0)
    layers: Annotated[int, Field(ge=1)] | Literal["all"] = "all"


class Policy(ABC):
    """A policy is a model whose weights are trained, or whose adapter is.

    Attributes:
        lm: The causal LM itself, with what is trained inside it.
        tokenizer: The tokenizer, which has a chat template.
        first_adapted_layer: The first layer in which anything is trained; those below it are frozen and the same for
            all policies of the run.
        release: A function that takes off what was trained; the model is then what it was before, bit for bit.
        folder: The name of the folder that what was trained is saved in.
    """

    folder: ClassVar[str]

    def __init__(
        self,
        lm: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        first_adapted_layer: int,
        release: Callable[[], None],
    ) -> None:
        self.lm, self.tokenizer = lm, tokenizer
        self.first_adapted_layer, self.release = first_adapted_layer, release

    @abstractmethod
    def trainable(self) -> list[torch.nn.Parameter]:
        """The parameters that are trained."""

    @abstractmethod
    def untrained(self) -> AbstractContextManager[None]:
        """Within this context the model computes as it did before training."""

    @abstractmethod
    def weights(self) -> dict[str, Tensor]:
        """What is trained, by name, as `load` takes it."""

    @abstractmethod
    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Put weights in the place of those that are trained; their names and shapes must be those of `weights`."""

    @abstractmethod
    def save(self, directory: Path) -> None:
        """Write what was trained into a folder."""

    @property
    def chat(self) -> ChatTemplate:
        """The model's chat template, which renders its conversations."""
        return template_of(self.tokenizer)

    @property
    def eos_token_ids(self) -> list[int]:
        """The ids of the tokens that end the model's turn."""
        return eos_token_ids(self.lm, self.tokenizer)

    def encode(self, messages: Sequence[Message], style: str | None = None, *, max_new_tokens: int = 0) -> list[int]:
        """Return the token ids of a conversation up to the model's turn.

        Raises:
            ChatTemplateError: The conversation cannot be rendered rightly, or exceeds the model's context with an
                answer of `max_new_tokens`.
        """
        return self.chat.encode(messages, style, max_new_tokens=max_new_tokens)


class AdapterPolicy(Policy):
    """A policy whose adapter is trained.

    Attributes:
        model: The PEFT model.
    """

    folder = "adapter"

    def __init__(
        self,
        model: PeftModel,
        tokenizer: PreTrainedTokenizerBase,
        first_adapted_layer: int,
        release: Callable[[], None],
    ) -> None:
        lm: Any = model.get_base_model()
        super().__init__(lm, tokenizer, first_adapted_layer, release)
        self.model = model

    def trainable(self) -> list[torch.nn.Parameter]:
        """The adapter's parameters."""
        return [p for p in self.model.parameters() if p.requires_grad]

    @contextmanager
    def untrained(self) -> Generator[None]:
        """Within this context the adapter does nothing."""
        with self.model.disable_adapter():
            yield

    def weights(self) -> dict[str, Tensor]:
        """The adapter's tensors by their names in PEFT's files."""
        return get_peft_model_state_dict(self.model)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Put tensors in the place of the adapter's."""
        set_peft_model_state_dict(self.model, dict(weights))

    def start_from(self, directory: Path) -> None:
        """Take the weights of a saved adapter for a beginning, in the place of the fresh ones.

        Raises:
            ModelLoadError: The adapter is damaged, or of another shape than this policy's.
        """
        saved = read_adapter(directory).tensors
        if shapes(saved) != shapes(self.weights()):
            raise ModelLoadError(
                f"the adapter in {directory} has other layers or another rank than the one that is to go on from it: "
                "delete its folder and run the same command again, which trains it anew"
            )
        self.load(saved)

    def save(self, directory: Path) -> None:
        """Write the adapter in PEFT's format; any PEFT user can load it."""
        self.model.save_pretrained(str(directory))


class FullPolicy(Policy):
    """A policy all of whose weights are trained.

    Args:
        lm: The model, whose parameters are copies that may change.
        tokenizer: The tokenizer.
        before: The data of each parameter as it was before training, by name.
        release: A function that brings the model back.
    """

    folder = "weights"

    def __init__(
        self,
        lm: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        before: Mapping[str, Tensor],
        release: Callable[[], None],
    ) -> None:
        super().__init__(lm, tokenizer, 0, release)
        self._before = before

    def trainable(self) -> list[torch.nn.Parameter]:
        """All parameters of the model; one that two modules share stands once."""
        return list(self.lm.parameters())

    @contextmanager
    def untrained(self) -> Generator[None]:
        """Within this context the parameters are those from before training."""
        trained = self.weights()
        try:
            for name, parameter in self.lm.named_parameters():
                parameter.data = self._before[name]
            yield
        finally:
            for name, parameter in self.lm.named_parameters():
                parameter.data = trained[name]

    def weights(self) -> dict[str, Tensor]:
        """All parameters by name."""
        return {name: p.data for name, p in self.lm.named_parameters()}

    @torch.no_grad()
    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Put numbers in the place of the parameters'."""
        for name, parameter in self.lm.named_parameters():
            parameter.copy_(weights[name])

    def save(self, directory: Path) -> None:
        """Write all weights into one file, which `LoadedModel.with_saved` reads."""
        save_weights(self.weights(), directory)


def eos_token_ids(lm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the tokens that end the model's turn: the one its chat template writes, and those its config names.

    A model without a chat template ends its texts with the tokens of its generation config and its tokenizer.

    Raises:
        ChatTemplateError: The template writes no end-of-turn token, or one that the model cannot emit.
    """
    configured: Any = getattr(lm.generation_config, "eos_token_id", None)
    named = configured if isinstance(configured, list) else [configured]
    if tokenizer.chat_template is not None:
        return template_of(tokenizer).end_tokens(named)
    return sorted({i for i in (*named, tokenizer.eos_token_id) if isinstance(i, int)})


def add_adapter(
    lm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, config: AdapterConfig, *, seed: int
) -> AdapterPolicy:
    """Put a fresh adapter, which changes nothing yet, on every linear layer of the chosen decoder layers.

    Raises:
        RecipeError: More layers are asked for than the model has.
        UnsupportedModelError: This architecture can carry no adapter.
        RuntimeError: The model carries an adapter already.
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
    return AdapterPolicy(model, tokenizer, first, before.restore)


def train_all_weights(lm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> FullPolicy:
    """Make a policy of which every weight is trained; an adapter that is merged into the weights is part of them.

    The model takes five times its memory while it is trained: its weights before and now, their gradients, and the
    optimizer's two moments.

    Raises:
        UnsupportedModelError: The weights are of a type in which small updates are rounded away.
        RuntimeError: The model carries an adapter, which is to be merged or released first.
    """
    if any(isinstance(m, BaseTunerLayer) for m in lm.modules()):
        raise RuntimeError("this model carries an adapter: merge or release it before all weights are trained")
    if lm.dtype not in (torch.float32, torch.float64):
        raise UnsupportedModelError(
            f"all weights can be trained in float32 alone, and this model is in {lm.dtype}, which rounds small updates "
            "away; load it in float32 or train an adapter"
        )
    undo = Undo(lm)
    before = {name: p.data for name, p in lm.named_parameters()}
    undo.detach_weights(list(lm.modules()))
    lm.requires_grad_(True)
    return FullPolicy(lm, tokenizer, before, undo.restore)


def check_trainable(lm: PreTrainedModel) -> int:
    """Return how many modules a fresh adapter on all layers adapts; the model is left as it was.

    Raises:
        UnsupportedModelError: This architecture can carry no adapter.
    """
    before = Undo(lm)
    try:
        model, _ = _with_fresh_adapter(lm, AdapterConfig(rank=1))
        return sum(isinstance(m, BaseTunerLayer) for m in model.modules())
    finally:
        before.restore()


def _with_fresh_adapter(lm: PreTrainedModel, config: AdapterConfig) -> tuple[PeftModel, int]:
    """Return the model with a fresh adapter on its top layers, and the lowest of these layers."""
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


def _linear_names(lm: PreTrainedModel) -> set[str]:
    layers = decoder_of(lm).layers
    return {name.rsplit(".", 1)[-1] for name, m in layers.named_modules() if isinstance(m, torch.nn.Linear)}
