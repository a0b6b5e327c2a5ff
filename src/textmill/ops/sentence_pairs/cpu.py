"""The sentence pairs of `reference`, in Numba, found by their number.

`index_pairs` goes through the sentence table once, without reading an id, and remembers where every fourth pair begins.
`make_pairs` starts there, so any pair is found at once wherever it lies: a corpus of a billion ids and about nine
million pairs needs an index of 36 MB, and no pair is ever stored. `fill_pairs` copies the ids.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np

from textmill.ops.memory import address_of, keep, load16, load32, load_int64, prefetch, store64
from textmill.ops.permutation.reference import GOLDEN
from textmill.ops.sentence_pairs.reference import PairRules

EVERY = 4
"""A pair's chunk is looked for from the last pair before it whose number is a multiple of this."""

_GOLDEN = np.uint64(GOLDEN)
_FACTOR_1 = np.uint64(0xBF58476D1CE4E5B9)
_FACTOR_2 = np.uint64(0x94D049BB133111EB)
_HALF = np.uint64(1 << 63)


class Documents(NamedTuple):
    """The sentences of a corpus; made by `documents_of`, which checks what the kernels rely on."""

    firsts: np.ndarray
    """int64 [D]: where each document's bounds begin in `bounds`."""
    counts: np.ndarray
    """int64 [D]: its sentences, at least one."""
    bounds: np.ndarray
    """int64: positions of sentences in the ids, one more than sentences for each document."""


class PairIndex(NamedTuple):
    """What it takes to make any pair of one copy; made by `index_pairs`."""

    documents: Documents
    key: int
    rules: PairRules
    num_pairs: int
    starts: np.ndarray
    """int64 [., 2]: document and sentence that pairs 0, EVERY, 2 EVERY ... begin with."""


def documents_of(counts: np.ndarray, bounds: np.ndarray) -> Documents:
    """The documents that have a sentence.

    Args:
        counts: sentences of each document.
        bounds: for each document one position more than it has sentences, ascending, all documents' in a row.

    >>> documents_of(np.array([2, 0, 1]), np.array([0, 3, 5, 6, 7, 9])).firsts
    array([0, 4])
    """
    counts, bounds = np.ascontiguousarray(counts, np.int64), np.ascontiguousarray(bounds, np.int64)
    assert counts.ndim == bounds.ndim == 1
    assert len(counts) < 1 << 32
    assert len(counts) == 0 or 0 <= counts.min() <= counts.max() < 1 << 32
    ends = np.cumsum(counts + 1)
    assert len(bounds) == (ends[-1] if len(ends) else 0), "bounds do not match the counts"
    real = counts > 0
    documents = Documents((ends - counts - 1)[real], counts[real], bounds)
    assert _ascending(*documents), "a sentence without an id, or before position 0"
    return documents


def index_pairs(documents: Documents, key: int, rules: PairRules) -> PairIndex:
    """Counts the pairs of one copy and remembers where some begin.

    Raises nothing for a corpus that makes no pair: `num_pairs` is 0 then.
    """
    # one type each, so that the kernels are compiled once
    rules = PairRules(int(rules.max_tokens), float(rules.short_probability), bool(rules.sentence_order))
    assert 2 <= rules.max_tokens < 1 << 32
    assert rules.sentence_order or len(documents.counts) != 1, "there is no other document"
    # a chunk has one sentence at least and is a pair at most; the last row is for the end
    starts = np.empty((int(documents.counts.sum()) // EVERY + 2, 2), np.int64)
    number = _index(*documents, _word(key), *rules, starts)
    return PairIndex(documents, key, rules, number, starts[: -(-number // EVERY)].copy())


def make_pairs(index: PairIndex, numbers: np.ndarray) -> np.ndarray:
    """int64 [n, 5]: a_begin, a_end, b_begin, b_end, label of the pairs of these numbers, as in `reference.Pair`."""
    numbers = np.ascontiguousarray(numbers, np.int64)
    assert numbers.ndim == 1
    assert len(numbers) == 0 or (numbers.min() >= 0 and numbers.max() < index.num_pairs), "no pair of that number"
    pairs = np.empty((len(numbers), 5), np.int64)
    _make(*index.documents, _word(index.key), *index.rules, index.starts, numbers, pairs)
    return pairs


class TokenFiles:
    """The ids of a corpus in files, as `fill_pairs` reads them.

    Args:
        files: the position of its first id, and the ids (uint16 or uint32, all the same), of each file, in order.
    """

    def __init__(self, files: Sequence[tuple[int, np.ndarray]]) -> None:
        arrays = [ids for _, ids in files]
        assert len({ids.dtype for ids in arrays}) <= 1
        assert all(ids.ndim == 1 and ids.flags.c_contiguous for ids in arrays)
        assert all(ids.dtype.kind == "u" and ids.dtype.itemsize in (2, 4) and ids.dtype.isnative for ids in arrays)
        self.width = arrays[0].dtype.itemsize if arrays else 2
        rows = [(begin, begin + len(ids), ids.ctypes.data) for begin, ids in files]
        self.table = np.array(rows, np.int64).reshape(-1, 3)
        """int64 [files, 3]: first position, position after the last, address of the first id."""
        # while the table is there, so is what it points to
        self._arrays = arrays


def fill_pairs(
    pairs: np.ndarray, files: TokenFiles, cls_id: int, sep_id: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(tokens int64 [N], starts int64 [n + 1], types int64 [N]) of the pairs, one after the other.

    Args:
        pairs: int64 [n, 5], as `make_pairs` gives them. A and B lie within one file each.
    """
    pairs = np.ascontiguousarray(pairs, np.int64)
    assert pairs.ndim == 2
    assert pairs.shape[1] == 5
    starts, places = np.empty(len(pairs) + 1, np.int64), np.empty((len(pairs), 2), np.int64)
    size = _measure(pairs, files.table, files.width, starts, places)
    assert size >= 0, "a segment outside the files"
    tokens, types = np.empty(size, np.int64), np.empty(size, np.int64)
    _fill(pairs, places, files.width, cls_id, sep_id, tokens, types)
    return tokens, starts, types


def _word(key: int) -> np.uint64:
    return np.uint64(key & ((1 << 64) - 1))


@numba.njit(cache=True, nogil=True)
def _ascending(firsts, counts, bounds):
    for document in range(len(firsts)):
        first = firsts[document]
        if bounds[first] < 0:
            return False
        for place in range(first, first + counts[document]):
            if bounds[place + 1] <= bounds[place]:
                return False
    return True


@numba.njit(cache=True, nogil=True)
def _index(firsts, counts, bounds, key, max_tokens, short_probability, sentence_order, starts):
    table = address_of(bounds)
    number = np.int64(0)
    for document in range(len(firsts)):
        own, end = table + 8 * firsts[document], counts[document]
        document_key = _sub_key(key, document)
        target = _target(document_key, max_tokens, short_probability)
        first = np.int64(0)
        while first < end:
            stop = _chunk_end(own, first, end, target)
            if not sentence_order or stop - first > 1 or _length(own, first, stop) > 1:
                if number % EVERY == 0:
                    starts[number // EVERY, 0] = document
                    starts[number // EVERY, 1] = first
                number += 1
            _, first, _ = _cut(first, stop, document_key, sentence_order)
    keep(bounds)
    return number


@numba.njit(cache=True, nogil=True)
def _make(firsts, counts, bounds, key, max_tokens, short_probability, sentence_order, starts, numbers, pairs):
    table, out = address_of(bounds), address_of(pairs)
    _ask_ahead(firsts, counts, table, starts, numbers)
    for row in range(len(numbers)):
        document, first = starts[numbers[row] // EVERY, 0], starts[numbers[row] // EVERY, 1]
        skipped = numbers[row] % EVERY
        while True:
            own, end = table + 8 * firsts[document], counts[document]
            document_key = _sub_key(key, document)
            target = _target(document_key, max_tokens, short_probability)
            stop = first
            while first < end:
                stop = _chunk_end(own, first, end, target)
                if not sentence_order or stop - first > 1 or _length(own, first, stop) > 1:
                    if skipped == 0:
                        break
                    skipped -= 1
                _, first, _ = _cut(first, stop, document_key, sentence_order)
            if first < end:
                break
            document += 1
            first = np.int64(0)
        if sentence_order:
            _ordered(own, first, stop, document_key, max_tokens, out + 40 * row)
        else:
            _next_sentence(
                firsts, counts, table, document, first, stop, target, document_key, max_tokens, out + 40 * row
            )
    keep(bounds)
    keep(pairs)


@numba.njit(forceinline=True)
def _ask_ahead(firsts, counts, table, starts, numbers):
    """Asks for what all rows will read first: from memory it takes longer to come than a pair takes to make."""
    own_starts, own_firsts, own_counts = address_of(starts), address_of(firsts), address_of(counts)
    for number in numbers:
        prefetch(own_starts + 16 * (number // EVERY))
    for number in numbers:
        document = starts[number // EVERY, 0]
        prefetch(own_firsts + 8 * document)
        prefetch(own_counts + 8 * document)
    for number in numbers:
        document, first = starts[number // EVERY, 0], starts[number // EVERY, 1]
        place = table + 8 * (firsts[document] + first)
        prefetch(place)
        prefetch(place + 64)


@numba.njit(forceinline=True)
def _next_sentence(firsts, counts, table, document, first, stop, target, document_key, max_tokens, pair):
    own = table + 8 * firsts[document]
    cut, after, state = _cut(first, stop, document_key, False)
    a_begin, a_end = load_int64(own + 8 * first), load_int64(own + 8 * cut)
    # where the next chunk begins tells a second part that was put back; a chunk of one sentence has none
    label = np.int64(after == cut)
    if label == 0:
        b_begin, b_end = a_end, load_int64(own + 8 * stop)
    else:
        state += _GOLDEN
        other = _below(_mix(state), len(firsts) - 1)
        if other >= document:
            other += 1
        theirs = table + 8 * firsts[other]
        state += _GOLDEN
        begin = _below(_mix(state), counts[other])
        end = _chunk_end(theirs, begin, counts[other], target - (a_end - a_begin))
        b_begin, b_end = load_int64(theirs + 8 * begin), load_int64(theirs + 8 * end)
    _truncate(a_begin, a_end, b_begin, b_end, label, max_tokens, state, pair)


@numba.njit(forceinline=True)
def _ordered(own, first, stop, document_key, max_tokens, pair):
    begin, end = load_int64(own + 8 * first), load_int64(own + 8 * stop)
    state = _sub_key(document_key, first + 1) + _GOLDEN
    if stop - first > 1:
        cut = load_int64(own + 8 * (first + 1 + _below(_mix(state), stop - first - 1)))
    else:
        cut = begin + 1 + _below(_mix(state), end - begin - 1)
    state += _GOLDEN
    if _mix(state) < _HALF:
        _truncate(cut, end, begin, cut, np.int64(1), max_tokens, state, pair)
    else:
        _truncate(begin, cut, cut, end, np.int64(0), max_tokens, state, pair)


@numba.njit(forceinline=True)
def _truncate(a_begin, a_end, b_begin, b_end, label, max_tokens, state, pair):
    while (a_end - a_begin) + (b_end - b_begin) > max_tokens:
        state += _GOLDEN
        front = np.int64(_mix(state) < _HALF)
        if a_end - a_begin > b_end - b_begin:
            a_begin += front
            a_end -= 1 - front
        else:
            b_begin += front
            b_end -= 1 - front
    store64(pair, a_begin)
    store64(pair + 8, a_end)
    store64(pair + 16, b_begin)
    store64(pair + 24, b_end)
    store64(pair + 32, label)


@numba.njit(forceinline=True)
def _cut(first, stop, document_key, sentence_order):
    """Where the chunk [first, stop) is cut, the sentence that the next one begins with, the state of the draws."""
    if sentence_order:
        return stop, stop, document_key
    state = _sub_key(document_key, first + 1)
    cut = first + 1
    if stop - first == 1:
        return cut, cut, state
    state += _GOLDEN
    cut += _below(_mix(state), stop - first - 1)
    state += _GOLDEN
    return cut, (cut if _mix(state) < _HALF else stop), state


@numba.njit(forceinline=True)
def _target(document_key, max_tokens, short_probability):
    target = np.int64(max_tokens)
    if _share(_mix(document_key + _GOLDEN)) < short_probability:
        target = 2 + _below(_mix(document_key + _GOLDEN + _GOLDEN), max_tokens - 1)
    return target


@numba.njit(forceinline=True)
def _chunk_end(own, first, end, target):
    """After which sentence there are `target` ids from sentence `first` on, or `end`; one sentence at least."""
    begin = load_int64(own + 8 * first)
    stop = first + 1
    while stop < end and load_int64(own + 8 * stop) - begin < target:
        stop += 1
    return stop


@numba.njit(forceinline=True)
def _length(own, first, stop):
    return load_int64(own + 8 * stop) - load_int64(own + 8 * first)


@numba.njit(cache=True, nogil=True)
def _measure(pairs, files, width, starts, places):
    """The tokens of all pairs, -1 when a segment is in no file; writes where rows begin and addresses of segments."""
    size = np.int64(0)
    starts[0] = 0
    file = 0
    for row in range(len(pairs)):
        for side in range(2):
            begin, end = pairs[row, 2 * side], pairs[row, 2 * side + 1]
            if len(files) > 1:
                file = np.searchsorted(files[:, 0], begin, side="right") - 1
            if file < 0 or len(files) == 0 or begin < files[file, 0] or end > files[file, 1] or end <= begin:
                return np.int64(-1)
            address = files[file, 2] + (begin - files[file, 0]) * width
            places[row, side] = address
            # the ids of one pair lie far from those of the next
            for line in range(0, (end - begin) * width, 64):
                prefetch(address + line)
            size += end - begin
        size += 3
        starts[row + 1] = size
    return size


@numba.njit(cache=True, nogil=True)
def _fill(pairs, places, width, cls_id, sep_id, tokens, types):
    out, kinds = address_of(tokens), address_of(types)
    for row in range(len(pairs)):
        store64(out, np.int64(cls_id))
        store64(kinds, np.int64(0))
        out += 8
        kinds += 8
        for side in range(2):
            source, size = places[row, side], pairs[row, 2 * side + 1] - pairs[row, 2 * side]
            if width == 2:
                for place in range(size):
                    store64(out + 8 * place, load16(source + 2 * place))
            else:
                for place in range(size):
                    store64(out + 8 * place, load32(source + 4 * place) & np.int64(0xFFFFFFFF))
            for place in range(size + 1):
                store64(kinds + 8 * place, np.int64(side))
            out += 8 * size
            store64(out, np.int64(sep_id))
            out += 8
            kinds += 8 * (size + 1)
    keep(tokens)
    keep(types)


@numba.njit(forceinline=True)
def _sub_key(key, number):
    return _mix(key + _GOLDEN + np.uint64(number))


@numba.njit(forceinline=True)
def _below(draw, count):
    return np.int64(((draw >> np.uint64(32)) * np.uint64(count)) >> np.uint64(32))


@numba.njit(forceinline=True)
def _share(draw):
    return np.float64(draw >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@numba.njit(forceinline=True)
def _mix(value):
    value = (value ^ (value >> np.uint64(30))) * _FACTOR_1
    value = (value ^ (value >> np.uint64(27))) * _FACTOR_2
    return value ^ (value >> np.uint64(31))
