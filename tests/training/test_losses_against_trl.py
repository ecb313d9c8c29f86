"""The loss equals TRL's GRPOTrainer's on the same batch, through the same model, to 1e-5."""

import pytest
import torch

from steadfast.models.forward import completion_logprobs
from steadfast.models.packing import pack
from steadfast.training.losses import advantages, policy_loss, token_weights
from tests.conftest import make_lm, make_tokenizer

PROMPTS = [[5, 6, 7, 8], [9, 10, 11, 12, 13, 14]]
COMPLETIONS = [[[20, 21, 22, 0], [23, 0], [24, 25, 26]], [[27, 28], [29, 30, 31, 32, 0], [33, 0]]]
REWARDS = [[0.1, 0.9, 0.4], [0.0, 1.0, 1.0]]
LIMIT = 5


@pytest.fixture
def trainer(tmp_path):
    """A GRPOTrainer whose `_compute_loss` is called on our batch, by its documented loss settings."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    def make(*, beta, **settings):
        config = GRPOConfig(
            output_dir=str(tmp_path),
            per_device_train_batch_size=6,
            num_generations=3,
            max_completion_length=LIMIT,
            report_to=[],
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            use_bias_correction_kl=False,  # plain k3, as in GRPO's paper
            **settings,
        )
        made = GRPOTrainer(
            model=make_lm().requires_grad_(True),
            reward_funcs=lambda completions, **_: [0.0] * len(completions),
            args=config,
            train_dataset=Dataset.from_list([{"prompt": "x"}]),
            processing_class=make_tokenizer(),
        )
        made.current_gradient_accumulation_steps = 1
        made.beta = beta  # set afterwards: with a penalty the trainer would look for the reference model on the hub
        made.model.eval()
        return made

    return make


def padded(rows, left):
    width = max(map(len, rows))
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(0, len(row))
        ids[i, place] = torch.tensor(row)
        mask[i, place] = 1
    return ids, mask


def our_loss(lm, old, reference, *, advantage, normalization, importance, kl_coef):
    lengths = [len(c) for group in COMPLETIONS for c in group]
    total, start = torch.zeros(()), 0
    for prompt, group, rewards in zip(PROMPTS, COMPLETIONS, REWARDS, strict=True):
        packed = pack(prompt, group)
        count = sum(packed.lengths)
        result = policy_loss(
            completion_logprobs(lm, packed),
            old[start : start + count],
            advantages(torch.tensor(rewards), advantage),
            packed.lengths,
            token_weights(
                packed.lengths,
                normalization,
                batch_sequences=len(lengths),
                batch_tokens=sum(lengths),
                max_tokens=LIMIT,
            ),
            clip_low=0.2,
            clip_high=0.28,
            importance=importance,
            reference_N=reference[start : start + count] if kl_coef else None,
            kl_coef=kl_coef,
        )
        total = total + result.loss
        start += count
    return total


@pytest.mark.parametrize(
    ("loss_type", "normalization"),
    [("grpo", "sequence"), ("bnpo", "token"), ("dapo", "token"), ("dr_grpo", "constant")],
)
@pytest.mark.parametrize("importance", ["token", "sequence"])
@pytest.mark.parametrize(("scale", "advantage"), [("group", "grpo"), ("none", "centered")])
@pytest.mark.parametrize("kl_coef", [0.0, 0.1])
def test_loss_equals_trls_on_the_same_batch(trainer, loss_type, normalization, importance, scale, advantage, kl_coef):
    made = trainer(
        loss_type=loss_type,
        importance_sampling_level=importance,
        scale_rewards=scale,
        epsilon=0.2,
        epsilon_high=0.28,
        beta=kl_coef,
    )
    flat = [c for group in COMPLETIONS for c in group]
    lengths = [len(c) for c in flat]
    # Old and reference log-probabilities far enough from the policy's that ratios are clipped on both sides.
    torch.manual_seed(1)
    lm = make_lm()
    with torch.no_grad():
        now = torch.cat(
            [
                completion_logprobs(lm, packed)
                for packed in (pack(p, g) for p, g in zip(PROMPTS, COMPLETIONS, strict=True))
            ]
        )
    old, reference = now + 0.4 * torch.randn_like(now), now + 0.3 * torch.randn_like(now)
    prompt_ids, prompt_mask = padded([p for p in PROMPTS for _ in range(3)], left=True)
    completion_ids, completion_mask = padded(flat, left=False)

    def table(values):
        rows = torch.zeros(completion_ids.shape)
        for i, part in enumerate(values.split(lengths)):
            rows[i, : len(part)] = part
        return rows

    ours_advantages = torch.cat([advantages(torch.tensor(r), advantage) for r in REWARDS])
    inputs = {
        "prompt_ids": prompt_ids,
        "prompt_mask": prompt_mask,
        "completion_ids": completion_ids,
        "completion_mask": completion_mask,
        "advantages": ours_advantages,
        "old_per_token_logps": table(old),
        "ref_per_token_logps": table(reference),
        "num_items_in_batch": torch.tensor(sum(lengths)),
    }
    theirs = made._compute_loss(made.model, inputs)
    ours = our_loss(
        lm, old, reference, advantage=advantage, normalization=normalization, importance=importance, kl_coef=kl_coef
    )
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)


def test_group_advantages_equal_trls():
    """TRL divides by the standard deviation plus 1e-4, over the group, with Bessel's correction."""
    rewards = torch.tensor([0.1, 0.9, 0.4])
    theirs = (rewards - rewards.mean()) / (rewards.std() + 1e-4)
    torch.testing.assert_close(advantages(rewards, "grpo"), theirs)
