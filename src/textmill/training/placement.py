"""Where a model trains. The trainer asks its placement; models and objectives know nothing of devices."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from textmill.errors import ConfigError

B = TypeVar("B")


def chosen_device(name: str) -> torch.device:
    """The device that the setting stands for; auto: CUDA where there is one.

    Raises:
        ConfigError: cuda is asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device=cuda needs a CUDA device, and torch sees none", fix="use device=cpu, or auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


class Placement(Protocol):
    """What the trainer leaves to the machines it runs on."""

    @property
    def device(self) -> torch.device: ...

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and shows progress."""
        ...

    def place(self, model: nn.Module) -> nn.Module:
        """The model, moved or sharded."""
        ...

    def share(self, batch: B) -> B:
        """This process's sequences of a batch."""
        ...

    def total(self, sums: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Sums added up over all processes."""
        ...


@dataclass(frozen=True)
class OneDevice:
    """The whole model and the whole batch on one device."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    is_main: bool = True

    def place(self, model: nn.Module) -> nn.Module:
        return model.to(self.device)

    def share(self, batch: B) -> B:
        return batch

    def total(self, sums: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return sums


def split_rows(batch: B, rows: int | None) -> list[B]:
    """The batch cut into batches of at most `rows` sequences: by its own `cut(first, stop)` where it has one, else
    every array of it along its first axis."""
    if hasattr(batch, "cut"):
        size = batch.num_rows()  # type: ignore[attr-defined]
        if rows is None or rows >= size:
            return [batch]
        return [batch.cut(start, min(start + rows, size)) for start in range(0, size, rows)]
    arrays = {entry.name: getattr(batch, entry.name) for entry in fields(batch)}  # type: ignore[arg-type]
    arrays = {name: array for name, array in arrays.items() if isinstance(array, np.ndarray)}
    size = len(next(iter(arrays.values())))
    if rows is None or rows >= size:
        return [batch]
    return [_cut(batch, arrays, start, start + rows) for start in range(0, size, rows)]


def _cut(batch: Any, arrays: Mapping[str, np.ndarray], start: int, stop: int) -> Any:
    return replace(batch, **{name: array[start:stop] for name, array in arrays.items()})
