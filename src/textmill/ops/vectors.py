"""Sixty-four bytes of text at once, for Numba kernels: one comparison gives a mask of 64 bits, bit i for byte i.

As in `ops.memory`, addresses are int64 and masks are uint64; nothing checks bounds, so a text needs its `PADDING`
zero bytes. LLVM turns each function into the vector instructions of the machine at hand: two or three of AVX-512, a few
more of AVX2 or NEON.
"""

# ruff: noqa: ARG001  (Numba fixes the parameters of an intrinsic and of its code generator)

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

VECTOR_BYTES = 64
"""What `bytes_in_range` reads, from any address, aligned or not."""

_BYTE = ir.IntType(8)
_VECTOR = ir.VectorType(_BYTE, VECTOR_BYTES)


def _splat(builder, value):
    """A vector whose every byte is the low byte of the int64 value."""
    byte = builder.trunc(value, _BYTE)
    first = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), byte, ir.Constant(ir.IntType(32), 0))
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), VECTOR_BYTES), [0] * VECTOR_BYTES)
    return builder.shuffle_vector(first, ir.Constant(_VECTOR, ir.Undefined), lanes)


@intrinsic
def bytes_in_range(typing_context, address, raised, first, count):
    """uint64: bit i says whether (byte i | raised) is one of first, first + 1, ..., first + count - 1.

    raised: bits set in each byte before it is compared: 32 makes ASCII letters lower case, 0 changes nothing.
    """

    def generate(context, builder, signature, arguments):
        at, raised, first, count = arguments
        loaded = builder.load(builder.inttoptr(at, _VECTOR.as_pointer()), align=1)
        shifted = builder.sub(builder.or_(loaded, _splat(builder, raised)), _splat(builder, first))
        inside = builder.icmp_unsigned("<", shifted, _splat(builder, count))
        return builder.bitcast(inside, ir.IntType(64))

    return types.uint64(types.int64, types.int64, types.int64, types.int64), generate


@intrinsic
def copy16(typing_context, target, source):
    """Copies 16 bytes from the address `source` to the address `target`, in one load and one store."""

    def generate(context, builder, signature, arguments):
        vector = ir.VectorType(ir.IntType(8), 16)
        target_at, source_at = (builder.inttoptr(address, vector.as_pointer()) for address in arguments)
        builder.store(builder.load(source_at, align=1), target_at, align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def count_leading_zeros(typing_context, word):
    """int64 in 0..64: how many high bits of the uint64 are zero; 64 for 0."""

    def generate(context, builder, signature, arguments):
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


@intrinsic
def count_ones(typing_context, word):
    """int64 in 0..64: how many bits of the uint64 are set."""

    def generate(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate
