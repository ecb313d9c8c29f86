"""The loss equals TRL's SFTTrainer's on the same batch of conversations, through the same model, to 1e-5."""

import pytest
import torch

from steadfast.messages import Message
from steadfast.models.policy import AdapterConfig, add_adapter, train_all_weights
from steadfast.training import supervised
from steadfast.training.config import TrainingConfig
from steadfast.training.supervised import Demonstration, encode_demonstration, imitate, supervised_loss
from tests.conftest import make_lm, make_tokenizer

MARKED_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] }}<|end|>{% endgeneration %}"
    "{% else %}{{ m['content'] }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""The template of the tiny model, with the assistant's tokens marked as TRL needs it."""

CONVERSATIONS = [
    [("user", "Is the valve open?"), ("assistant", "It is closed.")],
    [("system", "Be brief."), ("user", "Name a river."), ("assistant", "The Oder.")],
    [
        ("user", "Hello"),
        ("assistant", "Good morning, what can I do for you?"),
        ("user", "Add 2 and 3"),
        ("assistant", "5"),
        ("user", "And 4?"),
        ("assistant", "That makes 9 in all."),
    ],
    [("user", "Say nothing much"), ("assistant", "-")],
]


def conversation(turns):
    return [Message(role=role, content=text) for role, text in turns]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """The loss, the trained tokens and the gradient by weight of TRL, on the batch that its own collator makes."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    tokenizer = make_tokenizer()
    tokenizer.chat_template = MARKED_TEMPLATE
    rows = [{"messages": [{"role": r, "content": t} for r, t in turns]} for turns in CONVERSATIONS]
    trainer = SFTTrainer(
        model=make_lm().requires_grad_(True),
        args=SFTConfig(
            output_dir=str(tmp_path_factory.mktemp("trl")),
            per_device_train_batch_size=len(rows),
            assistant_only_loss=True,
            max_length=None,
            report_to=[],
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    trainer.model.eval()
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(len(rows))])
    trained = [ids[labels != -100].tolist() for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True)]
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    return loss.item(), trained, {n: p.grad for n, p in trainer.model.named_parameters()}


@pytest.fixture
def policy():
    return add_adapter(make_lm(), make_tokenizer(), AdapterConfig(rank=4, alpha=8), seed=0)


@pytest.fixture
def demonstrations():
    return [Demonstration.of_conversation(f"c{i}", conversation(turns)) for i, turns in enumerate(CONVERSATIONS)]


@pytest.mark.parametrize("pass_tokens", [1, 60, 100_000])
def test_the_loss_equals_trls_however_many_conversations_share_a_pass(
    theirs, policy, demonstrations, pass_tokens, monkeypatch
):
    monkeypatch.setattr(supervised, "_PASS_TOKENS", pass_tokens)
    assert supervised_loss(policy, demonstrations) == pytest.approx(theirs[0], abs=1e-5)


def test_the_trained_tokens_are_trls(theirs, policy, demonstrations):
    ours = [
        [t for sequence in encode_demonstration(policy.chat, d) for s in sequence if s.trained for t in s.token_ids]
        for d in demonstrations
    ]
    assert ours == theirs[1]


def test_the_gradient_equals_trls(theirs, policy, demonstrations):
    weights = {n: p for n, p in policy.lm.named_parameters() if n.endswith("layernorm.weight")}
    for weight in weights.values():
        weight.requires_grad_(True)
    optimizer = torch.optim.SGD(policy.trainable(), lr=0.0)
    imitate(policy, optimizer, demonstrations, TrainingConfig(max_grad_norm=1e9))
    assert len(weights) == 2 * 4
    for name, weight in weights.items():
        torch.testing.assert_close(weight.grad, theirs[2][name], atol=1e-5, rtol=1e-4)


def test_with_all_weights_trained_the_loss_and_every_gradient_equal_trls(theirs, demonstrations):
    policy = train_all_weights(make_lm(), make_tokenizer())
    optimizer = torch.optim.SGD(policy.trainable(), lr=0.0)
    found = imitate(policy, optimizer, demonstrations, TrainingConfig(max_grad_norm=1e9))
    assert found["loss"] == pytest.approx(theirs[0], abs=1e-5)
    gradients = {n: p.grad for n, p in policy.lm.named_parameters()}
    assert gradients.keys() == theirs[2].keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, theirs[2][name], atol=1e-5, rtol=1e-4)
