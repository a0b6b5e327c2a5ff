"""Copies the pieces that are to be kept one after another, and notes where each byte came from."""

from numba import njit

from textmill.ops.memory import address_of, keep, load8, load32, load64, store32, store64


@njit(cache=True, nogil=True)
def compact(text, start, ends, marks, kept, out, out_ends, sources):
    """How many pieces were kept: those whose mark is `kept`.

    Args:
        text: uint8, from `padded`.
        ends: int32, the end of each piece relative to `start`.
        marks: uint8, one a piece.
        out: uint8, receives the kept bytes; 8 bytes longer than they are.
        out_ends: int32, receives the end of each kept piece in `out`.
        sources: int32, receives for each kept byte its place relative to `start`; empty: not wanted.
    """
    origin = address_of(text) + start
    end, mark = address_of(ends), address_of(marks)
    buffer, out_end, source = address_of(out), address_of(out_ends), address_of(sources)
    first_end = out_end
    at = 0
    length = 0
    for piece in range(len(ends)):
        stop = load32(end + 4 * piece)
        if load8(mark + piece) == kept:
            for place in range(0, stop - at, 8):
                store64(buffer + length + place, load64(origin + at + place))
            if len(sources) > 0:
                for place in range(at, stop):
                    store32(source, place)
                    source += 4
            length += stop - at
            store32(out_end, length)
            out_end += 4
        at = stop
    keep(text)
    keep(ends)
    keep(marks)
    keep(out)
    keep(out_ends)
    keep(sources)
    return (out_end - first_end) >> 2
