"""Measures two sides in turn and says how they compare.

A comparison runs its check first: sides whose outputs differ are refused, since a fast wrong answer is no figure. Then
come a warm-up and several rounds, each measuring ours and the peer one after the other, so that a machine that slows
down slows both. The figure is the median over rounds of the ratio within a round; the ratio of the two medians stands
beside it, and so does the middle half of each side's measurements.
"""

import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, Self

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results.jsonl"
CACHE = Path(__file__).parent / ".cache"
ANSWER = "answer: "
"""Begins each line that a child process means for us."""
_PEERS_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}
"""Children ask no server and draw no bars."""


class RefusedError(Exception):
    """The outputs of the two sides differ, so their figures are not compared."""


class SkippedError(Exception):
    """This machine lacks something that the comparison needs."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    kind: Literal["times", "share", "below"]
    """times: the peer's measurement over ours is at least `value`; share: ours over the peer's is at most `value`;
    below: ours is less than `value`, whatever the peer's"""
    value: float

    def figure(self, ours: float, peer: float | None) -> float:
        """What is held against `value`."""
        if self.kind == "below":
            return ours
        assert peer is not None
        return peer / ours if self.kind == "times" else ours / peer

    def reached(self, figure: float) -> bool:
        return figure >= self.value if self.kind == "times" else figure <= self.value

    def __str__(self) -> str:
        return {"times": "at least {:g}x", "share": "at most {:g}x", "below": "under {:g}"}[self.kind].format(
            self.value
        )


@dataclass(frozen=True, kw_only=True)
class Side:
    name: str
    measure: Callable[[], float]
    """one measurement, in the comparison's unit"""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    name: str
    goal: Goal
    ours: Side
    peer: Side | None = None
    check: Callable[[], None] = lambda: None
    """raises RefusedError when the outputs differ"""
    unit: str = "s"
    sizes: dict[str, Any] = field(default_factory=dict)
    """what was measured on: bytes, tokens, parameters"""
    warm_up: int = 1
    """measurements of each side that do not count"""
    rounds: int | None = None
    """instead of the command's, where a round is no mere repetition"""


@dataclass(frozen=True, kw_only=True)
class Spread:
    name: str
    median: float
    lower_quartile: float
    upper_quartile: float
    values: list[float]


@dataclass(frozen=True, kw_only=True)
class Result:
    name: str
    goal: str
    figure: float
    """median over rounds of the figure of one round"""
    figure_of_medians: float
    reached: bool
    unit: str
    ours: Spread
    peer: Spread | None
    sizes: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Options:
    rounds: int = 5
    quick: bool = False
    """small inputs and two rounds, to see that it runs; nothing is kept"""
    minutes: float | None = None
    """for comparisons by the clock"""
    seeds: int | None = None
    """for comparisons whose rounds are seeds"""
    only: str = ""
    """run comparisons whose name contains this"""


class Benchmark(Protocol):
    """What a module of this folder offers."""

    ABOUT: str
    GOALS: Sequence[str]

    def comparisons(self, options: Options) -> Iterator[Comparison]: ...


def compare(comparison: Comparison, rounds: int) -> Result:
    """Checks, warms up, and measures both sides in turn.

    Raises:
        RefusedError: the outputs differ.
    """
    comparison.check()
    sides = [side for side in (comparison.ours, comparison.peer) if side is not None]
    for _ in range(comparison.warm_up):
        for side in sides:
            side.measure()
    values: list[list[float]] = [[] for _ in sides]
    for _ in range(comparison.rounds or rounds):
        for side, measured in zip(sides, values, strict=True):
            measured.append(side.measure())
    return summarise(comparison, *values)


def summarise(comparison: Comparison, ours: list[float], peer: list[float] | None = None) -> Result:
    """The result of measurements that were taken round by round."""
    goal = comparison.goal
    if peer is None:
        figures = [goal.figure(value, None) for value in ours]
        figure_of_medians = goal.figure(statistics.median(ours), None)
    else:
        figures = [goal.figure(mine, theirs) for mine, theirs in zip(ours, peer, strict=True)]
        figure_of_medians = goal.figure(statistics.median(ours), statistics.median(peer))
    figure = statistics.median(figures)
    return Result(
        name=comparison.name,
        goal=str(goal),
        figure=figure,
        figure_of_medians=figure_of_medians,
        reached=goal.reached(figure),
        unit=comparison.unit,
        ours=spread(comparison.ours.name, ours),
        peer=spread(comparison.peer.name, peer) if comparison.peer and peer else None,
        sizes=comparison.sizes,
    )


def spread(name: str, values: list[float]) -> Spread:
    """Median and middle half."""
    quartiles = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return Spread(
        name=name,
        median=statistics.median(values),
        lower_quartile=quartiles[0],
        upper_quartile=quartiles[2],
        values=values,
    )


def timed(work: Callable[[], Any]) -> Callable[[], float]:
    """Seconds that one call of `work` takes."""

    def measure() -> float:
        begun = time.perf_counter()
        work()
        return time.perf_counter() - begun

    return measure


def process_seconds(arguments: Sequence[str]) -> float:
    """Seconds from starting a process to its end.

    Raises:
        RefusedError: it fails.
    """
    begun = time.perf_counter()
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT)
    seconds = time.perf_counter() - begun
    if done.returncode != 0:
        raise RefusedError(f"{' '.join(arguments[:4])} ended with {done.returncode}: {done.stderr.strip()[-800:]}")
    return seconds


def in_child(function: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """What `module:function` returns when called with `arguments` in a process of its own, and that process's figures:
    "process_seconds" from start to end and "peak_bytes", the most memory it held.

    Raises:
        RefusedError: it fails.
    """
    command = [sys.executable, "-m", "benchmarks.child", function, json.dumps(arguments)]
    environment = os.environ | _PEERS_ENVIRONMENT
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    seconds = time.perf_counter() - begun
    if done.returncode != 0:
        raise RefusedError(f"{function} ended with {done.returncode}: {done.stderr.strip()[-800:]}")
    answers = [line for line in done.stdout.splitlines() if line.startswith(ANSWER)]
    return {"process_seconds": seconds, **json.loads(answers[-1].removeprefix(ANSWER))}


class Worker:
    """A process of its own that measures on request, so that neither side's threads, allocator or compiled kernels
    touch the other's.

    `module:function` is called with `arguments` in it and returns (facts, measure). A side that waits is asleep.

    Raises:
        RefusedError: the function fails.
    """

    def __init__(self, function: str, arguments: dict[str, Any]) -> None:
        self.function = function
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.child", "--serve", function, json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=ROOT,
            env=os.environ | _PEERS_ENVIRONMENT,
            text=True,
        )
        self.facts: dict[str, Any] = self._answer()

    def measure(self) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write("measure\n")
        self.process.stdin.flush()
        return float(self._answer()["measured"])

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self) -> dict[str, Any]:
        """The next line that is an answer; libraries may print others."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(ANSWER):
                return json.loads(line.removeprefix(ANSWER))
        status = self.process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip()[-800:]
        self.close()
        raise RefusedError(f"{self.function} ended with {status}: {said}")


def record(benchmark: str, result: Result, command: str) -> dict[str, Any]:
    """The result with when, where and on what it was measured, as one JSON object."""
    return {
        "benchmark": benchmark,
        **asdict(result),
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": machine(),
        "versions": versions(),
    }


def machine() -> dict[str, Any]:
    """The processor and its cores; nothing that names the machine."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"processor": model, "cores": cores, "memory_gib": round(memory / 2**30)}


def versions() -> dict[str, str]:
    """Versions of everything that takes part, as far as it is installed."""
    found = {"python": platform.python_version()}
    for name in ("textmill", "torch", "numpy", "numba", "tokenizers", "tiktoken", "transformers", "datasets"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
