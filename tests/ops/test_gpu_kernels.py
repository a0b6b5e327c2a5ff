"""The choice of Triton's kernels, and a run of all their tests in Triton's interpreter."""

import importlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from textmill.ops import gpu_kernels

FOLDER = Path(__file__).parent


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton isn't installed")
def test_the_kernels_in_triton_s_interpreter() -> None:
    """In a process of its own: whether Triton interprets is settled when it is first imported."""
    files = [str(path) for path in (FOLDER / "test_gpu.py", *sorted(FOLDER.glob("*/test_gpu.py")))]
    assert len(files) == 5
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *files]
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=FOLDER.parents[1], env=environment)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert re.search(r"\d+ passed in", done.stdout), f"some were skipped: {done.stdout[-300:]}"


NORM = {"ROWS": 1, "WIDTH": 2048}
HEADS = {"ROWS": 32, "HALF": 32, "NORMALISED": True}
LOSS = {"IGNORED": -100, "CAPPED": True, "WITH_GRADIENTS": True, "BLOCK": 4096}
# x: bf16 tensor, f: fp32 tensor, t: int64 tensor, i: integer, s: number
KERNELS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("rms_norm", "_forward", "xxx ii s", NORM),
    ("rms_norm", "_backward", "xxxxf ii s", NORM),
    ("gated", "_forward", "xxx i", {"BLOCK": 1024}),
    ("gated", "_backward", "xxxxx i", {"BLOCK": 1024, "WITH_WIDE": True}),
    ("rotary", "_forward", "xxxx xxx iiii s", HEADS),
    ("rotary", "_backward", "xxxx xxx xf iiiii s", HEADS),
    ("cross_entropy", "_row", "xtf ii sss", LOSS),
]


@pytest.mark.slow
@pytest.mark.parametrize(("operation", "name", "types", "constants"), KERNELS)
def test_the_kernels_compile_for_hopper(
    operation: str, name: str, types: str, constants: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To machine code, for which no GPU is needed: the interpreter lets pass what the compiler doesn't."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernel = getattr(importlib.import_module(f"textmill.ops.{operation}.gpu"), name)
    names = {"x": "*bf16", "f": "*fp32", "t": "*i64", "i": "i32", "s": "fp32"}
    given = iter(types.replace(" ", ""))
    signature = {arg: "constexpr" if arg in constants else names[next(given)] for arg in kernel.arg_names}
    fixed = {(kernel.arg_names.index(key),): value for key, value in constants.items()}
    source = ASTSource(fn=kernel, signature=signature, constexprs=fixed)
    assert next(given, None) is None
    assert triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["cubin"]


def test_what_the_kernels_take(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.zeros(1)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert not gpu_kernels.serve(x)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert gpu_kernels.serve(x)
    assert gpu_kernels.serve(x, torch.nn.Parameter(x))
    assert not gpu_kernels.serve(x.double())
    assert not gpu_kernels.serve(x, x.bfloat16())
    assert not gpu_kernels.serve(x.to("meta"))
    with torch.no_grad():
        assert not gpu_kernels.serve(x)
        assert gpu_kernels.take(x)


def test_a_missing_triton_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    gpu_kernels.has_triton.cache_clear()
    try:
        with pytest.warns(UserWarning, match=r"Triton isn't installed.*Fix: pip install triton") as warned:
            found = [gpu_kernels.has_triton() for _ in range(2)]
        assert (found, len(warned)) == ([False, False], 1)
    finally:
        gpu_kernels.has_triton.cache_clear()


def test_tasks_are_shared_out() -> None:
    cpu = torch.device("cpu")
    assert [gpu_kernels.num_programs(cpu, tasks) for tasks in (0, 1, 2, 100)] == [1, 1, 2, 3]
