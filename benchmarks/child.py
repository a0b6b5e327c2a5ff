"""Runs one function in this process and prints what it returned and the memory it took, as one line of JSON.

Called by `harness.in_child`, and with --serve by `harness.Worker`, which asks for measurements line by line. The peak
is read from /proc inside the process itself: the `ru_maxrss` that a parent gets also counts what the parent held when
it started the child.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.harness import ANSWER


def resident_bytes() -> int:
    return _status("VmRSS")


def peak_bytes() -> int:
    """The most resident memory so far, since the process began or since `forget_peak`."""
    return _status("VmHWM")


def forget_peak() -> None:
    """Starts a new peak from what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {key}")


def main() -> None:
    serve = sys.argv[1] == "--serve"
    place, arguments = sys.argv[1 + serve : 3 + serve]
    module, _, name = place.partition(":")
    returned = getattr(importlib.import_module(module), name)(**json.loads(arguments))
    if not serve:
        _answer({"peak_bytes": peak_bytes(), **(returned or {})})
        return
    facts, measure = returned
    _answer(facts)
    for _ in sys.stdin:
        _answer({"measured": measure()})


def _answer(value: dict[str, Any]) -> None:
    print(ANSWER + json.dumps(value), flush=True)


if __name__ == "__main__":
    main()
