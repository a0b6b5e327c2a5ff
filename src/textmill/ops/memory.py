"""Raw memory for Numba kernels: loads, stores and bit tricks on plain addresses.

Why: a Numba array handed to an inlined helper is reference-counted at every call, with atomic instructions. The same
splitter ran at 105 MB/s on arrays and above 500 MB/s on addresses. So a kernel takes arrays, asks each once for its
address, and its helpers see whole numbers only.

The rules for a kernel that uses this module:

1. Addresses are int64, machine words (`load64`, hashes, masks) are uint64. Never mix the two in one expression: Numba
   would turn both into float64. Convert with `np.int64(word)` or `np.uint64(number)`.
2. Nothing checks bounds. `load64` reads 8 bytes from any address, aligned or not, so text buffers come from `padded`,
   which puts `PADDING` zero bytes after the end.
3. Numba frees an array after the last line that names it. An address does not count as a mention: name every array
   once more after the raw loop (`keep(array)`), or the loop may read freed memory.

The helpers are written for little-endian machines: the first byte in memory is the lowest byte of a word.
"""

# ruff: noqa: ARG001  (Numba fixes the parameters of an intrinsic and of its code generator)

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

PADDING = 64
"""Zero bytes after the end of a text buffer: room for the widest load plus look-ahead."""

_HASH_SEED = np.uint64(0x9E3779B97F4A7C15)
_HASH_MIX = np.uint64(0xD6E8FEB86659FD93)


def padded(data: bytes | bytearray | memoryview) -> np.ndarray:
    """The bytes of `data` as a fresh writable uint8 array, followed by `PADDING` zero bytes.

    >>> buffer = padded(b"abc")
    >>> buffer[:4].tolist(), len(buffer) - PADDING
    ([97, 98, 99, 0], 3)
    """
    source = np.frombuffer(data, dtype=np.uint8)
    buffer = np.empty(len(source) + PADDING, dtype=np.uint8)
    buffer[: len(source)] = source
    buffer[len(source) :] = 0
    return buffer


def _load(bits: int, *, signed: bool, word: bool = False):
    """An intrinsic that reads `bits` bits from an int64 address; int64 comes back, or uint64 if `word`."""
    result = types.uint64 if word else types.int64

    def load(typing_context, address):
        def generate(context, builder, signature, arguments):
            pointer = builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer())
            value = builder.load(pointer, align=1)
            if bits == 64:
                return value
            return (builder.sext if signed else builder.zext)(value, ir.IntType(64))

        return result(types.int64), generate

    return intrinsic(load)


def _store(bits: int):
    """An intrinsic that writes the low `bits` bits of an int64 or uint64 value to an int64 address."""

    def store(typing_context, address, value):
        if not isinstance(value, types.Integer):
            raise TypeError("only whole numbers can be stored")

        def generate(context, builder, signature, arguments):
            pointer = builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer())
            stored = builder.trunc(arguments[1], ir.IntType(bits)) if bits < 64 else arguments[1]
            builder.store(stored, pointer, align=1)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64 if value.signed else types.uint64), generate

    return intrinsic(store)


load8 = _load(8, signed=False)
"""load8(address) -> int64 in 0..255."""
load16 = _load(16, signed=False)
"""load16(address) -> int64 in 0..65535."""
load32 = _load(32, signed=True)
"""load32(address) -> int64: a signed 32-bit number, such as a token id."""
load64 = _load(64, signed=False, word=True)
"""load64(address) -> uint64: eight bytes as one word."""
load_int64 = _load(64, signed=True)
"""load_int64(address) -> int64: a signed 64-bit number."""
store8 = _store(8)
"""store8(address, value): the low byte."""
store16 = _store(16)
"""store16(address, value): the low two bytes."""
store32 = _store(32)
"""store32(address, value): the low four bytes."""
store64 = _store(64)
"""store64(address, value): all eight bytes of an int64 or a uint64."""


@intrinsic
def count_trailing_zeros(typing_context, word):
    """int64 in 0..64: how many low bits of the uint64 are zero; 64 for 0."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


@intrinsic
def prefetch(typing_context, address):
    """Asks the CPU to bring the cache line at the address near; never faults, whatever the address."""

    def generate(context, builder, signature, arguments):
        number = ir.IntType(32)
        pointer = builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())
        function_type = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], function_type)
        # (pointer, 0 = to read, 3 = keep in every cache level, 1 = data)
        builder.call(function, [pointer, *(ir.Constant(number, value) for value in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@intrinsic
def fold_multiply(typing_context, a, b):
    """uint64: the upper half of the 128-bit product a * b, xor its lower half. Mixes every bit in one instruction."""

    def generate(context, builder, signature, arguments):
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(arguments[0], wide), builder.zext(arguments[1], wide))
        upper = builder.lshr(product, ir.Constant(wide, 64))
        return builder.trunc(builder.xor(upper, product), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


@njit(forceinline=True)
def address_of(array):
    """int64: where the first byte of the array lies. See rule 3 above before using it."""
    return np.int64(array.ctypes.data)


@njit
def keep(array):
    """Mentions the array, so that Numba holds it alive up to this line."""
    return array.size


@njit(forceinline=True)
def bits_of(capacity):
    """int64: k for a table of 2**k entries."""
    bits = np.int64(0)
    while (1 << bits) < capacity:
        bits += 1
    return bits


@njit(forceinline=True)
def low_bytes(word, count):
    """uint64: the first `count` bytes in memory of the word, int64 in 1..8; the others become zero.

    For a text of `count` bytes loaded with `load64`, this drops what follows the text.
    """
    shift = np.uint64(64 - 8 * count)
    return (word << shift) >> shift


@njit(forceinline=True)
def hash_span(address, length):
    """uint64: a hash of `length` bytes. Reads up to 7 bytes beyond them, which do not count."""
    state = _HASH_SEED ^ np.uint64(length)
    while length > 8:
        state = fold_multiply(state ^ load64(address), _HASH_MIX)
        address += 8
        length -= 8
    if length > 0:
        state = fold_multiply(state ^ low_bytes(load64(address), length), _HASH_MIX)
    return fold_multiply(state ^ _HASH_SEED, _HASH_MIX)


@njit(forceinline=True)
def equal_span(a, b, length):
    """bool: whether `length` bytes at address `a` equal those at `b`. Reads up to 7 bytes beyond both."""
    while length >= 8:
        if load64(a) != load64(b):
            return False
        a += 8
        b += 8
        length -= 8
    return length <= 0 or low_bytes(load64(a) ^ load64(b), length) == np.uint64(0)
