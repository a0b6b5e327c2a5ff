"""The numbers of kernels against torch's own conversions and exp."""

import numpy as np
import pytest
import torch
from numba import njit

from textmill.ops import floats


@njit
def widened(elements, out):
    for i in range(len(elements)):
        out[i] = floats.widen(elements[i])


@njit
def narrowed(values, out):
    for i in range(len(values)):
        out[i] = floats.narrow(values[i], out[i])


@njit(fastmath=floats.FAST, error_model="numpy")
def powers(values, out):
    for i in range(len(values)):
        out[i] = floats.exp(values[i])


def test_every_bf16_number_is_widened_and_narrowed_back() -> None:
    numbers = torch.arange(1 << 16, dtype=torch.int32).to(torch.uint16).view(torch.bfloat16)
    wide = np.empty(1 << 16, np.float32)
    widened(floats.as_array(numbers), wide)
    np.testing.assert_array_equal(wide, numbers.float().numpy())
    back = torch.empty_like(numbers)
    narrowed(wide, floats.as_array(back))
    torch.testing.assert_close(back, numbers, rtol=0, atol=0, equal_nan=True)


def test_rounding_is_torch_s() -> None:
    generator = torch.Generator().manual_seed(0)
    bits = torch.randint(-(2**31), 2**31, (100_000,), generator=generator).to(torch.int32)
    # ties, and the numbers beside them
    ties = (bits[:1000] & -65536) | 0x8000
    values = torch.cat((bits, ties, ties - 1, ties + 1)).view(torch.float32)
    rounded = torch.empty(len(values), dtype=torch.bfloat16)
    narrowed(values.numpy(), floats.as_array(rounded))
    torch.testing.assert_close(rounded, values.bfloat16(), rtol=0, atol=0, equal_nan=True)


def test_exp() -> None:
    x = np.linspace(-87, 88, 1_000_001, dtype=np.float32)
    out = np.empty_like(x)
    powers(x, out)
    np.testing.assert_allclose(out, np.exp(x.astype(np.float64)), rtol=3e-7)
    edges = np.array([0, -np.inf, np.inf, np.nan], np.float32)
    powers(edges, out[:4])
    assert out[0] == 1
    assert 0 <= out[1] < 1e-37
    assert 1e38 < out[2] < np.inf
    assert np.isnan(out[3])


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 10, 101])
def test_parts_tile_the_range(monkeypatch: pytest.MonkeyPatch, threads: int, count: int) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    seen: list[tuple[int, int]] = []
    floats.in_parts(lambda start, stop: seen.append((start, stop)), count, 10)
    assert sorted(seen) == [(start, min(start + 10, count)) for start in range(0, count, 10)]


def test_an_error_in_a_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)

    def fails_late(start: int, stop: int) -> None:
        if start:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        floats.in_parts(fails_late, 20, 10)
