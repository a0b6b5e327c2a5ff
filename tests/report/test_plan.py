"""The table of a plan."""

import dataclasses
import io

from rich.console import Console

from textmill.config import to_json
from textmill.report.plan import print_plan, rows
from textmill.training.planning import Disk, Memory, Plan

PLAN = Plan(
    parameters=1_234_567,
    parameters_by_role={"matrix": 1_000_000, "embedding": 234_567},
    device="cpu",
    precision="bf16",
    tokens_per_step=4096,
    flops_per_token=8e6,
    flops_per_step=32_768_000_000,
    steps=1000,
    tokens=4_096_000,
    epochs=2.048,
    memory=Memory(
        weights=7_400_000, gradients=4_900_000, optimizer=5_000_000, activations=82_700_000, tensors=100_000_000,
        process=600_000_000, worst="forward",
    ),
    seconds_per_step=0.5,
    tokens_per_second=8192.0,
    mfu=0.41,
    peak_flops=1.6e11,
    seconds=500.0,
    time_from="steps of the whole model",
    disk=Disk(checkpoint=10_000_000, checkpoints=30_000_000, folder=4_900_000, shards=4_000_000),
)  # fmt: skip


def test_the_table_says_it_all() -> None:
    console = Console(file=io.StringIO(), width=100)
    print_plan(PLAN, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for part in (
        "1,234,567", "234,567", "2 times through the text", "8.00 MFLOP", "32.8 GFLOP", "weights in bf16 and fp32",
        "100 MB", "in the forward pass", "600 MB", "8 min", "41% of 160 GFLOP/s", "steps of the whole model",
        "30.0 MB, each 10.0 MB", "38.9 MB",
    ):  # fmt: skip
        assert part in text


def test_what_is_not_known() -> None:
    unknown = dataclasses.replace(
        PLAN, steps=None, epochs=None, disk=dataclasses.replace(PLAN.disk, shards=None),
        memory=dataclasses.replace(PLAN.memory, process=None),
    )  # fmt: skip
    told = {(group, what): figure for group, what, figure in rows(unknown)}
    assert told["work", "steps"] == "until the clock ends it"
    assert told["work", "tokens"] == "4,096,000"
    assert told["disk", "token shards"] == "unknown"
    assert ("memory", "the process at most") not in told


def test_as_json() -> None:
    assert to_json(PLAN)["memory"]["tensors"] == 100_000_000
