"""The settings of a training run are a part of the recipe."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from steadfast.models.policy import AdapterConfig
from steadfast.training.losses import Advantage, ImportanceLevel, Normalization


class WarmStart(BaseModel):
    """A short supervised phase before an arm's own training, for models that never hit one side of the twins.

    It imitates the correct answers to the leading arm's tasks, and is the same for every arm of a seed, the baseline
    among them: it is trained once, and every arm goes on from its adapter. It should teach how an answer looks and
    little more, so it is kept short: what it teaches it teaches to every arm, and no comparison between arms shows it.
    It is measured as a checkpoint of its own, and an arm's gain is read against that.

    Attributes:
        steps: The number of its steps, of `prompts_per_step` prompts each.
        learning_rate: The peak of its learning rate; None takes the one of the training that follows.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    steps: int = Field(ge=1, le=1_000_000)
    learning_rate: float | None = Field(default=None, gt=0, le=10)


class TrainingConfig(BaseModel):
    """These settings decide how an arm is trained; the defaults are those of the field's small runs.

    Attributes:
        steps: The number of optimizer steps on fresh rollouts.
        prompts_per_step: The number of prompts in a step.
        group_size: The number of completions that are sampled for each prompt.
        max_new_tokens: The limit of a completion in tokens. Judges that ship reward a completion that it cuts off with
            0, below what nonsense earns, so training also teaches to stop; an evaluation counts such an answer as the
            best constant answer, and shows truncation and length beside it.
        temperature: The temperature of the sampling; the loss takes its log-probabilities at it too.
        style: An instruction on form, which is appended to every prompt's system turn.
        learning_rate: The peak of the learning rate, which is reached after `warmup_steps`.
        warmup_steps: The number of steps of linear warm-up.
        decay: What follows the peak: "constant" stays there, and "linear" falls to a tenth of it at the last step.
        max_grad_norm: The norm to which gradients are clipped.
        advantage: How rewards become advantages: "grpo" divides by the group's standard deviation, "centered" (Dr.
            GRPO) only subtracts the mean, and "rloo" subtracts the mean of the others.
        normalization: How the loss is averaged: by "sequence" (GRPO), by "token" (DAPO), or by a "constant" (Dr. GRPO).
        importance: Whether importance ratios are taken by "token" (GRPO) or by "sequence" (GSPO).
        clip_low: How far below one a ratio may fall before it is clipped.
        clip_high: How far above one a ratio may rise before it is clipped; a value above `clip_low` is DAPO's
            clip-higher.
        pair_coupling: How much of a twin's reward depends on its twin's, from 0 to 1: a reward r counts as
            r * (1 - c + c * m), where m is the mean reward of the twin's group. At 1 the gradient is pair success's.
        kl_coef: The weight of the penalty (k3) that pulls the policy toward the model without its adapter.
        updates_per_rollout: The number of optimizer updates on each batch of rollouts.
        adapter: The LoRA adapter that is trained.
        warm_start: The supervised phase that every arm begins with; None for none. Whether or not there is one, the
            KL penalty pulls toward the model without its adapter, and the KL is measured from there.
        save_every: The number of steps between resumable states.
        keep: The steps after which the adapter is kept as it is then, beside the last one.
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
    pair_coupling: float = Field(default=0.9, ge=0, le=1)
    kl_coef: float = Field(default=0.0, ge=0, le=1e6)
    updates_per_rollout: int = Field(default=1, ge=1, le=1000)
    adapter: AdapterConfig = AdapterConfig()
    warm_start: WarmStart | None = None
    save_every: int = Field(default=5, ge=1, le=1_000_000)
    keep: tuple[Annotated[int, Field(ge=1)], ...] = ()

    @model_validator(mode="after")
    def _keeps_its_own_steps(self) -> Self:
        if beyond := [k for k in self.keep if k > self.steps]:
            raise ValueError(f"keep: step {beyond[0]} lies beyond the {self.steps} steps of the training")
        return self

    def of_warm_start(self) -> "TrainingConfig":
        """Return the settings of the warm start: these, with its own number of steps and its own learning rate.

        Raises:
            ValueError: There is no warm start.
        """
        if self.warm_start is None:
            raise ValueError("these settings have no warm start")
        rate = self.warm_start.learning_rate or self.learning_rate
        return self.model_copy(update={"steps": self.warm_start.steps, "learning_rate": rate, "keep": ()})

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 1."""
        warm = min(1.0, step / (self.warmup_steps + 1))
        if self.decay == "constant":
            return self.learning_rate * warm
        falling = max(0, step - self.warmup_steps - 1) / max(1, self.steps - self.warmup_steps - 1)
        return self.learning_rate * min(warm, 1.0 - 0.9 * falling)
