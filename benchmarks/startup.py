"""How long a person waits for `textmill --help`, and a program for `import textmill`."""

import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.harness import Comparison, Goal, Options, RefusedError, Side, process_seconds

ABOUT = "`textmill --help` and `import textmill`, whole processes"
GOALS = ("textmill --help under 0.3 s", "import textmill under 0.15 s")

_CHECK_IMPORT = "import sys, textmill; sys.exit(bool({'torch', 'numba', 'numpy'} & set(sys.modules)))"


def comparisons(options: Options) -> Iterator[Comparison]:
    del options  # nothing here can be made smaller
    command = [str(Path(sysconfig.get_path("scripts")) / "textmill"), "--help"]
    bare = Side(name="python -c pass", measure=partial(process_seconds, [sys.executable, "-c", "pass"]))
    yield Comparison(
        name="textmill --help",
        goal=Goal(kind="below", value=0.3),
        ours=Side(name="textmill --help", measure=partial(process_seconds, command)),
        peer=bare,
        check=partial(_helps, command),
        warm_up=2,
    )
    yield Comparison(
        name="import textmill",
        goal=Goal(kind="below", value=0.15),
        ours=Side(name="import textmill", measure=partial(process_seconds, [sys.executable, "-c", "import textmill"])),
        peer=bare,
        check=_nothing_heavy,
        warm_up=2,
    )


def _helps(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0 or "pretrain" not in done.stdout:
        raise RefusedError(f"{Path(command[0]).name} --help shows no help: {done.stderr.strip()[-300:]}")


def _nothing_heavy() -> None:
    try:
        process_seconds([sys.executable, "-c", _CHECK_IMPORT])
    except RefusedError:
        raise RefusedError("import textmill brings torch, numba or numpy along") from None
