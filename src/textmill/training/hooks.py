"""What watches a run: a hook is told of steps, evaluations and checkpoints, and changes nothing."""

import contextlib
import json
import math
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from textmill.errors import ConfigError
from textmill.files import clear_errors, replacing
from textmill.training.nonfinite import BadStep


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What is known when a run starts or goes on."""

    first_step: int
    """0, or the step that a checkpoint goes on from."""
    steps: int | None
    minutes: float | None
    num_parameters: int
    precision: str
    """Of the working weights: fp32 or bf16."""
    device: str
    threads: int
    tokens_per_step: int
    peak_flops: float | None = None
    """Operations a second that the machine makes at most: see `training.peak`."""


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """One update of the weights."""

    step: int
    """Updates done, this one included."""
    loss: float
    """The weighted mean over the batch before the update, in nats."""
    learning_rate: float
    """The largest of the groups' rates."""
    gradient_norm: float
    """Before clipping."""
    tokens: int
    """Tokens trained on so far."""
    tokens_per_second: float
    """Of this step: tokens that the model read, of which none is padding."""
    mfu: float | None = None
    """Model FLOPs utilisation: the part of the machine's peak that this step's operations make, by the formula of
    `training.flops`. None where the model's operations aren't known."""
    elapsed_seconds: float
    """Training time so far, over all starts."""
    seconds_left: float
    """At the pace so far."""


class Hook:
    """Does nothing at all occasions; override those of interest."""

    def on_start(self, run: RunRecord) -> None:
        """Before the first step."""

    def on_step(self, record: StepRecord) -> None:
        """After each update."""

    def on_bad_step(self, bad: BadStep) -> None:
        """In the place of `on_step`, when loss or gradient isn't finite; before the run ends, if it does."""

    def on_evaluate(self, step: int, metrics: Mapping[str, float]) -> None:
        """After each measurement on held-out text."""

    def on_stop_early(self, step: int, bad_evaluations: int) -> None:
        """When the run ends because so many measurements in a row were no better."""

    def on_checkpoint(self, step: int, path: Path) -> None:
        """After each checkpoint."""

    def on_end(self) -> None:
        """After the last step, or when the run is stopped or fails."""


class JsonLines(Hook):
    """One JSON object a line for each step and evaluation.

    When a run goes on from a checkpoint, lines beyond it are dropped: each step stands in the file once.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: IO[str] | None = None

    def on_start(self, run: RunRecord) -> None:
        kept = [line for line in whole_lines(self.path) if line["step"] <= run.first_step]
        with replacing(self.path) as file:
            file.writelines(json.dumps(line).encode() + b"\n" for line in kept)
        with clear_errors(self.path):
            self.file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115

    def on_step(self, record: StepRecord) -> None:
        self.write({"kind": "step", **asdict(record)})

    def on_bad_step(self, bad: BadStep) -> None:
        self.write({"kind": "bad_step", **asdict(bad)})

    def on_evaluate(self, step: int, metrics: Mapping[str, float]) -> None:
        self.write({"kind": "evaluation", "step": step, **metrics})

    def on_end(self) -> None:
        if self.file is not None:
            self.file.close()

    def write(self, line: Mapping[str, Any]) -> None:
        """Adds a line; numbers that aren't finite become null."""
        assert self.file is not None
        with clear_errors(self.path):
            self.file.write(json.dumps(_finite(line)) + "\n")
            # given to the system, so that a killed process loses no line
            self.file.flush()


class Progress(Hook):
    """A bar on a terminal, and a plain line every ten seconds elsewhere; both on stderr."""

    SECONDS_BETWEEN_LINES = 10.0

    def __init__(self, *, title: str = "training") -> None:
        self.title = title
        self.held_out = ""
        self.shown = 0.0
        self.bar: Any = None
        self.task: Any = None
        self.run: RunRecord | None = None

    def on_start(self, run: RunRecord) -> None:
        self.run = run
        self.shown = time.monotonic()
        if run.first_step:
            self._say(f"going on from step {run.first_step:,}")
        if sys.stderr.isatty():
            self._start_bar()

    def on_step(self, record: StepRecord) -> None:
        if self.bar is not None:
            done = record.elapsed_seconds / (record.elapsed_seconds + record.seconds_left)
            with contextlib.suppress(OSError):
                self.bar.update(self.task, completed=done, told=self._told(record))
            return
        now = time.monotonic()
        if now - self.shown >= self.SECONDS_BETWEEN_LINES:
            self.shown = now
            self._say(self._told(record))

    def on_evaluate(self, step: int, metrics: Mapping[str, float]) -> None:
        if "bits_per_byte" in metrics:
            self.held_out = f"  held out {metrics['bits_per_byte']:.3f} bits/byte"
        elif "loss" in metrics:
            self.held_out = f"  held out {metrics['loss']:.3f}"
        if self.bar is None:
            self._say(f"step {step:,}{self.held_out}")

    def on_stop_early(self, step: int, bad_evaluations: int) -> None:
        self._say(
            f"stopping after step {step:,}: the last {bad_evaluations} measurements on held-out text are no better"
        )

    def on_end(self) -> None:
        if self.bar is not None:
            # a terminal that was closed takes no last line
            with contextlib.suppress(OSError):
                self.bar.stop()
            self.bar = None

    def on_bad_step(self, bad: BadStep) -> None:
        self._say(f"step {bad.step:,}: the {bad.what}; " + ("left out" if bad.skipped else "stopping"))

    def _told(self, record: StepRecord) -> str:
        of = f"/{self.run.steps:,}" if self.run is not None and self.run.steps else ""
        mfu = "" if record.mfu is None else f"  MFU {record.mfu:.0%}"
        return (
            f"step {record.step:,}{of}  {_duration(record.seconds_left)} left  {record.tokens_per_second:,.0f} tokens/s"
            f"{mfu}  loss {record.loss:.3f}{self.held_out}"
        )

    def _say(self, text: str) -> None:
        # whoever reads stderr may go away; training goes on
        with contextlib.suppress(OSError):
            print(f"{self.title}: {text}", file=sys.stderr, flush=True)

    def _start_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn

        console = Console(stderr=True)
        told = TextColumn("{task.fields[told]}")
        # on a narrow terminal the words matter more than the bar
        columns = (TextColumn(self.title), BarColumn(), told) if console.width >= 140 else (told,)
        self.bar = self._new_bar(columns, console)
        self.task = self.bar.add_task(self.title, total=1.0, told="")
        self.bar.start()

    def _new_bar(self, columns: tuple[Any, ...], console: Any) -> Any:
        """What rich draws; a subclass may draw more."""
        from rich.progress import Progress

        return Progress(*columns, console=console, transient=True)


class TensorBoard(Hook):
    """The same figures for TensorBoard.

    Raises:
        ConfigError: tensorboard isn't installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ConfigError(
                "TensorBoard is asked for and not installed", fix="pip install 'textmill[tensorboard]', or leave it out"
            ) from None
        self.make_writer = SummaryWriter
        self.folder = folder
        self.writer: Any = None

    def on_start(self, run: RunRecord) -> None:
        with clear_errors(self.folder):
            self.writer = self.make_writer(str(self.folder), purge_step=run.first_step + 1)

    def on_step(self, record: StepRecord) -> None:
        for name, value in figures(record).items():
            self.writer.add_scalar(f"training/{name}", value, record.step)

    def on_evaluate(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self.writer.add_scalar(f"held_out/{name}", value, step)

    def on_end(self) -> None:
        if self.writer is not None:
            self.writer.close()


def figures(record: StepRecord) -> dict[str, float]:
    """What is drawn of a step, by name."""
    names = ("loss", "learning_rate", "gradient_norm", "tokens_per_second", "mfu")
    found = {name: getattr(record, name) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def whole_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of an earlier start; a last one that was cut is left out."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            lines.append(line)
    return lines


def _finite(value: Any) -> Any:
    """
    >>> _finite({"loss": math.nan, "z": [1.0, math.inf]})
    {'loss': None, 'z': [1.0, None]}
    """
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _duration(seconds: float) -> str:
    """
    >>> _duration(7.4), _duration(83), _duration(7325)
    ('0:07', '1:23', '2:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
