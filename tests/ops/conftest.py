"""How the tests of Triton kernels are run: in Triton's interpreter by `test_gpu_kernels.py`, on CUDA by `-m gpu`."""

from collections.abc import Iterator

import pytest
import torch

from textmill.ops import gpu_kernels, training_kernels


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without the interpreter, kernels need CUDA."""
    if not gpu_kernels.is_interpreted():
        for item in items:
            if item.path.name == "test_gpu.py":
                item.add_marker(pytest.mark.gpu)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """Where the Triton kernels run; nothing runs by a CPU's kernels meanwhile."""
    if not gpu_kernels.is_interpreted() and not torch.cuda.is_available():
        pytest.skip("needs CUDA; tests/ops/test_gpu_kernels.py runs the kernels in Triton's interpreter")

    def refuse(*tensors: torch.Tensor) -> bool:
        raise AssertionError("the Triton kernel was passed over")

    chosen = torch.device("cpu" if gpu_kernels.is_interpreted() else "cuda")
    assert gpu_kernels.serve(torch.zeros(1, device=chosen))
    monkeypatch.setattr(training_kernels, "serve", refuse)
    return chosen


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Memory that is asked for empty holds NaN."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_deterministic_debug_mode("error")
    assert torch.zeros(1).new_empty(3).isnan().all()
    yield
    torch.set_deterministic_debug_mode("default")
