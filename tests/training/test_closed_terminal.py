"""A run in a terminal that is closed: it ends with a checkpoint, and the same command goes on to the same weights."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("terminal_run.py")


def digest(folder: Path) -> str:
    return (folder / "done").read_text()


@pytest.mark.slow
def test_the_same_command_goes_on_after_the_terminal_is_closed(tmp_path: Path) -> None:
    whole, closed = tmp_path / "whole", tmp_path / "closed"
    subprocess.run([sys.executable, str(SCRIPT), str(whole)], check=True, capture_output=True)
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [sys.executable, str(SCRIPT), str(closed)])
    metrics, until = closed / "metrics.jsonl", time.monotonic() + 300
    while not (metrics.exists() and metrics.read_text().count("\n") >= 3):
        assert time.monotonic() < until, "the run doesn't begin"
        time.sleep(0.02)
    # what a terminal's window does when it is closed: the system sends SIGHUP to who runs in it
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    assert os.WIFEXITED(status)
    assert os.WEXITSTATUS(status) == 128 + signal.SIGHUP
    assert not (closed / "done").exists()
    assert len(list((closed / "checkpoints").glob("step-*"))) == 1
    again = subprocess.run([sys.executable, str(SCRIPT), str(closed)], check=True, capture_output=True, text=True)
    assert "training: going on from step" in again.stderr
    assert digest(closed) == digest(whole)
