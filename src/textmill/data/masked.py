"""Batches for masked language models, each a pure function of the seed and its number.

Sequences are pieces of documents, or windows over all of them, between [CLS] and [SEP] where the tokenizer has these.
They come unpadded. In each epoch every token of the split stands in exactly one sequence, and the sequences come in
another order, given by a keyed permutation. Masks are drawn when a batch is made, from a key that is the sequence's
own: nothing is stored, a run goes on at any step at once, and a worker's slice has the masks that the whole has.
"""

from collections.abc import Iterator

import numpy as np

from textmill.data.batches import around
from textmill.data.masking_spec import MaskingSpec
from textmill.data.masking_vocabulary import MaskingVocabulary
from textmill.data.numbered import NumberedBatches
from textmill.data.ragged import RaggedBatch
from textmill.data.shards import TokenShards
from textmill.errors import ConfigError, DataError
from textmill.ops.masking import Masker, WordMatcher, row_keys
from textmill.ops.packing import copy_runs
from textmill.ops.permutation import mixed, permute

__all__ = ["MaskedBatches", "MaskingSpec", "MaskingVocabulary"]

_OFFSET, _MASKS = 1, 2
"""What a key is for, so that no two uses share one."""
_IN_ORDER = -1
"""Stands for the epoch in keys of evaluation."""


class MaskedBatches(NumberedBatches[RaggedBatch]):
    """An endless stream of batches over one split; `batch(step)` is the same on every call and every machine.

    Args:
        context_length: the longest sequence, [CLS] and [SEP] counted.
        words: finds words of several tokens, for masks of whole words, beside what the vocabulary says.

    Raises:
        ConfigError: a size that can't be, no mask token, or words where single tokens are masked.
        DataError: the split is empty, or was made with another vocabulary.
    """

    def __init__(
        self,
        shards: TokenShards,
        *,
        batch_size: int,
        context_length: int,
        masking: MaskingSpec,
        vocabulary: MaskingVocabulary,
        seed: int = 0,
        words: WordMatcher | None = None,
    ) -> None:
        marks = [id for id in (vocabulary.cls_id, vocabulary.sep_id) if id is not None]
        for name, value, least in (("batch_size", batch_size, 1), ("context_length", context_length, 1 + len(marks))):
            if value < least:
                raise ConfigError(f"{name} must be at least {least}, got {value}", fix=f"set {name} to {least} or more")
        if words is not None and masking.unit in ("token", "replaced"):
            raise ConfigError(f"words are for masks of whole words, not for unit={masking.unit}", fix="leave them out")
        if shards.num_tokens == 0:
            raise DataError(f"the {shards.split} split of {shards.folder} holds no tokens", fix="give more documents")
        if shards.vocab_size != len(vocabulary.kinds):
            raise DataError(
                f"the shards have {shards.vocab_size} ids, the vocabulary has {len(vocabulary.kinds)}",
                fix="use the tokenizer that the shards were made with",
            )
        self.shards, self.batch_size, self.context_length, self.seed = shards, batch_size, context_length, seed
        self.masking, self.vocabulary, self._files = masking, vocabulary, shards.token_files
        self._masker, self._words = Masker(vocabulary.rules(masking)), words
        room = context_length - len(marks)
        self._sequences = _Pieces(shards, room) if masking.sequences == "documents" else _Windows(shards, room)
        self.sequences_per_epoch = self._sequences.count

    def batch(self, step: int) -> RaggedBatch:
        """The batch of this number, counted from 0 through all epochs."""
        return self.rows(step * self.batch_size, self.batch_size)

    def rows(self, first: int, count: int) -> RaggedBatch:
        """The sequences numbered [first, first + count) of the endless stream: a worker's slice of a batch, say."""
        begins, lengths, keys = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.uint64)
        done, size = 0, self.sequences_per_epoch
        while done < count:
            epoch, place = divmod(first + done, size)
            here = slice(done, min(count, done + size - place))
            numbers = permute(np.arange(place, place + here.stop - done), size, mixed(self.seed, epoch))
            turn = epoch % self.masking.copies if self.masking.copies else epoch
            begins[here], lengths[here] = self._sequences.of(numbers, mixed(self.seed, turn, _OFFSET))
            keys[here] = row_keys(mixed(self.seed, _MASKS), turn, numbers)
            done = here.stop
        return self._masked(begins, lengths, keys)

    def in_order(self, max_tokens: int | None = None) -> Iterator[RaggedBatch]:
        """Batches that hold every sequence once, in order, with the same masks every time: for evaluation.

        Args:
            max_tokens: no more than about so many tokens (whole sequences), taken evenly from all over the split.

        Raises:
            ConfigError: max_tokens below 1.
        """
        if max_tokens is not None and max_tokens < 1:
            raise ConfigError(
                f"max_tokens must be at least 1, got {max_tokens}", fix="leave it out for the whole split"
            )
        size = self.sequences_per_epoch
        share = 1.0 if max_tokens is None else min(1.0, max_tokens / self.shards.num_tokens)
        chosen = max(1, int(size * share))
        return self._in_order(np.arange(chosen) * size // chosen)

    def _in_order(self, numbers: np.ndarray) -> Iterator[RaggedBatch]:
        keys = row_keys(mixed(self.seed, _MASKS), _IN_ORDER, numbers)
        for first in range(0, len(numbers), self.batch_size):
            part = slice(first, first + self.batch_size)
            yield self._masked(*self._sequences.of(numbers[part], 0), keys[part])

    def _masked(self, begins: np.ndarray, lengths: np.ndarray, keys: np.ndarray) -> RaggedBatch:
        """The runs of the stream as sequences between their marks, masked."""
        first, last = self.vocabulary.cls_id, self.vocabulary.sep_id
        before, after = int(first is not None), int(last is not None)
        starts = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths + before + after, out=starts[1:])
        tokens = np.empty(int(starts[-1]), np.int64)
        if first is not None:
            tokens[starts[:-1]] = first
        if last is not None:
            tokens[starts[1:] - 1] = last
        self._read(begins, lengths, starts[:-1] + before, tokens)
        inside = None if self._words is None else self._words.continues(tokens, starts)
        seen, chosen, targets = self._masker(tokens, starts, keys, inside)
        return RaggedBatch(tokens=seen, starts=starts, places=chosen, targets=targets)

    def _read(self, begins: np.ndarray, lengths: np.ndarray, places: np.ndarray, tokens: np.ndarray) -> None:
        """Copies each run of the stream to its place in `tokens`."""
        left = np.ones(len(begins), np.bool_)
        for first, ids in self._files:
            here = left & (begins >= first) & (begins + lengths <= first + len(ids))
            copy_runs(ids, begins[here] - first, lengths[here], places[here], tokens)
            left &= ~here
        # windows that reach from one file into the next, or around the end
        for row in np.flatnonzero(left).tolist():
            place, length = int(places[row]), int(lengths[row])
            tokens[place : place + length] = around(self.shards, int(begins[row]), length)


class _Pieces:
    """Documents, each cut into as few pieces of nearly equal length as fit. Memory: 16 bytes a document."""

    def __init__(self, shards: TokenShards, room: int) -> None:
        self._begins = np.append(shards.document_starts, shards.num_tokens)
        # entry d is the number of pieces before document d; an empty document has none
        self._numbers = np.zeros(len(self._begins), np.int64)
        np.cumsum(-(-np.diff(self._begins) // room), out=self._numbers[1:])
        self.count = int(self._numbers[-1])

    def of(self, numbers: np.ndarray, offset: int) -> tuple[np.ndarray, np.ndarray]:  # noqa: ARG002 - as windows
        """(where each piece begins in the stream, its length)."""
        documents = np.searchsorted(self._numbers, numbers, side="right") - 1
        parts = numbers - self._numbers[documents]
        counts = self._numbers[documents + 1] - self._numbers[documents]
        lengths = self._begins[documents + 1] - self._begins[documents]
        begins, stops = parts * lengths // counts, (parts + 1) * lengths // counts
        return self._begins[documents] + begins, stops - begins


class _Windows:
    """Runs of `room` ids side by side around the circle of all documents; the last one may be shorter."""

    def __init__(self, shards: TokenShards, room: int) -> None:
        self._size, self._room = shards.num_tokens, room
        self.count = -(-self._size // room)

    def of(self, numbers: np.ndarray, offset: int) -> tuple[np.ndarray, np.ndarray]:
        """(where each window begins in the stream, its length), the first window at `offset`."""
        begins = numbers * self._room
        return (begins + offset % self._size) % self._size, np.minimum(self._size - begins, self._room)
