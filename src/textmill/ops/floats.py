"""What Numba kernels on bf16 and fp32 tensors share: reading and writing their numbers, exp, and rows over threads.

A bf16 number is the upper half of the fp32 number nearest to it. NumPy lacks the type, so kernels get uint16 arrays and
turn each element into fp32 on reading, back with rounding to nearest, ties to even, on writing; both compile to
vector instructions. A kernel written with `widen` and `narrow` serves both types, compiled once for each.
"""

# ruff: noqa: ARG001  (Numba fixes the parameters of an intrinsic and of its code generator)

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from torch import Tensor

from textmill.cores import usable_cores

_I16, _I32, _F32 = ir.IntType(16), ir.IntType(32), ir.FloatType()

FAST = {"reassoc", "contract", "nsz"}
"""What a kernel may do to sums: put them into vector lanes. NaN and infinity keep their meaning."""

SUPPORTED = (torch.float32, torch.bfloat16)


def as_array(tensor: Tensor) -> np.ndarray:
    """The same memory as a flat array of float32, or of uint16 for bf16. The tensor is contiguous."""
    flat = tensor.detach().view(-1)
    array: np.ndarray = (flat.view(torch.uint16) if flat.dtype == torch.bfloat16 else flat).numpy()
    return array


@intrinsic
def widen(typing_context, element):
    """An element of `as_array` as float32."""
    if element not in (types.uint16, types.float32):
        raise TypeError("elements are uint16 (bf16) or float32")

    def generate(context, builder, signature, arguments):
        if element == types.float32:
            return arguments[0]
        bits = builder.shl(builder.zext(arguments[0], _I32), _I32(16))
        return builder.bitcast(bits, _F32)

    return types.float32(element), generate


@intrinsic
def narrow(typing_context, value, like):
    """A float32 as an element of the kind of `like`."""
    if value != types.float32 or like not in (types.uint16, types.float32):
        raise TypeError("float32 becomes uint16 (bf16) or float32")

    def generate(context, builder, signature, arguments):
        number = arguments[0]
        if like == types.float32:
            return number
        bits = builder.bitcast(number, _I32)
        # half of the last kept bit, less one where that bit is even: then cutting off rounds ties to even
        last = builder.and_(builder.lshr(bits, _I32(16)), _I32(1))
        rounded = builder.lshr(builder.add(bits, builder.add(last, _I32(0x7FFF))), _I32(16))
        # NaN may round up into infinity, so it gets its own pattern
        kept = builder.select(builder.fcmp_unordered("uno", number, number), _I32(0x7FC0), rounded)
        return builder.trunc(kept, _I16)

    return like(value, like), generate


@intrinsic
def _power_of_two(typing_context, exponent):
    """2 to a whole float32 in [-126, 127]."""

    def generate(context, builder, signature, arguments):
        whole = builder.fptosi(arguments[0], _I32)
        return builder.bitcast(builder.shl(builder.add(whole, _I32(127)), _I32(23)), _F32)

    return types.float32(types.float32), generate


@njit(inline="always")
def exp(x):
    """e^x in float32, to 2 units in the last place; x is held in [-87, 88]. NaN stays NaN."""
    held = np.float32(-87.0) if x < np.float32(-87.0) else x
    held = np.float32(88.0) if held > np.float32(88.0) else held
    n = np.floor(held * np.float32(1.4426950408889634) + np.float32(0.5))
    # x = n ln 2 + f with |f| <= ln 2 / 2; ln 2 in two parts, the first of which times n is exact
    f = held - n * np.float32(0.693359375) + n * np.float32(2.12194440e-4)
    # e^f by Taylor's series to f^7
    p = np.float32(1 / 5040)
    p = p * f + np.float32(1 / 720)
    p = p * f + np.float32(1 / 120)
    p = p * f + np.float32(1 / 24)
    p = p * f + np.float32(1 / 6)
    p = p * f + np.float32(0.5)
    p = p * f + np.float32(1.0)
    p = p * f + np.float32(1.0)
    return p * _power_of_two(n)


_pool: ThreadPoolExecutor | None = None


def _forget_pool() -> None:
    global _pool
    _pool = None


os.register_at_fork(after_in_child=_forget_pool)


def in_parts(kernel: Callable[..., None], count: int, part: int, *arguments: Any) -> None:
    """Calls kernel(*arguments, start, stop) for consecutive parts of range(count), over as many threads as torch uses.

    Parts have the same bounds for any number of threads, so what a kernel sums up per part is the same too.
    """
    global _pool
    bounds = [(start, min(start + part, count)) for start in range(0, count, part)]
    threads = min(torch.get_num_threads(), len(bounds))
    if threads > 1 and _pool is None:
        _pool = ThreadPoolExecutor(usable_cores(), thread_name_prefix="textmill-kernel")

    def run(first: int) -> None:
        for start, stop in bounds[first::threads]:
            kernel(*arguments, start, stop)

    others = [_pool.submit(run, first) for first in range(1, threads)] if _pool is not None and threads > 1 else []
    if bounds:
        run(0)
    for other in others:
        other.result()
