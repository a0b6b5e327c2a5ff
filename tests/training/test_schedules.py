"""Schedules against their formulas, and torch's and transformers' schedulers."""

import math

import pytest
import torch
import transformers

from textmill.training.config import TrainingConfig
from textmill.training.schedules import curve, multiplier, progress


def test_cosine_equals_nanogpt_formula() -> None:
    config = TrainingConfig(steps=100, warmup_steps=10, schedule="cosine", final_fraction=0.1)
    for step in range(100):
        if step < 10:
            expected = (step + 1) / 10
        else:
            expected = 0.1 + 0.5 * (1 + math.cos(math.pi * (step - 10) / 90)) * 0.9
        assert multiplier(config, step) == pytest.approx(expected)


def test_cosine_equals_torch() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=0.2)
    config = TrainingConfig(steps=50, warmup_steps=0, schedule="cosine", final_fraction=0.2)
    for step in range(50):
        assert multiplier(config, step) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()


def test_warmup_stable_decay() -> None:
    config = TrainingConfig(steps=110, warmup_steps=10, schedule="wsd", final_fraction=0.0, decay_fraction=0.2)
    for step in range(110):
        if step < 10:
            expected = (step + 1) / 10
        elif step <= 90:
            expected = 1.0
        else:
            expected = (110 - step) / 20
        assert multiplier(config, step) == pytest.approx(expected)


def test_constant() -> None:
    config = TrainingConfig(steps=20, warmup_steps=4, schedule="constant")
    assert [multiplier(config, step) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_linear_equals_transformers() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = transformers.get_linear_schedule_with_warmup(optimizer, num_warmup_steps=0, num_training_steps=40)
    config = TrainingConfig(steps=40, warmup_steps=0, schedule="linear", final_fraction=0.0)
    for step in range(40):
        assert multiplier(config, step) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()


def test_inverse_square_root_is_the_transformers_papers() -> None:
    """Its equation 3, d^-0.5 min(s^-0.5, s W^-1.5) with s from 1, over its highest value at s = W."""
    config = TrainingConfig(steps=None, minutes=1.0, warmup_steps=40, schedule="inverse_sqrt")
    for step in range(1000):
        s = step + 1
        expected = min(s**-0.5, s * 40**-1.5) / 40**-0.5
        # the clock has no say in it
        assert multiplier(config, step, elapsed_seconds=float(step)) == pytest.approx(expected)
    cold = TrainingConfig(warmup_steps=0, schedule="inverse_sqrt")
    assert [multiplier(cold, step) for step in (0, 3, 99)] == pytest.approx([1.0, 0.5, 0.1])


@pytest.mark.parametrize("schedule", ["cosine", "linear", "wsd", "constant"])
def test_from_one_to_the_final_fraction_without_rising(schedule: str) -> None:
    config = TrainingConfig(schedule=schedule, final_fraction=0.3)  # type: ignore[arg-type]
    values = [curve(config, done / 50) for done in range(51)]
    assert values[0] == 1.0
    assert values[-1] == pytest.approx(1.0 if schedule == "constant" else 0.3)
    assert values == sorted(values, reverse=True)


def test_no_decay_phase_drops_at_the_end() -> None:
    config = TrainingConfig(schedule="wsd", decay_fraction=0.0, final_fraction=0.1)
    assert curve(config, 0.999) == 1.0
    assert curve(config, 1.0) == pytest.approx(0.1)


def test_the_clock_alone_drives_the_schedule() -> None:
    config = TrainingConfig(steps=None, minutes=2.0, warmup_steps=0)
    assert [progress(config, 10**6, seconds) for seconds in (0.0, 60.0, 120.0, 500.0)] == [0.0, 0.5, 1.0, 1.0]


def test_whichever_is_further_on() -> None:
    config = TrainingConfig(steps=100, minutes=1.0, warmup_steps=0)
    assert progress(config, 80, 6.0) == pytest.approx(0.8)
    assert progress(config, 8, 36.0) == pytest.approx(0.6)
