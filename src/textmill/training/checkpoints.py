"""Checkpoints: folders that are whole or absent, checked before they are trusted.

```
checkpoints/step-00000123/
  model.safetensors       the fp32 weights by name
  optimizer.safetensors   the optimisers' state, `<parameter name>/<what>`
  objective.safetensors   what the objective remembers from batch to batch, if anything
  state.json              where the run stands, SHA-256 of the others, and of itself
```

A folder is written under a temporary name, flushed to the disk, and renamed. When a run starts, the newest folder whose
checksums all hold is taken; what a killed process or a failing disk left behind is passed over with a warning. Chance
needs no state: it is drawn from (seed, step).
"""

import hashlib
import json
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

import textmill
from textmill.errors import ConfigError, FormatError
from textmill.files import read_json, remove_partials, replacing_folder, sha256_file
from textmill.training.tensor_file import write_tensors

FORMAT = 1
MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
OBJECTIVE = "objective.safetensors"


@dataclass(frozen=True, kw_only=True)
class State:
    """Where a run stands."""

    step: int
    """Updates done; the number of the next batch."""
    elapsed_seconds: float
    """Training time so far, over all starts."""
    tokens: int
    """Tokens trained on."""
    loss: float
    """The last batch's, in nats."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """The last measurement on held-out text."""
    best_loss: float | None = None
    """The lowest held-out loss so far."""
    best_step: int | None = None
    """The checkpoint that had it."""
    reference_loss: float | None = None
    """The last held-out loss that was better by `min_delta`: see `early_stopping.Patience`."""
    bad_evaluations: int = 0
    """Measurements since then."""
    skipped: int = 0
    """Batches left out because their loss or gradient wasn't finite."""
    skipped_in_a_row: int = 0
    """Those at the end."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What must be the same for the run to go on: see `refuse_other`."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of textmill, torch and Python, when it was written."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose checksums held when it was found."""

    path: Path
    state: State

    def model(self) -> dict[str, Tensor]:
        """The fp32 weights by name."""
        return _tensors(self.path / MODEL)

    def optimizer(self) -> dict[str, Tensor]:
        """The optimisers' state, flat."""
        return _tensors(self.path / OPTIMIZER)

    def objective(self) -> dict[str, Tensor]:
        """What the objective remembers; empty where it remembers nothing."""
        path = self.path / OBJECTIVE
        return _tensors(path) if path.is_file() else {}


class OtherVersionError(FormatError):
    """A checkpoint is whole, and another version of textmill wrote it."""


class Checkpoints:
    """The checkpoints of one run, in one folder."""

    def __init__(self, folder: Path, *, keep: int = 1) -> None:
        self.folder = folder
        self.keep = keep

    def save(
        self,
        state: State,
        model: Mapping[str, Tensor],
        optimizer: Mapping[str, Tensor],
        objective: Mapping[str, Tensor] | None = None,
    ) -> Path:
        """Writes a checkpoint, then deletes those that are neither among the newest nor the best.

        Raises:
            OutputError: disk full, read-only, no permission; the checkpoints before it still stand.
        """
        path = self.path_of(state.step)
        with replacing_folder(path) as temporary:
            files = {
                MODEL: write_tensors(temporary / MODEL, model),
                OPTIMIZER: write_tensors(temporary / OPTIMIZER, optimizer),
            }
            if objective:
                files[OBJECTIVE] = write_tensors(temporary / OBJECTIVE, objective)
            content = {"format": FORMAT, **state.__dict__, "files": files}
            content["sha256"] = _fingerprint(content)
            (temporary / STATE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        self._delete_old(state)
        return path

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole; None where there is none. Warns of those it passes over.

        Raises:
            OtherVersionError: it is of another version. To pass over it would be to begin the run again.
        """
        for step in reversed(self.steps()):
            try:
                return self.read(step)
            except OtherVersionError:
                raise
            except FormatError as error:
                warnings.warn(f"passing over a damaged checkpoint: {error.problem}", stacklevel=2)
        return None

    def read(self, step: int) -> Checkpoint:
        """The checkpoint of this step.

        Raises:
            FormatError: missing, torn or tampered with.
            OtherVersionError: of another version.
        """
        path = self.path_of(step)
        content = read_json(path / STATE)
        if not isinstance(content, dict) or content.pop("sha256", None) != _fingerprint(content):
            raise FormatError(f"{path / STATE} doesn't match its own checksum")
        if content.pop("format", None) != FORMAT:
            raise _other_version(path, content)
        files = content.pop("files", {})
        for name in (MODEL, OPTIMIZER, OBJECTIVE) if OBJECTIVE in files else (MODEL, OPTIMIZER):
            file = path / name
            if not file.is_file() or sha256_file(file) != files.get(name):
                raise FormatError(f"{file} is missing, or doesn't match the checksum in {STATE}")
        if content.keys() - State.__dataclass_fields__.keys():
            raise _other_version(path, content)
        return Checkpoint(path, State(**content))

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, whole or not, in order."""
        numbers = (path.name.removeprefix("step-") for path in self.folder.glob("step-*") if path.is_dir())
        return sorted(int(number) for number in numbers if number.isdecimal())

    def path_of(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def clean(self) -> None:
        """Deletes what killed processes left half-written."""
        if self.folder.is_dir():
            remove_partials(self.folder)

    def delete(self) -> None:
        """Forgets the run."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _delete_old(self, state: State) -> None:
        old = [step for step in self.steps() if step <= state.step][: -self.keep]
        # those beyond this step were passed over as damaged
        beyond = [step for step in self.steps() if step > state.step]
        for step in old + beyond:
            if step != state.best_step:
                shutil.rmtree(self.path_of(step), ignore_errors=True)


def refuse_other(found: Mapping[str, Any], wanted: Mapping[str, Any], where: Path) -> None:
    """Checks that a checkpoint belongs to this run.

    Raises:
        ConfigError: a setting differs; names it and both its values.
    """
    before, now = _flat(found), _flat(json.loads(json.dumps(wanted)))
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            raise ConfigError(
                f"{where} belongs to another run: {key} was {before.get(key)!r} and is now {now.get(key)!r}",
                fix="use the same settings to go on, or --fresh to begin again",
            )


def _other_version(path: Path, content: Mapping[str, Any]) -> OtherVersionError:
    versions = content.get("versions")
    wrote = f" ({versions['textmill']})" if isinstance(versions, dict) and "textmill" in versions else ""
    return OtherVersionError(
        f"{path} was written by another version of textmill{wrote}; this is {textmill.__version__}",
        fix="go on with that version, or use --fresh to begin again",
    )


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise FormatError(f"{path} is not a safetensors file: {error}", fix="use --fresh") from None


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """
    >>> _flat({"training": {"steps": 3}, "seed": 0})
    {'training.steps': 3, 'seed': 0}
    """
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _fingerprint(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=True).encode()).hexdigest()
