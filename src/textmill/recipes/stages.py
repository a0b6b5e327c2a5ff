"""Stages of a run: finished ones are kept by a fingerprint of their inputs, and a cut run continues.

A stage's fingerprint is a hash of its own inputs and of the fingerprints of all stages before it. `run.json` in the
run's folder keeps the recipe, its resolved settings, and for each finished stage its fingerprint, its facts and how
long it took. A stage is repeated when its fingerprint differs or one of its outputs is missing. A stage that was cut
goes on from its `progress` if the record says that it was begun with the same fingerprint.
"""

import contextlib
import fcntl
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import textmill
from textmill import config
from textmill.errors import FormatError, OutputError
from textmill.files import LOCK, claim_output, clear_errors, read_json, remove_partials, write_json

RECORD = "run.json"


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
    run: Callable[[Path, "Facts", "Tell"], Mapping[str, Any]]
    """(folder, facts of the stages before, where to tell its progress) -> its own facts, as JSON values."""
    progress: tuple[str, ...] = ()
    """Folders that a cut stage goes on from; deleted when it starts over or its inputs have changed."""


Facts = Mapping[str, Mapping[str, Any]]
Tell = Callable[[int, int | None], None]
"""(bytes done, bytes in all or None where nobody knows)"""


class Reporter(Protocol):
    """Where a run says what it does."""

    def stage(self, number: int, total: int, stage: Stage, *, kept: bool) -> None: ...
    def done(self, stage: Stage, facts: Mapping[str, Any], seconds: float) -> None: ...
    def progress(self, _: Stage) -> contextlib.AbstractContextManager[Tell]: ...


class Silent:
    """A reporter that says nothing."""

    def stage(self, number: int, total: int, stage: Stage, *, kept: bool) -> None: ...
    def done(self, stage: Stage, facts: Mapping[str, Any], seconds: float) -> None: ...

    @contextlib.contextmanager
    def progress(self, _: Stage) -> Iterator[Tell]:
        yield lambda _done, _total: None


def run_stages(
    folder: Path, recipe: str, settings: Any, stages: Sequence[Stage], *, fresh: bool, force: bool, reporter: Reporter
) -> dict[str, Mapping[str, Any]]:
    """Runs what isn't finished yet; returns the facts of every stage by name.

    Raises:
        OutputError: the folder holds something else, can't be written, or another process is at work in it.
    """
    claim_output(folder, marker=RECORD, force=force)
    with _only_process(folder):
        _clean(folder, stages)
        record = _read_record(folder / RECORD) if not fresh else {}
        record |= {"recipe": recipe, "settings": config.to_json(settings), "textmill": textmill.__version__}
        record |= {"stages": _finished(record), "begun": record.get("begun", {})}
        finished: dict[str, Any] = record["stages"]
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
            started = time.monotonic()
            with reporter.progress(stage) as tell:
                _begin(folder, stage, before, record)
                facts[stage.name] = dict(stage.run(folder, facts, tell))
            seconds = time.monotonic() - started
            entry = {"fingerprint": before, "seconds": round(seconds, 3), "facts": facts[stage.name]}
            finished[stage.name] = {**entry, "sha256": config.fingerprint(entry)}
            write_json(folder / RECORD, record)
            reporter.done(stage, facts[stage.name], seconds)
        write_json(folder / RECORD, record)
    return facts


def _begin(folder: Path, stage: Stage, fingerprint: str, record: dict[str, Any]) -> None:
    """Makes a stage ready to run, from its beginning or, where its inputs are the same, from where it was cut."""
    if stage.progress and record["begun"].get(stage.name) != fingerprint:
        # before the record says so: were this process killed in between, the next one deletes them as well
        for name in stage.progress:
            shutil.rmtree(folder / name, ignore_errors=True)
        record["begun"][stage.name] = fingerprint
    write_json(folder / RECORD, record)


def _clean(folder: Path, stages: Sequence[Stage]) -> None:
    """Deletes what a killed process left half-written in the run's folder and beside the outputs."""
    for place in {folder, *((folder / output).parent for stage in stages for output in stage.outputs)}:
        remove_partials(place)


def _finished(record: Mapping[str, Any]) -> dict[str, Any]:
    """The stages that the record says are finished, without those that were changed by another hand."""
    return {
        name: entry
        for name, entry in record.get("stages", {}).items()
        if isinstance(entry, dict)
        and entry.get("sha256") == config.fingerprint({key: entry[key] for key in entry if key != "sha256"})
    }


def _read_record(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    record = read_json(path)
    if not isinstance(record, dict) or not all(isinstance(record.get(key, {}), dict) for key in ("stages", "begun")):
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
