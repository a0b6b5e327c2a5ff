"""The arrays that the kernels of a Unigram vocabulary read, made once and shared by all that use it."""

from typing import NoReturn

import numpy as np

from textmill.errors import ConfigError
from textmill.ops.memory import padded
from textmill.ops.unigram import cpu_viterbi as viterbi
from textmill.ops.unigram.cpu_cut import CUT_AFTER_BLANKS, CUT_BEFORE_BLANKS, NO_CUT
from textmill.ops.unigram.cpu_trie import CELL_WORDS, NO_NODE, build_trie
from textmill.ops.unigram.neighbours import neighbour_tables
from textmill.ops.unigram.vocabulary import BLANK, UnigramVocabulary

_WIDE_CHARACTERS = 1 << 16
_FIRST_CELLS = 1 << 10
_MOST_BYTES = 1 << 28


class UnigramTables:
    """What is fixed about a vocabulary, as arrays, and their addresses in one vector for the kernels.

    Raises:
        ConfigError: the pieces have 2**28 bytes or more together.
    """

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds addresses of its own arrays: make another one")

    def __init__(self, vocabulary: UnigramVocabulary) -> None:
        self.vocabulary = vocabulary
        contents = sorted(vocabulary.ids)
        numbers = np.array([vocabulary.ids[content] for content in contents], dtype=np.int32)
        sizes = np.array([len(content) for content in contents], dtype=np.int64)
        if int(sizes.sum()) >= _MOST_BYTES:
            raise ConfigError(
                f"the pieces may have {_MOST_BYTES - 1} bytes together, got {sizes.sum()}", fix="use fewer pieces"
            )
        lengths, scores = np.zeros(vocabulary.size, np.int32), np.zeros(vocabulary.size, np.float64)
        lengths[numbers] = sizes
        scores[numbers] = [vocabulary.scores[content] for content in contents]
        cells, characters = _trie(contents, sizes, numbers)
        byte_ids = np.array(vocabulary.byte_ids, dtype=np.int32)
        pairs, known = neighbour_tables(contents)
        self._owned = [cells, characters, scores, lengths, byte_ids, pairs, known]
        self.model = np.zeros(viterbi.MODEL_WORDS, dtype=np.int64)
        """int64: see `cpu_viterbi`. Whoever reads it holds this object."""
        self.model[viterbi.CELLS] = cells.ctypes.data
        self.model[viterbi.CHARACTERS] = characters.ctypes.data
        self.model[viterbi.SCORES] = scores.ctypes.data
        self.model[viterbi.LENGTHS] = lengths.ctypes.data
        self.model[viterbi.BYTE_IDS] = byte_ids.ctypes.data if len(byte_ids) else 0
        # no id is -2, and -1 is a raw unknown character
        self.model[viterbi.UNKNOWN] = -2 if vocabulary.unknown is None else vocabulary.unknown
        self.model[viterbi.CUT] = cut_rule(vocabulary)
        if _cuts_between_characters(vocabulary):
            self.model[viterbi.PAIRS], self.model[viterbi.KNOWN] = pairs.ctypes.data, known.ctypes.data
            self.model[viterbi.PAIR_BITS] = (8 * len(pairs)).bit_length() - 1
        self.model[viterbi.SINGLE] = vocabulary.precision == "float32"
        as_floats = self.model.view(np.float64)
        as_floats[viterbi.UNKNOWN_SCORE] = vocabulary.unknown_score
        as_floats[viterbi.LARGEST_SCORE] = max(abs(vocabulary.unknown_score), np.abs(scores).max(initial=0.0))
        as_floats[viterbi.ROUNDOFF] = 2.0**-24 if vocabulary.precision == "float32" else 2.0**-53
        as_floats[viterbi.RESET] = vocabulary.reset


def cut_rule(vocabulary: UnigramVocabulary) -> int:
    """Where text may be cut: see `cpu_cut`."""
    # bytes of a run of unknown characters are all or nothing, so a run must not cross a cut: the blank must be known
    if vocabulary.byte_ids and BLANK not in vocabulary.ids:
        return NO_CUT
    before = after = True
    blank = BLANK.decode()
    for content in vocabulary.ids:
        if BLANK not in content:
            continue
        # a run of blanks at the front is the only place for them; or at the back
        piece = content.decode()
        before = before and blank not in piece.lstrip(blank)
        after = after and blank not in piece.rstrip(blank)
    if before:
        return CUT_BEFORE_BLANKS
    return CUT_AFTER_BLANKS if after else NO_CUT


def _cuts_between_characters(vocabulary: UnigramVocabulary) -> bool:
    """Whether a text may be cut between two characters that no piece joins."""
    # a run of unknown characters becomes bytes as a whole or not at all, which a cut must not change: so all bytes have
    # ids, and the unknown piece is nothing that a text can spell
    chosen = vocabulary.unknown in vocabulary.ids.values()
    return not vocabulary.byte_ids or (min(vocabulary.byte_ids) >= 0 and not chosen)


def _trie(contents: list[bytes], sizes: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cells of the trie of the sorted pieces, and the nodes of characters: see `build_trie`."""
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    text = padded(b"".join(contents))
    waiting = np.empty(3 * (len(text) + 1), dtype=np.int32)
    room = max(_FIRST_CELLS, 1 << int(offsets[-1]).bit_length())
    while True:
        cells = np.full(CELL_WORDS * room, NO_NODE, dtype=np.int32)
        characters = np.full(_WIDE_CHARACTERS, NO_NODE, dtype=np.int32)
        size = build_trie(text, offsets, numbers, waiting, cells, characters)
        if size >= 0:
            return cells[: CELL_WORDS * size].copy(), characters
        room *= 2
