"""Settings of a training run; part of the recipe."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from steadfast.models.policy import AdapterConfig
from steadfast.training.losses import Advantage, ImportanceLevel, Normalization


class TrainingConfig(BaseModel):
    """How an arm is trained. Defaults are those of the field's small runs; every choice is an option.

    Attributes:
        steps: optimizer steps on fresh rollouts.
        prompts_per_step: prompts a step.
        group_size: completions a prompt.
        max_new_tokens: completion limit.
        temperature: of sampling; log-probabilities of the loss are taken at it too.
        style: an instruction on form, appended to every prompt's system turn.
        learning_rate: peak, reached after `warmup_steps`.
        warmup_steps: of linear warm-up.
        decay: what follows the peak: "constant", or "linear" down to a last step at a tenth of it.
        max_grad_norm: gradient clipping.
        advantage: "grpo" (divided by the group's standard deviation), "centered" (Dr. GRPO) or "rloo".
        normalization: "sequence" (GRPO), "token" (DAPO) or "constant" (Dr. GRPO).
        importance: ratios by "token" or by "sequence" (GSPO).
        clip_low: lower clip.
        clip_high: upper clip; larger than `clip_low` is DAPO's clip-higher.
        kl_coef: penalty toward the adapter-less model (k3).
        updates_per_rollout: optimizer updates on each batch of rollouts.
        adapter: the LoRA adapter.
        save_every: steps between resumable states.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    steps: int = Field(default=100, ge=1, le=1_000_000)
    prompts_per_step: int = Field(default=8, ge=1, le=100_000)
    group_size: int = Field(default=8, ge=2, le=10_000)
    max_new_tokens: int = Field(default=96, ge=2, le=1_000_000)
    temperature: float = Field(default=1.0, gt=0, le=100)
    style: str | None = None
    learning_rate: float = Field(default=2e-4, gt=0, le=10)
    warmup_steps: int = Field(default=3, ge=0, le=1_000_000)
    decay: Literal["constant", "linear"] = "constant"
    max_grad_norm: float = Field(default=1.0, gt=0, le=1e9)
    advantage: Advantage = "grpo"
    normalization: Normalization = "constant"
    importance: ImportanceLevel = "token"
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    clip_high: float = Field(default=0.28, gt=0, le=1e6)
    kl_coef: float = Field(default=0.0, ge=0, le=1e6)
    updates_per_rollout: int = Field(default=1, ge=1, le=1000)
    adapter: AdapterConfig = AdapterConfig()
    save_every: int = Field(default=5, ge=1, le=1_000_000)

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 1."""
        warm = min(1.0, step / (self.warmup_steps + 1))
        if self.decay == "constant":
            return self.learning_rate * warm
        falling = max(0, step - self.warmup_steps - 1) / max(1, self.steps - self.warmup_steps - 1)
        return self.learning_rate * min(warm, 1.0 - 0.9 * falling)
