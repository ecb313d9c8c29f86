import itertools

import pytest

from steadfast.training import TrainingConfig


@pytest.mark.parametrize("decay", ["constant", "linear"])
def test_the_learning_rate_warms_up_to_its_peak(decay):
    config = TrainingConfig(steps=20, learning_rate=1e-3, warmup_steps=3, decay=decay)
    rates = [config.learning_rate_at(step) for step in range(1, 5)]
    assert rates == pytest.approx([2.5e-4, 5e-4, 7.5e-4, 1e-3])


def test_linear_decay_ends_at_a_tenth_and_a_constant_rate_stays():
    linear = TrainingConfig(steps=21, learning_rate=1e-3, warmup_steps=0, decay="linear")
    rates = [linear.learning_rate_at(step) for step in range(1, 22)]
    assert rates[0] == pytest.approx(1e-3)
    assert rates[-1] == pytest.approx(1e-4)
    gaps = [a - b for a, b in itertools.pairwise(rates)]
    assert gaps == pytest.approx([4.5e-5] * 20)
    constant = TrainingConfig(steps=21, learning_rate=1e-3, warmup_steps=0)
    assert {constant.learning_rate_at(step) for step in range(1, 22)} == {1e-3}


def test_a_run_of_one_step_trains_at_a_positive_rate():
    for warmup in (0, 5):
        config = TrainingConfig(steps=1, learning_rate=1e-3, warmup_steps=warmup, decay="linear")
        assert config.learning_rate_at(1) > 0


def test_a_warm_start_has_its_own_steps_and_rate_and_shares_all_else():
    config = TrainingConfig(steps=50, learning_rate=1e-3, decay="linear", warm_start={"steps": 5})
    warm = config.of_warm_start()
    assert (warm.steps, warm.learning_rate, warm.decay) == (5, 1e-3, "linear")
    assert TrainingConfig(warm_start={"steps": 5, "learning_rate": 2e-5}).of_warm_start().learning_rate == 2e-5
    with pytest.raises(ValueError, match="no warm start"):
        TrainingConfig().of_warm_start()
