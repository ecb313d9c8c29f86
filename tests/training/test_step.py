"""One step of training: what counts, what is left out, and episodes of several turns."""

from dataclasses import replace

import pytest
import torch

from steadfast.errors import TrainingError
from steadfast.graders import Grade
from steadfast.rollouts import Segment
from steadfast.training import policy_update, step
from steadfast.training.groups import GradedGroup, RolloutGroup
from steadfast.training.policy_update import measure_kl, update
from steadfast.training.step import grade, roll_out, train_step
from tests.scripted import script
from tests.tasks.environments import disk
from tests.training.examples import (
    CONFIG,
    ConstantJudge,
    DeadJudge,
    EveryOther,
    LetterJudge,
    acting,
    policy_for,
    scheduled,
    task,
)

SINGLE = CONFIG.model_copy(update={"kl_coef": 0.0})


def optimizer_of(policy, rate=1e-2):
    return torch.optim.AdamW(policy.trainable(), lr=rate, weight_decay=0.0)


def weights(policy):
    return [p.detach().clone() for p in policy.trainable()]


def changed(policy, before):
    return any(not torch.equal(a, b) for a, b in zip(policy.trainable(), before, strict=True))


def test_a_step_changes_the_adapter_and_returns_every_rollout_with_its_grade():
    policy = policy_for()
    before = weights(policy)
    graded, metrics = train_step(policy, optimizer_of(policy), [scheduled(task())], LetterJudge(), SINGLE, seed=1)
    assert changed(policy, before)
    (group,) = graded
    assert len(group.group.rollouts) == len(group.grades) == SINGLE.group_size
    assert metrics["reward/trait"] == pytest.approx(sum(group.rewards) / len(group.rewards))
    assert metrics["tokens"] == sum(len(r.segments[1].token_ids) for r in group.group.rollouts)


def test_the_same_seed_gives_the_same_step():
    def once():
        policy = policy_for()
        train_step(policy, optimizer_of(policy), [scheduled(task())], LetterJudge(), SINGLE, seed=3)
        return weights(policy)

    assert all(torch.equal(a, b) for a, b in zip(once(), once(), strict=True))


def test_a_group_of_equal_rewards_is_dead_and_takes_no_update():
    policy = policy_for()
    before = weights(policy)
    _, metrics = train_step(policy, optimizer_of(policy), [scheduled(task())], ConstantJudge(), SINGLE, seed=1)
    assert (metrics["dead_group_share"], metrics["grad_norm"], metrics["loss"]) == (1.0, 0.0, 0.0)
    assert metrics["trained_tokens"] == 0 < metrics["tokens"]
    assert not changed(policy, before)


def test_a_dead_group_beside_a_live_one_counts_in_the_denominator_and_changes_nothing_else():
    policy = policy_for()
    both = [scheduled(task("live")), scheduled(task("dead", "why"))]

    class Half(LetterJudge):
        def one(self, answer):
            return super().one(answer) if answer.task.id == "live" else Grade(0.5, (), self.name, "p")

    graded, metrics = train_step(policy, optimizer_of(policy), both, Half(), SINGLE, seed=1)
    assert metrics["dead_group_share"] == 0.5
    assert [g.group.scheduled.task.id for g in graded] == ["live", "dead"]
    assert metrics["trained_tokens"] == sum(len(r.segments[1].token_ids) for r in graded[0].group.rollouts)


def gradient(policy, groups, config=SINGLE):
    """The gradient of one batch, without a step."""
    optimizer = torch.optim.SGD(policy.trainable(), lr=0.0)
    update(policy, optimizer, groups, config.model_copy(update={"max_grad_norm": 1e6}))
    return [p.grad.clone() for p in policy.trainable()]


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_on_two_threads_the_gradient_is_the_same_bit_for_bit_each_time():
    # The completions are many and long enough that torch spreads the sum over them on its threads.
    config = SINGLE.model_copy(update={"group_size": 32, "max_new_tokens": 48})
    policy = policy_for()
    groups = grade(roll_out(policy, [scheduled(task())], config, seed=1), LetterJudge())
    first = gradient(policy, groups, config)
    for _ in range(30):
        assert all(torch.equal(a, b) for a, b in zip(gradient(policy, groups, config), first, strict=True))


@pytest.mark.parametrize("normalization", ["sequence", "token", "constant"])
def test_ungraded_rollouts_are_left_out_as_if_they_had_never_been_sampled(normalization):
    config = SINGLE.model_copy(update={"normalization": normalization})
    policy = policy_for()
    groups = grade(roll_out(policy, [scheduled(task())], config, seed=1), EveryOther())
    (with_gaps,) = groups
    kept = [0, 2]
    assert with_gaps.graded == kept
    shorter = RolloutGroup(
        with_gaps.group.scheduled,
        [with_gaps.group.rollouts[i] for i in kept],
        [with_gaps.group.hidden[i] for i in kept],
    )
    without = GradedGroup(shorter, [with_gaps.grades[i] for i in kept])
    for ours, theirs in zip(gradient(policy, groups, config), gradient(policy, [without], config), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_hidden_states_that_are_kept_are_those_of_the_rollouts_that_are_kept():
    policy = policy_for()
    groups = grade(roll_out(policy, [scheduled(task())], SINGLE, seed=1), EveryOther())
    assert groups[0].group.hidden is not None
    short = gradient(policy, groups)
    policy.first_adapted_layer = 0
    whole = [GradedGroup(RolloutGroup(g.group.scheduled, g.group.rollouts), g.grades) for g in groups]
    for ours, theirs in zip(short, gradient(policy, whole), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-3)


def test_ungraded_rollouts_are_counted_and_pull_no_mean_down():
    policy = policy_for()
    graded, metrics = train_step(policy, optimizer_of(policy), [scheduled(task())], EveryOther(), SINGLE, seed=1)
    assert metrics["ungraded"] == 2
    assert metrics["reward/trait"] == pytest.approx(sum(graded[0].rewards) / 2)


def test_a_pool_without_any_grade_is_an_error_even_beside_one_with_grades():
    policy = policy_for()
    before = weights(policy)

    class DeadForOne(LetterJudge):
        def one(self, answer):
            return DeadJudge().one(answer) if answer.task.id == "a" else super().one(answer)

    both = [scheduled(task("a"), "trait"), scheduled(task("b"), "standard")]
    with pytest.raises(TrainingError, match="none of the 4 rollouts of the trait pool could be graded: the provider"):
        train_step(policy, optimizer_of(policy), both, DeadForOne(), SINGLE, seed=1)
    assert not changed(policy, before)


def test_a_policy_whose_weights_are_not_finite_is_stopped_before_any_update():
    policy = policy_for()
    with torch.no_grad():
        policy.trainable()[1].fill_(float("nan"))
    with pytest.raises(TrainingError, match="is not finite"):
        train_step(policy, optimizer_of(policy), [scheduled(task())], LetterJudge(), SINGLE, seed=1)


def test_a_loss_that_is_not_finite_is_an_error_before_any_weight_is_touched(monkeypatch):
    policy = policy_for()
    before = weights(policy)
    loss = policy_update.policy_loss

    def spoiled(*args, **kwargs):
        result = loss(*args, **kwargs)
        return type(result)(result.loss * float("nan"), result.clipped_tokens)

    monkeypatch.setattr(policy_update, "policy_loss", spoiled)
    with pytest.raises(TrainingError, match="a loss is not finite"):
        train_step(policy, optimizer_of(policy), [scheduled(task())], LetterJudge(), SINGLE, seed=1)
    assert not changed(policy, before)


# Episodes of several turns.

LOOK, ARCHIVE = '{"tool": "list_folders"}', '{"tool": "archive", "folder": "contracts"}'
EPISODES = SINGLE.model_copy(update={"max_new_tokens": 60})


def play(prompt, number):
    """Look, then archive in every other episode, then stop."""
    if prompt.count("Result of list_folders") < 2:
        return LOOK
    return "Done." if "Moved." in prompt or number % 2 else ARCHIVE


def test_an_episode_in_a_training_batch_is_trained_turn_by_turn(monkeypatch):
    script(monkeypatch, play)
    policy = policy_for()
    before = weights(policy)
    graded, metrics = train_step(
        policy, optimizer_of(policy), [acting(), scheduled(task())], LetterJudge(), EPISODES, seed=1
    )
    episodes, single = graded
    assert episodes.group.scheduled.task.environment is not None
    assert sorted(set(episodes.rewards)) == [0.0, 1.0]
    assert single.group.scheduled.task.id == "t"
    assert metrics["kl"] == pytest.approx(0, abs=1e-5), "the packed episode has the log-probabilities of its sampling"
    assert changed(policy, before)


def test_the_packed_episode_has_the_log_probabilities_that_it_was_sampled_with(monkeypatch):
    script(monkeypatch, play)
    policy = policy_for()
    groups = grade(roll_out(policy, [acting()], EPISODES, seed=1), LetterJudge())
    made = pass_of(groups[0])
    now = made.logprobs(policy, EPISODES.temperature)
    torch.testing.assert_close(now, made.old_N, atol=1e-4, rtol=1e-4)
    assert measure_kl(policy, groups, EPISODES) == pytest.approx(0, abs=1e-5)


def test_tool_results_and_prompts_are_never_trained_on(monkeypatch):
    script(monkeypatch, play)
    policy = policy_for()
    groups = grade(roll_out(policy, [acting()], EPISODES, seed=1), LetterJudge())
    trained = policy.tokenizer.decode(pass_of(groups[0]).packed.target_N)
    assert "list_folders" in trained
    assert "contracts 1.4 GB" not in trained
    assert disk().task not in trained


def two_groups(policy, config):
    both = [scheduled(task("one")), scheduled(task("two", "hello there"))]
    return grade(roll_out(policy, both, config, seed=1), LetterJudge())


def test_groups_that_share_a_pass_have_the_gradient_and_the_kl_that_they_have_apart(monkeypatch):
    config = CONFIG.model_copy(update={"kl_coef": 0.1})
    policy = policy_for()
    with torch.no_grad():
        for weight in policy.trainable():
            weight.normal_(std=0.05, generator=torch.Generator().manual_seed(2))
    groups = two_groups(policy, config)
    assert [len(one) for one in policy_update._together(groups)] == [2]
    together = gradient(policy, groups, config)
    kl = update(policy, torch.optim.SGD(policy.trainable(), lr=0.0), groups, config)["kl"]
    assert kl == pytest.approx(measure_kl(policy, groups, config), rel=1e-4)
    assert kl > 1e-4
    monkeypatch.setattr(policy_update, "_PASS_TOKENS", 1)
    assert [len(one) for one in policy_update._together(groups)] == [1, 1]
    for ours, theirs in zip(together, gradient(policy, groups, config), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)


def test_the_penaltys_reference_costs_no_second_pass_for_the_logged_kl(monkeypatch):
    policy = policy_for()
    groups = two_groups(policy, CONFIG)
    passes = []
    reference = policy_update._Pass.reference
    monkeypatch.setattr(policy_update._Pass, "reference", lambda *a: passes.append(1) or reference(*a))
    update(policy, optimizer_of(policy), groups, CONFIG.model_copy(update={"kl_coef": 0.1}))
    assert passes == [1]


def pass_of(group):
    """The pass of a group's rollouts."""
    return policy_update._pass([(group, group.graded)])


COUNTING = (
    "{{ messages|length }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""A template that writes earlier turns anew: the first token of the conversation changes with every turn."""


def played_with_spaces(prompt, number):
    return f"{play(prompt, number)}  "


@pytest.mark.parametrize(("say", "template"), [(play, COUNTING), (played_with_spaces, None)])
def test_each_reply_is_trained_on_the_tokens_that_it_was_given_to_where_they_do_not_read_on(monkeypatch, say, template):
    """As where thoughts of earlier turns are left out, or a reply's text has other tokens than were sampled."""
    script(monkeypatch, say)
    policy = policy_for()
    if template:
        policy.tokenizer.chat_template = template
    before = weights(policy)
    groups = grade(roll_out(policy, [acting()], EPISODES, seed=1), LetterJudge())
    assert all(len(policy_update._sequences(r)) == len(r.replies) for r in groups[0].group.rollouts)
    made = pass_of(groups[0])
    torch.testing.assert_close(made.logprobs(policy, EPISODES.temperature), made.old_N, atol=1e-4, rtol=1e-4)
    assert sorted(set(groups[0].rewards)) == [0.0, 1.0]
    metrics = update(policy, optimizer_of(policy), groups, EPISODES)
    assert metrics["grad_norm"] > 0
    assert changed(policy, before)


@pytest.mark.parametrize("normalization", ["sequence", "token", "constant"])
@pytest.mark.parametrize("importance", ["token", "sequence"])
def test_an_episode_weighs_the_same_whether_its_tokens_read_on_or_not(monkeypatch, normalization, importance):
    """Split into sequences, the loss of a rollout is still that of one rollout: same tokens, same weights."""
    config = EPISODES.model_copy(update={"normalization": normalization, "importance": importance})
    script(monkeypatch, play)
    policy = policy_for()
    (whole,) = grade(roll_out(policy, [acting()], config, seed=1), LetterJudge())
    split = GradedGroup(RolloutGroup(whole.group.scheduled, [apart(r) for r in whole.group.rollouts]), whole.grades)
    assert len(policy_update._sequences(split.group.rollouts[0])) > 1
    for ours, theirs in zip(gradient(policy, [whole], config), gradient(policy, [split], config), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-3)


def apart(rollout):
    """The same rollout, each of its replies after a prompt of its own with the tokens so far."""
    segments, seen = [], ()
    for segment in rollout.segments:
        if segment.role == "tool":
            segments.append(replace(segment, token_ids=()))
            segments.append(Segment("prompt", "", token_ids=(*seen, *segment.token_ids)))
        else:
            segments.append(segment)
        seen = (*seen, *segment.token_ids)
    return replace(rollout, segments=tuple(segments))


def graded_twins(one, other):
    """Two groups of twins with these rewards."""
    tasks = [task("x-a"), task("x-b")]
    tasks = [t.model_copy(update={"pair": p}) for t, p in zip(tasks, ("x-b", "x-a"), strict=True)]
    return [
        GradedGroup(RolloutGroup(scheduled(t), []), [Grade(r, (), "j", "p") for r in rewards])
        for t, rewards in zip(tasks, (one, other), strict=True)
    ]


def test_a_reward_counts_as_much_as_the_twins_allows():
    one, other = step.with_learned_rewards(graded_twins([1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]), 0.8)
    assert one.learned_rewards == pytest.approx([0.4, 0.0, 0.4, 0.0])
    assert other.learned_rewards == pytest.approx([0.0, 0.0, 0.0, 0.6])
    assert one.rewards == [1.0, 0.0, 1.0, 0.0]


def test_at_full_coupling_the_mean_learned_reward_is_pair_success():
    rewards = ([1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0])
    one, other = step.with_learned_rewards(graded_twins(*rewards), 1.0)
    assert sum(one.learned_rewards) / 4 == pytest.approx(0.5 * 0.25)
    assert sum(other.learned_rewards) / 4 == pytest.approx(0.5 * 0.25)


def test_without_its_twin_a_group_keeps_its_scores():
    alone, _ = graded_twins([1.0, 0.0], [1.0, 1.0])
    assert step.with_learned_rewards([alone], 0.9)[0].learned_rewards == [1.0, 0.0]


def test_shuffled_rewards_are_a_permutation_within_the_group():
    groups = graded_twins([1.0, 0.0, 0.5, 0.25, 0.75], [1.0, 0.0, 0.0, 0.0, 0.0])
    shuffled = step.with_learned_rewards(groups, 0.0, shuffle_seed=3)
    for before, after in zip(groups, shuffled, strict=True):
        assert sorted(after.learned_rewards) == sorted(before.rewards)
        assert before.rewards == [g.score for g in before.grades]
    assert any(b.rewards != a.learned_rewards for b, a in zip(groups, shuffled, strict=True))
