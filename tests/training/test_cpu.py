"""What a CPU is told before it trains."""

import sys

import pytest
import torch

from textmill.training import cpu


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's settings")
def test_glibc_agrees() -> None:
    assert cpu.keep_memory()


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not cpu.keep_memory()


def test_threads() -> None:
    before = torch.get_num_threads()
    try:
        assert cpu.tune(1) == torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    assert 1 <= cpu.tune() <= cpu.usable_cores()
    torch.set_num_threads(before)
