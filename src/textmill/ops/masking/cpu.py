"""Masking of many rows at once, in Numba: the same draws, and so the same masks, as the definition makes.

One kernel for single tokens and one for words, which shuffle no further than they must; one for runs of either; one
that replaces everywhere. Chosen places are kept as bits, so that they come out in order without sorting.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from textmill.errors import DataError
from textmill.ops.masking.rows import flat_int64, row_lengths
from textmill.ops.masking.rules import CONTINUES, SPECIAL, MaskingRules
from textmill.ops.memory import count_trailing_zeros
from textmill.ops.permutation.reference import GOLDEN

_GOLDEN = np.uint64(GOLDEN)
_BAD_ID = -1
_CONTINUES, _SPECIAL = np.uint8(CONTINUES), np.uint8(SPECIAL)
_ONE = np.uint64(1)


class Masked(NamedTuple):
    """What `mask_tokens` makes."""

    tokens: np.ndarray
    """int64 [N], what the model sees."""
    places: np.ndarray
    """int64 [M], the positions to predict, ascending."""
    targets: np.ndarray
    """int64 [M], the ids that stood there."""


class Masker:
    """Masks rows by rules that are checked and laid out once.

    Raises:
        ConfigError: rules that cannot be (see `MaskingRules.checked`).
    """

    def __init__(self, rules: MaskingRules) -> None:
        self.rules = rules.checked()
        self._specials = self.rules.specials()

    def __call__(
        self, tokens: np.ndarray, starts: np.ndarray, keys: np.ndarray, inside: np.ndarray | None = None
    ) -> Masked:
        """The rows masked, each with its own key; the arguments stay as they are. See `mask_tokens`."""
        tokens, starts = flat_int64(tokens, "tokens"), flat_int64(starts, "starts")
        lengths = row_lengths(tokens, starts)
        keys = np.ascontiguousarray(keys).astype(np.uint64, copy=False)
        if keys.shape != lengths.shape:
            raise DataError(f"every row needs one key, got {keys.shape} keys for {len(lengths)} rows")
        inside = np.zeros(0, np.bool_) if inside is None else np.ascontiguousarray(inside, np.bool_)
        if inside.ndim != 1 or len(inside) not in (0, len(tokens)):
            raise DataError(f"inside must have an entry for each of the {len(tokens)} tokens, got {inside.shape}")
        seen = tokens.copy()
        places, count = self._mask(tokens, starts, keys, lengths, inside, seen)
        if count == _BAD_ID:
            raise DataError(
                f"token ids must be from 0 to {len(self.rules.kinds) - 1}, got {tokens.min()} to {tokens.max()}",
                fix="use the tokenizer that made the data",
            )
        places = places[:count]
        return Masked(seen, places, tokens[places])

    def _mask(
        self,
        tokens: np.ndarray,
        starts: np.ndarray,
        keys: np.ndarray,
        lengths: np.ndarray,
        inside: np.ndarray,
        seen: np.ndarray,
    ) -> tuple[np.ndarray, int]:
        """(room for places, how many were written), after writing to `seen`."""
        rules, specials = self.rules, self._specials
        if rules.everywhere:
            places = np.empty(len(tokens), np.int64)
            return places, _replace(tokens, starts, keys, rules, specials, seen, places)
        longest = int(lengths.max(initial=0))
        wanted = _num_wanted(lengths, rules)
        places = np.empty(int(wanted.sum()), np.int64)
        marks = np.zeros(longest // 64 + 1, np.uint64)
        if len(rules.run_lengths) > 1 or (rules.whole_words and rules.one_fate):
            room = np.empty((3, longest + 1), np.int32)
            return places, _mask_runs(tokens, starts, keys, wanted, inside, rules, specials, seen, places, marks, room)
        order = np.empty(longest, np.int32)
        if rules.whole_words:
            return places, _mask_words(
                tokens, starts, keys, wanted, inside, rules, specials, seen, places, marks, order
            )
        return places, _mask_single(tokens, starts, keys, wanted, rules, specials, seen, places, marks, order)


def mask_tokens(
    tokens: np.ndarray, starts: np.ndarray, keys: np.ndarray, rules: MaskingRules, inside: np.ndarray | None = None
) -> Masked:
    """The rows masked by the rules, each with its own key. For many batches, keep a `Masker`.

    Args:
        tokens: int [N], row r is tokens[starts[r] : starts[r + 1]].
        starts: int [R + 1], from 0 to N.
        keys: uint64 [R], such as `row_keys` gives.
        inside: bool [N], whether each token continues the word of the token before it, beside what its kind says.

    >>> kinds = np.array([SPECIAL, 0, 0, 0, CONTINUES], np.uint8)
    >>> rules = MaskingRules(kinds, mask_id=0, fraction=0.4, whole_words=True)
    >>> seen, places, targets = mask_tokens(np.array([0, 1, 4, 2, 3]), np.array([0, 5]), np.array([3]), rules)
    >>> seen.tolist(), places.tolist(), targets.tolist()  # tokens 1 and 2 are one word
    ([0, 0, 0, 2, 3], [1, 2], [1, 4])

    Raises:
        ConfigError: rules that cannot be (see `MaskingRules.checked`).
        DataError: an id outside the vocabulary, or starts, keys or `inside` that do not fit the tokens.
    """
    return Masker(rules)(tokens, starts, keys, inside)


def _num_wanted(lengths: np.ndarray, rules: MaskingRules) -> np.ndarray:
    """`reference.num_wanted` of each row, but never more than there are tokens."""
    if rules.fraction == 0:
        return np.zeros(len(lengths), np.int64)
    wanted = np.maximum(1, np.rint(lengths * rules.fraction).astype(np.int64))
    return np.minimum(np.minimum(wanted, rules.max_predictions), lengths)


@njit(nogil=True, inline="always")
def _mix(value):
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@njit(nogil=True, inline="always")
def _below(draw, count):
    return np.int64(((draw >> np.uint64(32)) * np.uint64(count)) >> np.uint64(32))


@njit(nogil=True, inline="always")
def _share(draw):
    return np.float64(np.int64(draw >> np.uint64(11))) * 1.1102230246251565e-16


@njit(nogil=True, inline="always")
def _random_id(draw, vocab_size, specials):
    id = _below(draw, vocab_size - len(specials))
    for special in specials:
        if id >= special:
            id += 1
    return id


@njit(nogil=True, inline="always")
def _set_mark(marks, place):
    marks[place >> 6] |= _ONE << np.uint64(place & 63)


@njit(nogil=True, inline="always")
def _is_marked(marks, place):
    return (marks[place >> 6] >> np.uint64(place & 63)) & _ONE != np.uint64(0)


@njit(nogil=True, inline="always")
def _emit(marks, begin, end, places, count):
    """The new count, after the marked places of a row were written and their marks wiped."""
    for block in range(((end - begin) >> 6) + 1):
        bits = marks[block]
        marks[block] = np.uint64(0)
        place = begin + (block << 6)
        while bits != np.uint64(0):
            zeros = np.int64(count_trailing_zeros(bits))
            places[count] = place + zeros
            count += 1
            bits &= bits - _ONE
    return count


@njit(cache=True, nogil=True)
def _mask_single(tokens, starts, keys, wanted, rules, specials, seen, places, marks, order):
    """int64: how many places were written, or _BAD_ID. order: int32, room for the longest row."""
    kinds = rules.kinds
    vocab_size = len(kinds)
    written_share = rules.mask_share + rules.random_share
    count = np.int64(0)
    for row in range(len(keys)):
        begin, end = starts[row], starts[row + 1]
        num_units = 0
        for place in range(begin, end):
            token = tokens[place]
            if np.uint64(token) >= np.uint64(vocab_size):
                return np.int64(_BAD_ID)
            order[num_units] = place - begin
            num_units += kinds[token] != _SPECIAL
        state = keys[row]
        for turn in range(min(num_units, wanted[row])):
            state += _GOLDEN
            other = turn + _below(_mix(state), num_units - turn)
            unit = order[other]
            order[other] = order[turn]
            _set_mark(marks, unit)
            state += _GOLDEN
            fate = _share(_mix(state))
            if fate < rules.mask_share:
                seen[begin + unit] = rules.mask_id
            elif fate < written_share:
                state += _GOLDEN
                seen[begin + unit] = _random_id(_mix(state), vocab_size, specials)
        count = _emit(marks, begin, end, places, count)
    return count


@njit(cache=True, nogil=True)
def _mask_words(tokens, starts, keys, wanted, inside, rules, specials, seen, places, marks, firsts):
    """int64: how many places were written, or _BAD_ID. firsts: int32, room for the longest row.

    Nothing branches on what a token is, which no processor could guess: each writes its place to `firsts`, where the
    words' first places stand, and the count decides what stays. Where a word ends is looked up when it is chosen.
    """
    kinds = rules.kinds
    vocab_size = len(kinds)
    written_share = rules.mask_share + rules.random_share
    by_place = len(inside) > 0
    count = np.int64(0)
    for row in range(len(keys)):
        begin, end = starts[row], starts[row + 1]
        num_words, own_before = np.int64(0), np.int64(0)
        for place in range(begin, end):
            token = tokens[place]
            if np.uint64(token) >= np.uint64(vocab_size):
                return np.int64(_BAD_ID)
            kind = kinds[token]
            own, continues = np.int64(kind != _SPECIAL), np.int64(kind == _CONTINUES)
            if by_place:
                continues |= np.int64(inside[place])
            firsts[num_words] = place - begin
            num_words += own & ~(continues & own_before)
            own_before = own
        state = keys[row]
        left = wanted[row]
        for turn in range(num_words):
            if left <= 0:
                break
            state += _GOLDEN
            other = turn + _below(_mix(state), num_words - turn)
            first = begin + firsts[other]
            firsts[other] = firsts[turn]
            stop = first + 1
            while stop < end and _continues(tokens, stop, inside, kinds):
                stop += 1
            if stop - first > left:
                continue
            left -= stop - first
            for place in range(first, stop):
                _set_mark(marks, place - begin)
                state += _GOLDEN
                fate = _share(_mix(state))
                if fate < rules.mask_share:
                    seen[place] = rules.mask_id
                elif fate < written_share:
                    state += _GOLDEN
                    seen[place] = _random_id(_mix(state), vocab_size, specials)
        count = _emit(marks, begin, end, places, count)
    return count


@njit(nogil=True, inline="always")
def _continues(tokens, place, inside, kinds):
    """bool: whether the token continues the word of the one before it, which is not special."""
    kind = kinds[tokens[place]]
    return kind == _CONTINUES or (len(inside) > 0 and inside[place] and kind != _SPECIAL)


@njit(cache=True, nogil=True)
def _mask_runs(tokens, starts, keys, wanted, inside, rules, specials, seen, places, marks, room):
    """int64: how many places were written, or _BAD_ID. room: int32 [3, longest row + 1].

    Unit u of a row is its places firsts[u] to ends[u + 1] - 1.
    """
    kinds, lengths = rules.kinds, rules.run_lengths
    vocab_size = len(kinds)
    written_share = rules.mask_share + rules.random_share
    order, firsts, ends = room[0], room[1], room[2]
    count = np.int64(0)
    for row in range(len(keys)):
        begin, end = starts[row], starts[row + 1]
        num_units = _find_units(tokens, begin, end, inside, kinds, rules.whole_words, firsts, ends)
        if num_units < 0:
            return np.int64(_BAD_ID)
        for unit in range(num_units):
            order[unit] = unit
        state = keys[row]
        left = wanted[row]
        fate = 0.0
        for turn in range(num_units):
            if left <= 0:
                break
            state += _GOLDEN
            other = turn + _below(_mix(state), num_units - turn)
            unit = np.int64(order[other])
            order[other] = order[turn]
            first = np.int64(firsts[unit])
            if _is_marked(marks, first):
                continue
            longest = unit + 1
            if len(lengths) > 1:
                state += _GOLDEN
                drawn = _share(_mix(state))
                for bound in lengths[:-1]:
                    longest += drawn >= bound
            stop = _run_end(firsts, ends, unit, min(longest, num_units), left, marks)
            if stop < 0:
                continue
            if rules.one_fate:
                state += _GOLDEN
                fate = _share(_mix(state))
            left -= stop - first
            for place in range(first, stop):
                _set_mark(marks, place)
                if not rules.one_fate:
                    state += _GOLDEN
                    fate = _share(_mix(state))
                if fate < rules.mask_share:
                    seen[begin + place] = rules.mask_id
                elif fate < written_share:
                    state += _GOLDEN
                    seen[begin + place] = _random_id(_mix(state), vocab_size, specials)
        count = _emit(marks, begin, end, places, count)
    return count


@njit(nogil=True, inline="always")
def _find_units(tokens, begin, end, inside, kinds, whole_words, firsts, ends):
    """int64: how many units the row has, or _BAD_ID for an id outside the vocabulary."""
    num_units, own_before = np.int64(0), np.int64(0)
    last_end, joined = np.int64(0), np.int64(whole_words)
    for place in range(begin, end):
        token = tokens[place]
        if np.uint64(token) >= np.uint64(len(kinds)):
            num_units = np.int64(_BAD_ID)
            break
        kind = kinds[token]
        here = place - begin
        own, continues = np.int64(kind != _SPECIAL), np.int64(kind == _CONTINUES)
        if len(inside) > 0:
            continues |= np.int64(inside[place])
        firsts[num_units] = here
        num_units += own & ~(continues & own_before & joined)
        own_before = own
        # where own is 1, -own has all bits set: this is `last_end = here + 1 if own else last_end`
        last_end ^= (last_end ^ (here + 1)) & -own
        ends[num_units] = last_end
    return num_units


@njit(nogil=True, inline="always")
def _run_end(firsts, ends, unit, stop_unit, left, marks):
    """int64: where the run that begins at a unit ends, -1 if not even that unit fits."""
    first = np.int64(firsts[unit])
    stop = np.int64(-1)
    while unit < stop_unit and ends[unit + 1] - first <= left:
        if stop >= 0 and (firsts[unit] != stop or _is_marked(marks, firsts[unit])):
            break
        unit += 1
        stop = np.int64(ends[unit])
    return stop


@njit(cache=True, nogil=True)
def _replace(tokens, starts, keys, rules, specials, seen, places):
    """int64: how many places were written, or _BAD_ID."""
    kinds = rules.kinds
    count = np.int64(0)
    for row in range(len(keys)):
        state = keys[row]
        for place in range(starts[row], starts[row + 1]):
            token = tokens[place]
            if np.uint64(token) >= np.uint64(len(kinds)):
                return np.int64(_BAD_ID)
            if kinds[token] == _SPECIAL:
                continue
            places[count] = place
            count += 1
            state += _GOLDEN
            if _share(_mix(state)) < rules.fraction:
                state += _GOLDEN
                seen[place] = _random_id(_mix(state), len(kinds), specials)
    return count
