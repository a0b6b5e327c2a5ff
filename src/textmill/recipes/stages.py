"""Stages of a run: finished ones are kept by a fingerprint of their inputs, and a cut run continues.

A stage's fingerprint is a hash of its own inputs and of the fingerprints of all stages before it. `run.json` in the
run's folder keeps the recipe, its resolved settings, and for each finished stage its fingerprint, its facts and how
long it took. A stage is repeated when its fingerprint differs or one of its outputs is missing.
"""

import contextlib
import fcntl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import textmill
from textmill import config
from textmill.errors import FormatError, OutputError
from textmill.files import claim_output, clear_errors, read_json, write_json

RECORD = "run.json"
LOCK = ".lock"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of a run, from files in the run's folder to files in the run's folder."""

    name: str
    """One word; the key in run.json."""
    title: str
    """What it does, for the terminal."""
    inputs: Any
    """JSON values that decide the outputs, beside the outputs of earlier stages."""
    outputs: tuple[str, ...]
    """Files or folders it leaves, relative to the run's folder."""
    run: Callable[[Path, "Facts"], Mapping[str, Any]]
    """(folder, facts of the stages before) -> its own facts, as JSON values."""


Facts = Mapping[str, Mapping[str, Any]]


class Reporter(Protocol):
    """Where a run says what it does."""

    def stage(self, number: int, total: int, stage: Stage, *, kept: bool) -> None: ...
    def done(self, stage: Stage, facts: Mapping[str, Any], seconds: float) -> None: ...


class Silent:
    """A reporter that says nothing."""

    def stage(self, number: int, total: int, stage: Stage, *, kept: bool) -> None: ...
    def done(self, stage: Stage, facts: Mapping[str, Any], seconds: float) -> None: ...


def run_stages(
    folder: Path, recipe: str, settings: Any, stages: Sequence[Stage], *, fresh: bool, force: bool, reporter: Reporter
) -> dict[str, Mapping[str, Any]]:
    """Runs what isn't finished yet; returns the facts of every stage by name.

    Raises:
        OutputError: the folder holds something else, can't be written, or another process is at work in it.
    """
    claim_output(folder, marker=RECORD, force=force)
    with _only_process(folder):
        record = _read_record(folder / RECORD) if not fresh else {}
        record |= {"recipe": recipe, "settings": config.to_json(settings), "textmill": textmill.__version__}
        finished: dict[str, Any] = record.setdefault("stages", {})
        write_json(folder / RECORD, record)
        facts: dict[str, Mapping[str, Any]] = {}
        before = ""
        for number, stage in enumerate(stages, start=1):
            before = config.fingerprint([before, stage.name, stage.inputs])
            kept = finished.get(stage.name)
            complete = all((folder / output).exists() for output in stage.outputs)
            if kept and kept["fingerprint"] == before and complete:
                reporter.stage(number, len(stages), stage, kept=True)
                facts[stage.name] = kept["facts"]
                continue
            reporter.stage(number, len(stages), stage, kept=False)
            for later in stages[number - 1 :]:
                finished.pop(later.name, None)
            write_json(folder / RECORD, record)
            started = time.monotonic()
            facts[stage.name] = dict(stage.run(folder, facts))
            seconds = time.monotonic() - started
            finished[stage.name] = {"fingerprint": before, "seconds": round(seconds, 3), "facts": facts[stage.name]}
            write_json(folder / RECORD, record)
            reporter.done(stage, facts[stage.name], seconds)
    return facts


def _read_record(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    record = read_json(path)
    if not isinstance(record, dict) or not isinstance(record.get("stages", {}), dict):
        raise FormatError(f"{path} is not a run's record", fix="choose another -o, or add --fresh to start over")
    return record


@contextlib.contextmanager
def _only_process(folder: Path) -> Iterator[None]:
    """Holds the run's lock; the operating system frees it however the process ends."""
    with clear_errors(folder), open(folder / LOCK, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(
                f"another process is at work in {folder}", fix="wait for it to end, or choose another -o"
            ) from None
        yield
