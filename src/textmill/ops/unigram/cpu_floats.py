"""Floating-point numbers at raw addresses, beside the whole numbers of `ops.memory`."""

# ruff: noqa: ARG001  (Numba fixes the parameters of an intrinsic and of its code generator)

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

# Numba's types leave the last two options out
helper = njit(forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)  # type: ignore[call-overload]
"""For parts of kernels; without the two wrappers that Python would call, they compile in two thirds of the time."""


@intrinsic
def load_float64(typing_context, address):
    """float64: the number at an int64 address, aligned or not."""

    def generate(context, builder, signature, arguments):
        return builder.load(builder.inttoptr(arguments[0], ir.DoubleType().as_pointer()), align=1)

    return types.float64(types.int64), generate


@intrinsic
def load_float32(typing_context, address):
    """float64: the value of the float32 at an int64 address, aligned or not."""

    def generate(context, builder, signature, arguments):
        value = builder.load(builder.inttoptr(arguments[0], ir.FloatType().as_pointer()), align=1)
        return builder.fpext(value, ir.DoubleType())

    return types.float64(types.int64), generate


@intrinsic
def store_float64(typing_context, address, value):
    """Writes a float64 to an int64 address."""

    def generate(context, builder, signature, arguments):
        builder.store(arguments[1], builder.inttoptr(arguments[0], ir.DoubleType().as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.float64), generate


@intrinsic
def store_float32(typing_context, address, value):
    """Writes a float64, rounded to float32, to an int64 address."""

    def generate(context, builder, signature, arguments):
        pointer = builder.inttoptr(arguments[0], ir.FloatType().as_pointer())
        builder.store(builder.fptrunc(arguments[1], ir.FloatType()), pointer, align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.float64), generate


@intrinsic
def exponent_of(typing_context, value):
    """int64: the twelve highest bits of a float64: the sign and the exponent."""

    def generate(context, builder, signature, arguments):
        return builder.lshr(builder.bitcast(arguments[0], ir.IntType(64)), ir.Constant(ir.IntType(64), 52))

    return types.int64(types.float64), generate


@helper
def rounded(value, single):
    """float64: the value, rounded to the nearest float32 if `single`."""
    if single:
        return np.float64(np.float32(value))
    return value
