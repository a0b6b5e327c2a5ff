"""The kernel, and torch's way, against the definition in float64."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.ops.lion import cpu, lion_step, reference

SETTINGS = {"rate": 0.01, "decay": 0.3, "betas": (0.9, 0.95)}


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def triple(*shape: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weight, gradient, mean = (torch.randn(*shape, generator=generator) for _ in range(3))
    return weight, gradient, mean


def expected(weight: torch.Tensor, gradient: torch.Tensor, mean: torch.Tensor) -> list[torch.Tensor]:
    wide = [part.double() for part in (weight, gradient, mean)]
    reference.lion_step(*wide, **SETTINGS)
    return wide


def assert_is_the_definition(given: tuple[torch.Tensor, ...], truth: list[torch.Tensor]) -> None:
    for ours, exact in zip(given, truth, strict=True):
        torch.testing.assert_close(ours.double(), exact, rtol=1e-5, atol=1e-6)


@settings(deadline=None, max_examples=30)  # the first example compiles
@given(st.lists(st.integers(0, 7), min_size=1, max_size=3), st.integers(0, 99))
def test_it_is_the_definition(shape: list[int], seed: int) -> None:
    parts = triple(*shape, seed=seed)
    truth = expected(*parts)
    lion_step(*([part] for part in parts), **SETTINGS)
    assert_is_the_definition(parts, truth)


@pytest.mark.parametrize("size", [cpu.PART - 1, cpu.PART, cpu.PART + 1, 3 * cpu.PART + 7])
def test_sizes_around_a_part(size: int) -> None:
    parts = triple(size)
    truth = expected(*parts)
    cpu.lion_step(*parts, **SETTINGS)
    assert_is_the_definition(parts, truth)


def test_a_direction_of_zero_moves_nothing() -> None:
    weight, mean = torch.ones(4), torch.zeros(4)
    cpu.lion_step(weight, torch.zeros(4), mean, rate=0.5, decay=0.0, betas=(0.9, 0.99))
    assert weight.tolist() == [1.0] * 4


@pytest.mark.parametrize("kind", ["float64", "strided"])
def test_what_the_kernel_refuses_goes_through_torch(kind: str) -> None:
    parts = triple(6, 5)
    parts = tuple(part.double() if kind == "float64" else part.T for part in parts)  # type: ignore[assignment]
    assert not cpu.serves(*parts)
    truth = expected(*parts)
    lion_step(*([part] for part in parts), **SETTINGS)
    assert_is_the_definition(parts, truth)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_other_shapes_and_strides_never_reach_the_kernel(which: int) -> None:
    short, strided = list(triple(8)), list(triple(4, 4))
    short[which] = short[which][:5]
    strided[which] = strided[which].T
    for parts in (short, strided):
        with pytest.raises(AssertionError):
            cpu.lion_step(*parts, **SETTINGS)
