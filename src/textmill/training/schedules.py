"""The learning rate over a run, as a multiple of its highest value.

multiplier(step) = warm-up(step) * curve(progress), where progress runs from 0 at the end of the warm-up to 1 at the end
of the run, by steps or by the clock, whichever is further on. A run that the clock stops ends with its rate run down.
The inverse square root, which falls from the end of the warm-up on for ever, looks at steps alone.

Sources: linear, Devlin et al. 2019, arXiv:1810.04805, appendix A.2; cosine, Loshchilov and Hutter 2017,
arXiv:1608.03983; inverse square root, Vaswani et al. 2017, arXiv:1706.03762, equation 3; warm-up, stable, decay (wsd),
Hu et al. 2024, arXiv:2404.06395, section 4; the clock as the budget, Geiping and Goldstein 2022, arXiv:2212.14034.
"""

import math

from textmill.training.config import TrainingConfig


def progress(config: TrainingConfig, step: int, elapsed_seconds: float) -> float:
    """How much of the run after its warm-up is done, from 0 to 1.

    >>> config = TrainingConfig(steps=110, warmup_steps=10, minutes=1.0)
    >>> progress(config, 60, 0.0), progress(config, 60, 45.0), progress(config, 5, 0.0)
    (0.5, 0.75, 0.0)
    """
    by_steps = by_clock = 0.0
    if config.steps is not None:
        by_steps = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    if config.minutes is not None:
        by_clock = elapsed_seconds / (60 * config.minutes)
    return min(1.0, max(0.0, by_steps, by_clock))


def multiplier(config: TrainingConfig, step: int, elapsed_seconds: float = 0.0) -> float:
    """The factor on every learning rate at this step, counted from 0.

    >>> config = TrainingConfig(steps=12, warmup_steps=2, schedule="cosine", final_fraction=0.1)
    >>> [round(multiplier(config, step), 2) for step in (0, 1, 2, 7, 12)]
    [0.5, 1.0, 1.0, 0.55, 0.1]
    >>> vaswani = TrainingConfig(steps=None, minutes=1.0, warmup_steps=4, schedule="inverse_sqrt")
    >>> [multiplier(vaswani, step) for step in (0, 3, 15, 63)]
    [0.25, 1.0, 0.5, 0.25]
    """
    warm = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.schedule == "inverse_sqrt":
        # sqrt(W) min(s^-0.5, s W^-1.5) with s = step + 1: the paper's, as a multiple of its highest value
        return warm * math.sqrt(max(1, config.warmup_steps) / max(step + 1, config.warmup_steps))
    return warm * curve(config, progress(config, step, elapsed_seconds))


def curve(config: TrainingConfig, done: float) -> float:
    """The factor after `done`, a part in [0, 1], of the run; from 1 down to `final_fraction`.

    Of the schedules that have an end; and constant, which has none, is 1.

    >>> config = TrainingConfig(schedule="wsd", decay_fraction=0.5, final_fraction=0.0)
    >>> [curve(config, done) for done in (0.0, 0.5, 0.75, 1.0)]
    [1.0, 1.0, 0.5, 0.0]
    """
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "cosine":
        height = (1 + math.cos(math.pi * done)) / 2
    elif config.schedule == "linear":
        height = 1 - done
    else:
        assert config.schedule == "wsd", config.schedule
        remaining = 1 - done
        height = min(1.0, remaining / config.decay_fraction) if config.decay_fraction else float(remaining > 0)
    return config.final_fraction + (1 - config.final_fraction) * height
