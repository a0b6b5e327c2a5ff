"""What a run will take, before it runs: parameters, operations, memory, time and disk.

    parameters   exact, from the model on the meta device
    operations   exact by the formula of `training.flops`
    memory       the tensors of a rehearsed step (`training.rehearsal`) at its worst moment, and on a CPU what the
                 process held beyond them then
    time         forward and backward at the speed of the rehearsal, by operations; the optimisers' step by parameters
    disk         checkpoints, of fp32 weights and the optimisers' state: `keep` of them, the best one, and one being
                 written

Time is that of training alone: measurements on held-out text and checkpoints come on top.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from textmill.errors import ConfigError
from textmill.objectives import Objective
from textmill.training.batches import lengths, num_tokens
from textmill.training.config import TrainingConfig
from textmill.training.flops import flops_of, num_predicted
from textmill.training.groups import roles
from textmill.training.peak import peak_flops
from textmill.training.precision import chosen_dtype
from textmill.training.rehearsal import Rehearsal, Scene, outlook

WHOLE_SECONDS = 8.0
"""A run whose steps take no longer is rehearsed whole."""
STEPS_REHEARSED = 4
"""What a rehearsal costs, in steps."""
LARGEST_UINT16_VOCABULARY = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes at the worst moment of a step."""

    weights: int
    """In the run's precision; of the masters too, where it is bf16."""
    gradients: int
    """Of the masters."""
    optimizer: int
    """The optimisers' state."""
    activations: int
    """All else at the worst moment: activations, a chunk of logits, gradients of working weights, scratch."""
    tensors: int
    """The sum."""
    process: int | None
    """With the program, its libraries, and what the allocator leaves between tensors, as it was in the rehearsal; None
    on another device than a CPU, or where the system doesn't say."""
    worst: str
    """When the worst moment is: forward, backward, update or evaluation."""


@dataclass(frozen=True, kw_only=True)
class Disk:
    """Bytes that a run leaves, and needs at most."""

    checkpoint: int
    checkpoints: int
    """All that stand at once."""
    folder: int
    """The model folder's weights."""
    shards: int | None
    """The tokens; None where their number isn't known."""

    @property
    def total(self) -> int:
        return self.checkpoints + self.folder + (self.shards or 0)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run will take."""

    parameters: int
    parameters_by_role: Mapping[str, int]
    """matrix, embedding, head, vector."""
    device: str
    precision: str
    tokens_per_step: int
    flops_per_token: float
    """Of training."""
    flops_per_step: int
    steps: int | None
    """None: the clock ends the run."""
    tokens: int | None
    """That are trained on; with the clock alone, what the expected speed makes of it."""
    epochs: float | None
    """How often that goes through the text; None where its length isn't known."""
    memory: Memory
    seconds_per_step: float
    tokens_per_second: float
    mfu: float
    peak_flops: float
    seconds: float
    """Of training."""
    time_from: str
    """What the time was taken from."""
    disk: Disk


@dataclass(frozen=True, kw_only=True)
class Plans:
    """What a plan is made of."""

    make_model: Callable[[int | None], Any]
    """(layers; None: all of them) -> a model with fresh weights, on torch's default device"""
    make_batch: Callable[[int], Any]
    """rows -> a batch like those of the run, of full rows"""
    objective: Objective
    num_layers: int | None
    """None where a model's layers can't be left out."""
    evaluates: bool = True
    num_tokens: int | None = None
    """Of the text; None where it isn't known."""
    whole_seconds: float = WHOLE_SECONDS


def plan(parts: Plans, config: TrainingConfig, device: torch.device | None = None) -> Plan:
    """Rehearses a few steps and reckons the run from them.

    Raises:
        ConfigError: what would be rehearsed doesn't fit into this machine's memory.
    """
    device = device or torch.device("cpu")
    dtype = chosen_dtype(config.precision, device)
    with torch.device("meta"):
        model = parts.make_model(None)
    by_role = _by_role(model)
    parameters, trained = _counts(model)
    batch = parts.make_batch(config.batch_size)
    work = flops_of(model).training(lengths(batch), num_predicted(parts.objective, batch))
    tokens = num_tokens(batch)
    peak = peak_flops(device, dtype)
    part = (config.micro_batch_size or config.batch_size) / config.batch_size
    scene = Scene(
        model=parts.make_model,
        batch=parts.make_batch,
        objective=parts.objective,
        config=config,
        device=device,
        evaluates=parts.evaluates,
    )
    whole = STEPS_REHEARSED * min(1.0, 2 * part) * work / (0.4 * peak) <= parts.whole_seconds
    _check_room(parameters if whole else _reduced(parts, model, parameters), device)
    forget_peak()
    seen = outlook(scene, parts.num_layers, _period(model), whole=whole)
    most = peak_bytes() if device.type == "cpu" else None
    around = None if most is None else most - seen.rehearsed
    seconds = work / seen.flops_per_second + seen.update_seconds
    steps, duration = _length(config, seconds)
    return Plan(
        parameters=parameters,
        parameters_by_role=by_role,
        device=str(device),
        precision={torch.float32: "fp32", torch.bfloat16: "bf16"}[dtype],
        tokens_per_step=tokens,
        flops_per_token=work / tokens,
        flops_per_step=work,
        steps=config.steps,
        tokens=tokens * steps,
        epochs=None if not parts.num_tokens else tokens * steps / parts.num_tokens,
        memory=_memory(seen, parameters, trained, dtype, around),
        seconds_per_step=seconds,
        tokens_per_second=tokens / seconds,
        mfu=work / seconds / peak,
        peak_flops=peak,
        seconds=duration,
        time_from="steps of the whole model" if whole else "steps of a part of the model, by operations",
        disk=_disk(parts, model, config, parameters, round(seen.state)),
    )


def _memory(seen: Rehearsal, parameters: int, trained: int, dtype: torch.dtype, around: int | None) -> Memory:
    worst = max(seen.phases, key=lambda phase: seen.phases[phase])
    tensors = round(seen.phases[worst])
    weights = parameters * (4 if dtype == torch.float32 else 4 + dtype.itemsize)
    # on held-out text there are none
    gradients = 0 if worst == "evaluation" else 4 * trained
    optimizer = round(seen.state)
    return Memory(
        weights=weights,
        gradients=gradients,
        optimizer=optimizer,
        activations=max(0, tensors - weights - gradients - optimizer),
        tensors=tensors,
        process=None if around is None else around + tensors,
        worst=worst,
    )


def _disk(parts: Plans, model: Any, config: TrainingConfig, parameters: int, state: int) -> Disk:
    checkpoint = 4 * parameters + state
    stand = config.keep + (1 if parts.evaluates else 0) + 1
    vocabulary = model.config.vocab_size
    width = 2 if vocabulary <= LARGEST_UINT16_VOCABULARY else 4
    return Disk(
        checkpoint=checkpoint,
        checkpoints=checkpoint * stand,
        folder=4 * parameters,
        shards=None if parts.num_tokens is None else width * parts.num_tokens,
    )


def _length(config: TrainingConfig, seconds_per_step: float) -> tuple[int, float]:
    """Steps and seconds of the run, by whichever of steps and clock ends it first."""
    by_clock = None if config.minutes is None else 60 * config.minutes
    if config.steps is None:
        assert by_clock is not None, "a run has an end"
        return max(1, int(by_clock / seconds_per_step)), by_clock
    seconds = config.steps * seconds_per_step
    if by_clock is None or seconds <= by_clock:
        return config.steps, seconds
    return max(1, int(by_clock / seconds_per_step)), by_clock


def _by_role(model: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    sizes = {name: weight.numel() for name, weight in model.named_parameters()}
    for name, role in roles(model).items():
        found[role] = found.get(role, 0) + sizes[name]
    return found


def _counts(model: Any) -> tuple[int, int]:
    """All parameters, and the trained ones."""
    sizes = [(weight.numel(), weight.requires_grad) for weight in model.parameters()]
    return sum(size for size, _ in sizes), sum(size for size, trained in sizes if trained)


def _period(model: Any) -> int:
    """Every so many layers the same kinds of attention come again."""
    pattern = getattr(model.trunk_config, "attention", None)
    if pattern is None or pattern.kind == "dense":
        return 1
    if pattern.kind in ("strided", "fixed") and not pattern.merged:
        return 2
    return pattern.global_every or 1


def _reduced(parts: Plans, model: Any, parameters: int) -> int:
    """The parameters of the largest model that is rehearsed in parts."""
    if parts.num_layers is None:
        return parameters
    period = _period(model)
    layers = min(parts.num_layers, max(2, period + parts.num_layers % period) + period)
    with torch.device("meta"):
        return _counts(parts.make_model(layers))[0]


def _check_room(parameters: int, device: torch.device) -> None:
    """Fresh fp32 weights, their gradients, and two numbers an optimiser keeps: 16 bytes a parameter at the least."""
    room = _available_bytes(device)
    if room is not None and 16 * parameters > room:
        raise ConfigError(
            f"a plan rehearses steps with {parameters / 1e9:.1f} billion parameters, which take"
            f" {16 * parameters / 1e9:.0f} GB; this machine has {room / 1e9:.0f} GB to give",
            fix="plan on the machine that is to train, or plan a smaller vocabulary or width",
        )


def _available_bytes(device: torch.device) -> int | None:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return _kib(Path("/proc/meminfo"), "MemAvailable")


def peak_bytes() -> int | None:
    """The most memory that this process has held; None where the system doesn't say."""
    return _kib(Path("/proc/self/status"), "VmHWM")


def forget_peak() -> None:
    """Lets `peak_bytes` begin anew, where the system can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _kib(path: Path, name: str) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:")), None)


def random_ids(vocab_size: int, rows: int, time: int) -> np.ndarray:
    """int64 [rows, time]: text that no model can know, the same on every call."""
    return np.random.default_rng(0).integers(0, vocab_size, (rows, time))
