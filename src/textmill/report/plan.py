"""A run's plan as a table on the terminal."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from textmill.training.planning import Plan

GROUPS = ("parameters", "work", "memory", "time", "disk")


def rows(plan: Plan) -> list[tuple[str, str, str]]:
    """(group, what, figure), from top to bottom."""
    memory, disk = plan.memory, plan.disk
    found = [("parameters", "all", f"{plan.parameters:,}")]
    found += [("parameters", role, f"{size:,}") for role, size in plan.parameters_by_role.items()]
    tokens = "unknown" if plan.tokens is None else f"{plan.tokens:,}"
    epochs = "" if plan.epochs is None else f", {plan.epochs:.2g} times through the text"
    found += [
        ("work", "steps", "until the clock ends it" if plan.steps is None else f"{plan.steps:,}"),
        ("work", "tokens", f"{tokens}{epochs}"),
        ("work", "operations a token", _scaled(plan.flops_per_token, "FLOP")),
        ("work", "operations a step", _scaled(plan.flops_per_step, "FLOP")),
        (
            "memory",
            f"weights in {plan.precision}" + (" and fp32" if plan.precision != "fp32" else ""),
            _bytes(memory.weights),
        ),
        ("memory", "gradients", _bytes(memory.gradients)),
        ("memory", "optimiser", _bytes(memory.optimizer)),
        ("memory", "activations and scratch", _bytes(memory.activations)),
        ("memory", f"all tensors at most, in {_PHASES[memory.worst]}", _bytes(memory.tensors)),
    ]
    if memory.process is not None:
        found.append(("memory", "the process at most", _bytes(memory.process)))
    found += [
        ("time", "training", duration(plan.seconds)),
        ("time", "a step", f"{plan.seconds_per_step:.3g} s, {plan.tokens_per_second:,.0f} tokens/s"),
        ("time", f"of the peak of {plan.device}", f"{plan.mfu:.0%} of {_scaled(plan.peak_flops, 'FLOP/s')}"),
        ("time", "taken from", plan.time_from),
        ("disk", "checkpoints at most", f"{_bytes(disk.checkpoints)}, each {_bytes(disk.checkpoint)}"),
        ("disk", "model folder", _bytes(disk.folder)),
        ("disk", "token shards", "unknown" if disk.shards is None else _bytes(disk.shards)),
        ("disk", "all", _bytes(disk.total)),
    ]
    return found


_PHASES = {
    "forward": "the forward pass",
    "backward": "the backward pass",
    "update": "the optimiser's step",
    "evaluation": "a measurement",
}


def print_plan(plan: Plan, console: Console) -> None:
    """The table. Times leave out measurements and checkpoints."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    before = ""
    for group, what, figure in rows(plan):
        table.add_row(Text("" if group == before else group, style="bold cyan"), Text(what), Text(figure))
        before = group
    console.print(table)


def duration(seconds: float) -> str:
    """
    >>> duration(42), duration(600), duration(9000), duration(300_000)
    ('42 s', '10 min', '2 h 30 min', '3 d 11 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def _bytes(count: float) -> str:
    """
    >>> _bytes(999), _bytes(1_234_000), _bytes(25e9)
    ('999 B', '1.23 MB', '25.0 GB')
    """
    return _scaled(count, "B")


def _scaled(value: float, unit: str) -> str:
    """
    >>> _scaled(854e6, "FLOP"), _scaled(9.89e14, "FLOP/s")
    ('854 MFLOP', '989 TFLOP/s')
    """
    for prefix in ("", "k", "M", "G", "T", "P", "E"):
        if value < 999.5 or prefix == "E":
            break
        value /= 1000
    figures = f"{value:.0f}" if not prefix or value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
    return f"{figures} {prefix}{unit}"
