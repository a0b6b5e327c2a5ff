"""The pieces of the benchmark that needs a GPU, at sizes that a CPU trains in a moment."""

from typing import Any

import pytest
import torch
from benchmarks.harness import Options, RefusedError, SkippedError, Worker

from benchmarks import gpu_step

TINY = {
    "gpt": {"vocab_size": 61, "width": 16, "num_layers": 1, "num_heads": 2},
    "llama": {"vocab_size": 61, "width": 16, "num_layers": 1, "num_heads": 2, "num_kv_heads": 1},
}


def arguments(kind: str) -> dict[str, Any]:
    sizes = {"batch_size": 4, "context_length": 32, "steps": 2}
    return {"kind": kind, "settings": TINY[kind], "device": "cpu", "compiled": False, **sizes}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_cuda_it_is_skipped() -> None:
    with pytest.raises(SkippedError, match="no CUDA device"):
        next(iter(gpu_step.comparisons(Options())))


@pytest.mark.parametrize("kind", TINY)
def test_our_side_trains(kind: str) -> None:
    facts, measure = gpu_step.ours(**arguments(kind))
    # log 61, as nothing is learned yet
    assert facts["loss"] == pytest.approx(4.11, abs=0.1)
    assert facts["sizes"]["batch_size"] == 4
    assert facts["seconds_at_peak"] > 0
    assert measure() > 0


def test_losses_that_differ_are_refused() -> None:
    gpu_step.same_loss({"loss": 4.0}, {"loss": 4.01})
    with pytest.raises(RefusedError, match=r"4\.0000 by textmill and 4\.1000"):
        gpu_step.same_loss({"loss": 4.0}, {"loss": 4.1})


@pytest.mark.slow
@pytest.mark.parametrize("kind", TINY)
def test_both_sides_begin_with_the_same_loss(kind: str) -> None:
    with (
        Worker("benchmarks.gpu_step:ours", arguments(kind)) as ours,
        Worker("benchmarks.gpu_step:peer", arguments(kind)) as peer,
    ):
        gpu_step.same_loss(ours.facts, peer.facts)
        assert ours.measure() > 0
        assert peer.measure() > 0
