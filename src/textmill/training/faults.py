"""What goes wrong in a run, found while it trains and told with the batch that was there.

spike          the loss stands far above those before it: z = 0.6745 (loss - median) / MAD over the last losses
bad step       loss or gradient is no finite number (`training.nonfinite`)
dead expert    a router sends hardly a token to an expert

z is a number of standard deviations where losses are normally distributed. One spike moves neither the median nor the
median absolute deviation (MAD), by which the next one is judged.

Source: Iglewicz and Hoaglin 1993, "How to Detect and Handle Outliers", section 3.3.
"""

import math
import statistics
import sys
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from textmill.training.batches import Batches, digest
from textmill.training.hooks import Hook, JsonLines, RunRecord, StepRecord, whole_lines
from textmill.training.nonfinite import BadStep

SHOWN_ROWS, SHOWN_TOKENS = 4, 24
"""Of a batch, the rows that are told, and how much of each."""
LEAST_MAD = 1e-3
"""As a part of the median: losses that hardly move make no spike of a small step."""


class Decoder(Protocol):
    """Ids back to text: any tokenizer."""

    def decode(self, ids: Any) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One line of `faults.jsonl`."""

    kind: Literal["spike", "bad_step", "dead_expert"]
    step: int
    """The update, counted from 1."""
    what: str
    """In words."""
    batch: Mapping[str, Any]
    """Its `number`, as `Batches.batch` counts; a `digest` of its arrays; its `rows` and `tokens`; and how its first
    rows begin, in `ids` and, with a tokenizer, in `texts`."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """The figures."""


class Spikes:
    """Judges each loss by those before it.

    >>> spikes = Spikes(window=20, threshold=6.0)
    >>> [z for z in (spikes.judge(2.0 + 0.01 * (i % 3)) for i in range(20)) if z is not None]
    []
    >>> round(spikes.judge(2.5))
    33
    """

    def __init__(self, window: int = 100, threshold: float = 8.0, least: int = 20) -> None:
        self.losses: deque[float] = deque(maxlen=window)
        self.threshold, self.least = threshold, least

    def judge(self, loss: float) -> float | None:
        """z where it reaches the threshold, else None; the loss counts for those after it."""
        found = None
        if len(self.losses) >= self.least:
            middle = self.median
            spread = statistics.median(abs(each - middle) for each in self.losses)
            z = 0.6745 * (loss - middle) / max(spread, LEAST_MAD * abs(middle), 1e-12)
            found = z if z >= self.threshold else None
        self.losses.append(loss)
        return found

    @property
    def median(self) -> float:
        """Of the losses so far; nan before the first."""
        return statistics.median(self.losses) if self.losses else math.nan


class ExpertWatch:
    """Adds up how a trunk's tokens are spread, and says who gets none.

    Of a batch that is cut in parts the last part is looked at, every `every` steps; an expert is dead when its mean
    share over `window` looks is below a twentieth of an equal share.
    """

    DEAD = 0.05

    def __init__(self, every: int = 10, window: int = 10) -> None:
        self.every, self.window = every, window
        self.shares: dict[int, deque[np.ndarray]] = {}
        self.dead: set[tuple[int, int]] = set()

    def look(self, trunk: Any) -> list[tuple[int, int, float]]:
        """(layer, expert, share of all choices) of the experts that have died since the last look."""
        found = []
        for load in trunk.expert_load():
            shares = self.shares.setdefault(load.layer, deque(maxlen=self.window))
            shares.append(load.share.float().cpu().numpy())
            if len(shares) < self.window:
                continue
            mean = np.mean(shares, axis=0)
            for expert, share in enumerate(mean.tolist()):
                is_dead = share < self.DEAD / len(mean)
                if is_dead and (load.layer, expert) not in self.dead:
                    found.append((load.layer, expert, share))
                (self.dead.add if is_dead else self.dead.discard)((load.layer, expert))
        return found


class FaultWatch(Hook):
    """Finds faults, tells them on stderr, and writes one line each to `path` (faults.jsonl).

    The batch is made again from its number when a fault is found; nothing is kept of the others. When a run goes on
    from a checkpoint, faults beyond it are dropped, since their steps come again; the losses that spikes are judged by
    are taken from `history`.

    Args:
        model: for its experts; a model without a trunk of ours has none.
        tokenizer: to show a batch's text.
        history: the `JsonLines` file of the same run.
        tell: where faults are told.
    """

    def __init__(
        self,
        path: Path,
        batches: Batches,
        *,
        model: Any = None,
        tokenizer: Decoder | None = None,
        history: Path | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.lines = JsonLines(path)
        self.batches, self.tokenizer, self.history = batches, tokenizer, history
        trunk = getattr(model, "trunk", None)
        self.trunk: Any = trunk if hasattr(trunk, "expert_load") else None
        self.tell = tell or _on_stderr
        self.spikes, self.experts = Spikes(), ExpertWatch()

    def on_start(self, run: RunRecord) -> None:
        self.lines.on_start(run)
        if run.first_step and self.history is not None:
            earlier = (line for line in whole_lines(self.history) if line.get("kind") == "step")
            losses = [line["loss"] for line in earlier if line["step"] <= run.first_step]
            self.spikes.losses.extend(losses)

    def on_step(self, record: StepRecord) -> None:
        median = self.spikes.median
        z = self.spikes.judge(record.loss)
        if z is not None:
            self._report(
                "spike",
                record.step,
                f"the loss is {record.loss:.3f}, {z:.0f} deviations above {median:.3f}, the median before",
                {"loss": record.loss, "median": median, "z": z, "gradient_norm": record.gradient_norm},
            )
        if self.trunk is not None and record.step % self.experts.every == 0:
            for layer, expert, share in self.experts.look(self.trunk):
                self._report(
                    "dead_expert",
                    record.step,
                    f"expert {expert} of layer {layer} gets {share:.2%} of the choices",
                    {"layer": layer, "expert": expert, "share": share},
                )

    def on_bad_step(self, bad: BadStep) -> None:
        then = "left out" if bad.skipped else "the run stops"
        details = {key: value for key, value in asdict(bad).items() if key != "step"}
        self._report("bad_step", bad.step, f"the {bad.what}; {then}", details)

    def on_end(self) -> None:
        self.lines.on_end()

    def _report(self, kind: Any, step: int, what: str, details: Mapping[str, Any]) -> None:
        batch = described(self.batches.batch(step - 1), self.tokenizer)
        fault = Fault(kind=kind, step=step, what=what, batch={"number": step - 1, **batch}, details=details)
        self.lines.write(asdict(fault))
        begins = next(iter(batch.get("texts", batch["ids"])), "")
        self.tell(f"step {step:,}: {what}; batch {step - 1:,} begins {str(begins)[:60]!r}")


def described(batch: Any, tokenizer: Decoder | None = None) -> dict[str, Any]:
    """What identifies a batch.

    >>> from textmill.data.batches import Batch
    >>> tokens = np.arange(6).reshape(2, 3)
    >>> found = described(Batch(tokens=tokens, targets=tokens))
    >>> found["rows"], found["tokens"], found["ids"]
    (2, 6, [[0, 1, 2], [3, 4, 5]])
    """
    tokens = batch.tokens
    if tokens.ndim == 2:
        rows = [row[:SHOWN_TOKENS].tolist() for row in tokens[:SHOWN_ROWS]]
        count = len(tokens)
    else:
        bounds = pairwise(batch.starts[: SHOWN_ROWS + 1])
        rows = [tokens[begin : min(end, begin + SHOWN_TOKENS)].tolist() for begin, end in bounds]
        count = len(batch.starts) - 1
    found: dict[str, Any] = {"digest": digest(batch), "rows": count, "tokens": int(tokens.size), "ids": rows}
    if tokenizer is not None:
        found["texts"] = [tokenizer.decode(row) for row in rows]
    return found


def _on_stderr(text: str) -> None:
    # whoever reads stderr may go away; training goes on
    with suppress(OSError):
        print(f"training: {text}", file=sys.stderr, flush=True)
