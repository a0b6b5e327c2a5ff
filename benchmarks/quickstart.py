"""`make run` as a newcomer meets it: a fresh clone, a fresh virtual environment, the whole run.

Packages that were downloaded before come from pip's cache. The clone is of what is committed.
"""

import functools
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, Comparison, Goal, Options, RefusedError, Side, SkippedError
from textmill.files import read_json

ABOUT = "`make run` in a fresh clone: wall time in all, and bits per byte on held-out text beside the baselines"
GOALS = ("under 360 s", "bits per byte under 1.55")


def comparisons(options: Options) -> Iterator[Comparison]:
    if options.quick:
        raise SkippedError("the quickstart has one size; run it without --quick")
    facts = _run()
    measured, trained = facts["evaluate"], facts["pretrain"]
    once = {"warm_up": 0, "rounds": 1}
    yield Comparison(
        name="make run in a fresh clone",
        goal=Goal(kind="below", value=360),
        ours=Side(name="textmill", measure=lambda: float(facts["wall_seconds"])),
        sizes={name: f"{seconds:.1f} s" for name, seconds in facts["stage_seconds"].items()},
        **once,
    )
    sizes = {"parameters": trained["parameters"], "tokens": trained["tokens"], "held-out bytes": measured["bytes"]}
    for name, value in measured["baselines"].items():
        yield Comparison(
            name=f"quickstart's held-out text, beside {name}",
            goal=Goal(kind="below", value=1.55),
            ours=Side(name="textmill quickstart", measure=lambda: float(measured["bits_per_byte"])),
            peer=Side(name=name, measure=functools.partial(float, value)),
            unit="bits per byte",
            sizes=sizes,
            **once,
        )


def _run() -> dict[str, Any]:
    """The facts of the run's stages, with the wall time in all and each stage's seconds."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "textmill"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        begun = time.perf_counter()
        done = subprocess.run(["make", "run"], cwd=clone, capture_output=True, text=True)
        wall = time.perf_counter() - begun
        if done.returncode != 0:
            raise RefusedError(f"make run failed: {done.stderr.strip()[-500:]}")
        stages = read_json(clone / "runs" / "quickstart" / "run.json")["stages"]
    facts = {name: stage["facts"] for name, stage in stages.items()}
    return facts | {"wall_seconds": wall, "stage_seconds": {name: stage["seconds"] for name, stage in stages.items()}}
