"""The kernel that replaces characters one by one; `characters.py` says what it computes."""

from numba import njit

from textmill.ops.memory import address_of, keep, load8, load32, load64, store8, store32, store64

UNKNOWN, SAME, HARD, FIRST_STRING = range(4)
"""Entries: not worked out yet; the character stays; its neighbours count; from here on 3 + the place of a string."""
LOOK_UP = 0xFF
"""In the table of ASCII: the character's entry says it."""
LONGEST_STRING = 255
ROOM = LONGEST_STRING + 9
"""Bytes of `out` that one character may need."""

# places in the state: bytes read and written; the same before the last ASCII character; the code point met
AT, WRITTEN, SAFE_AT, SAFE_WRITTEN, CODE, STATE_WORDS = range(6)
DONE, STOPPED, FULL = range(3)

_ESCAPED = 0xDC00


@njit(forceinline=True)
def _wide(at, end, lead):
    """(code point, its bytes) at a byte above 127. A byte that is not part of valid UTF-8 is a lone surrogate."""
    room = end - at
    if lead >= 0xF0:
        if room >= 4:
            b, d, e = load8(at + 1), load8(at + 2), load8(at + 3)
            code = ((lead & 0x0F) << 18) | ((b & 0x3F) << 12) | ((d & 0x3F) << 6) | (e & 0x3F)
            if (b & 0xC0) == (d & 0xC0) == (e & 0xC0) == 0x80 and 0x10000 <= code < 0x110000:
                return code, 4
    elif lead >= 0xE0:
        if room >= 3:
            b, d = load8(at + 1), load8(at + 2)
            code = ((lead & 0x0F) << 12) | ((b & 0x3F) << 6) | (d & 0x3F)
            if (b & 0xC0) == (d & 0xC0) == 0x80 and code >= 0x800 and (code >> 11) != 0x1B:
                return code, 3
    elif lead >= 0xC2 and room >= 2:
        b = load8(at + 1)
        if (b & 0xC0) == 0x80:
            return ((lead & 0x1F) << 6) | (b & 0x3F), 2
    return _ESCAPED + lead, 1


@njit(cache=True, nogil=True)
def replace_characters(text, length, entries, ascii_bytes, strings, out, state):
    """`DONE`; `STOPPED` before a character whose entry is `UNKNOWN` or `HARD`; `FULL`: `out` has no room for one more.

    Args:
        text: uint8, from `padded`; `length` bytes of it count.
        entries: int32 [code points].
        ascii_bytes: uint8 [128]: the byte that stands for each ASCII character, or `LOOK_UP`.
        strings: uint8: at each place a length, then so many bytes; 8 bytes longer than they are.
        state: int64 [STATE_WORDS], goes on where it stopped.
    """
    origin, buffer = address_of(text), address_of(out)
    table, single, pool = address_of(entries), address_of(ascii_bytes), address_of(strings)
    at, end = origin + state[AT], origin + length
    put, full = buffer + state[WRITTEN], buffer + len(out) - ROOM
    safe, safe_put = origin + state[SAFE_AT], buffer + state[SAFE_WRITTEN]
    status = DONE
    while at < end:
        if put > full:
            status = FULL
            break
        lead = load8(at)
        if lead < 0x80:
            safe, safe_put = at, put
            byte = load8(single + lead)
            if byte != LOOK_UP:
                store8(put, byte)
                put += 1
                at += 1
                continue
            code, width = lead, 1
        else:
            code, width = _wide(at, end, lead)
        entry = load32(table + (code << 2))
        if entry == SAME:
            store32(put, load32(at))
            put += width
        elif entry >= FIRST_STRING:
            string = pool + entry - FIRST_STRING
            size = load8(string)
            for i in range(0, size, 8):
                store64(put + i, load64(string + 1 + i))
            put += size
        else:
            state[CODE] = code
            status = STOPPED
            break
        at += width
    state[AT], state[WRITTEN] = at - origin, put - buffer
    state[SAFE_AT], state[SAFE_WRITTEN] = safe - origin, safe_put - buffer
    keep(text), keep(entries), keep(ascii_bytes), keep(strings), keep(out)
    return status
