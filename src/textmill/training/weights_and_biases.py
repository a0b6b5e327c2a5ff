"""The figures of a run for Weights & Biases (wandb.ai), where its package is installed."""

import importlib
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from textmill.errors import ConfigError
from textmill.files import clear_errors, read_json, write_json
from textmill.training.hooks import Hook, RunRecord, StepRecord, figures
from textmill.training.nonfinite import BadStep

RECORD = "wandb.json"


class WeightsAndBiases(Hook):
    """The figures that `TensorBoard` gets too, under the same names.

    A run that goes on after a stop goes on there as well: its id is kept in `folder`. Steps that come again after a cut
    are left out by the service, which takes each step once; the numbers are the same.

    Args:
        folder: where the id and the package's own files are kept.
        settings: shown beside the run.
        name: of the run; None: the folder's.

    Raises:
        ConfigError: wandb isn't installed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        project: str = "textmill",
        name: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        try:
            self.wandb: Any = importlib.import_module("wandb")
        except ImportError:
            raise ConfigError(
                "Weights & Biases is asked for and not installed", fix="pip install wandb, or leave it out"
            ) from None
        self.folder, self.project, self.name = folder, project, name or folder.resolve().name
        self.settings = dict(settings or {})
        self.run: Any = None

    def on_start(self, run: RunRecord) -> None:
        path = self.folder / RECORD
        known = read_json(path) if run.first_step and path.is_file() else {}
        identity = known.get("id") if isinstance(known, dict) else None
        if not isinstance(identity, str):
            identity = secrets.token_hex(8)
            write_json(path, {"id": identity})
        facts = {key: getattr(run, key) for key in ("num_parameters", "precision", "device", "threads", "peak_flops")}
        with clear_errors(self.folder):
            self.run = self.wandb.init(
                project=self.project,
                name=self.name,
                dir=str(self.folder),
                id=identity,
                resume="allow",
                config=self.settings | facts,
            )

    def on_step(self, record: StepRecord) -> None:
        self._log("training", figures(record) | {"tokens": record.tokens}, record.step)

    def on_bad_step(self, bad: BadStep) -> None:
        self._log("training", {"bad_steps_in_a_row": bad.in_a_row}, bad.step)

    def on_evaluate(self, step: int, metrics: Mapping[str, float]) -> None:
        self._log("held_out", metrics, step)

    def on_end(self) -> None:
        if self.run is not None:
            self.run.finish()
            self.run = None

    def _log(self, group: str, values: Mapping[str, float], step: int) -> None:
        self.run.log({f"{group}/{name}": value for name, value in values.items()}, step=step)
