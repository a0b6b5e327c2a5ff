"""Batches of sentence pairs with masked tokens, each a pure function of the seed and its number.

A corpus is gone through in *copies*. Copy c cuts the documents into chunks, and draws where to part them and what
follows, in a way of its own that the seed and c decide (see `textmill.ops.sentence_pairs`); so each copy has another
number of pairs. There are `dupe_factor` copies, ten in BERT. Epoch e takes the pairs of copy e mod `dupe_factor` in an
order of its own, a keyed permutation, and with masks of its own.

No pair is stored. The copies' pairs are counted once, from the sentence table alone, so the batch of any number is
found at once, wherever a run goes on and whatever the number of workers.
"""

import functools
from bisect import bisect_right
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate

import numpy as np

from textmill.cores import usable_cores
from textmill.data.masking_spec import MaskingSpec
from textmill.data.masking_vocabulary import MaskingVocabulary
from textmill.data.numbered import NumberedBatches
from textmill.data.pair_spec import PairSpec
from textmill.data.ragged import RaggedBatch
from textmill.data.shards import TokenShards
from textmill.errors import ConfigError, DataError
from textmill.ops.masking import Masker, WordMatcher, row_keys
from textmill.ops.permutation import mixed, permute
from textmill.ops.sentence_pairs import (
    Documents,
    PairIndex,
    PairRules,
    TokenFiles,
    documents_of,
    fill_pairs,
    index_pairs,
    make_pairs,
)

__all__ = ["PairBatches", "PairSpec"]

MARKS = 3
"""[CLS] and two [SEP] in each sequence."""
SHORTEST = MARKS + 2
"""A and B have an id each."""

_PAIRS, _ORDER, _MASKS = 1, 2, 3
"""What a key is for, so that no two uses share one."""
_IN_ORDER = -1
"""Stands for the epoch in the masks' keys of evaluation."""


class PairBatches(NumberedBatches[RaggedBatch]):
    """An endless stream of batches over one split; `batch(step)` is the same on every call and every machine.

    Rows are `[CLS] A [SEP] B [SEP]` of at most `context_length` tokens, unpadded; types are 0 up to the first [SEP] and
    1 after it; labels are 0 where B follows A, and 1 where it comes from elsewhere or, in sentence order, was before A.

    Args:
        words: finds words of several tokens, for masks of whole words, beside what the vocabulary says.

    Raises:
        ConfigError: a size that can't be, no [CLS] or [SEP] or mask token, or settings that contradict each other.
        DataError: shards without sentences or of another vocabulary, or too few documents.
    """

    def __init__(
        self,
        shards: TokenShards,
        *,
        batch_size: int,
        context_length: int,
        spec: PairSpec,
        masking: MaskingSpec,
        vocabulary: MaskingVocabulary,
        seed: int = 0,
        words: WordMatcher | None = None,
    ) -> None:
        for name, value, least in (("batch_size", batch_size, 1), ("context_length", context_length, SHORTEST)):
            if value < least:
                raise ConfigError(f"{name} must be at least {least}, got {value}", fix=f"set {name} to {least} or more")
        if masking.sequences != "documents":
            raise ConfigError(
                f"sentence pairs stay within documents, got sequences={masking.sequences}", fix="use documents"
            )
        if words is not None and masking.unit in ("token", "replaced"):
            raise ConfigError(f"words are for masks of whole words, not for unit={masking.unit}", fix="leave them out")
        self.shards, self.batch_size, self.context_length, self.seed = shards, batch_size, context_length, seed
        self.spec, self.masking, self.vocabulary = spec, masking, vocabulary
        self._marks = _marks(shards, vocabulary)
        self._documents = _documents(shards, spec)
        self._rules = PairRules(context_length - MARKS, spec.short_probability, spec.kind == "sentence_order")
        self._masker, self._words = Masker(vocabulary.rules(masking)), words
        self._files = TokenFiles(shards.token_files)
        with ThreadPoolExecutor(min(usable_cores(), spec.dupe_factor)) as pool:
            sizes = pool.map(lambda copy: self._make_index(copy).num_pairs, range(spec.dupe_factor))
            self._begins = [0, *accumulate(sizes)]
            """Entry c: the pairs of the copies before c; the last entry is the pairs of all."""
        if self._begins[-1] == 0:
            raise DataError(
                f"the {shards.split} split of {shards.folder} gives no sentence pair",
                fix="give more documents, and longer ones: a pair needs at least two tokens",
            )
        # a batch on the border of two epochs needs two
        self._index = functools.lru_cache(maxsize=2)(self._make_index)

    def pairs_in(self, epoch: int) -> int:
        """How many pairs the epoch has."""
        copy = epoch % self.spec.dupe_factor
        return self._begins[copy + 1] - self._begins[copy]

    def batch(self, step: int) -> RaggedBatch:
        """The batch of this number, counted from 0 through all epochs."""
        return self.rows(step * self.batch_size, self.batch_size)

    def rows(self, first: int, count: int) -> RaggedBatch:
        """The pairs numbered [first, first + count) of the endless stream: a worker's slice of a batch, say."""
        pairs, keys = np.empty((count, 5), np.int64), np.empty(count, np.uint64)
        done = 0
        while done < count:
            rounds, place = divmod(first + done, self._begins[-1])
            copy = bisect_right(self._begins, place) - 1
            place -= self._begins[copy]
            epoch = rounds * self.spec.dupe_factor + copy
            size = self.pairs_in(epoch)
            here = slice(done, min(count, done + size - place))
            places = np.arange(place, place + here.stop - done)
            numbers = permute(places, size, mixed(self.seed, _ORDER, epoch))
            pairs[here] = make_pairs(self._index(copy), numbers)
            turn = epoch % self.masking.copies if self.masking.copies else epoch
            keys[here] = row_keys(mixed(self.seed, _MASKS), turn, numbers)
            done = here.stop
        return self._batch(pairs, keys)

    def in_order(self, max_tokens: int | None = None) -> Iterator[RaggedBatch]:
        """Batches that hold each pair of copy 0 once, in order, with the same masks every time: for evaluation.

        Args:
            max_tokens: pairs of no more than about so many tokens, taken evenly from all over the split.

        Raises:
            ConfigError: max_tokens below 1.
        """
        if max_tokens is not None and max_tokens < 1:
            raise ConfigError(
                f"max_tokens must be at least 1, got {max_tokens}", fix="leave it out for the whole split"
            )
        size = self.pairs_in(0)
        share = 1.0 if max_tokens is None else min(1.0, max_tokens / self.shards.num_tokens)
        chosen = max(1, int(size * share))
        return self._in_order(np.arange(min(chosen, size)) * size // chosen)

    def _in_order(self, numbers: np.ndarray) -> Iterator[RaggedBatch]:
        keys = row_keys(mixed(self.seed, _MASKS), _IN_ORDER, numbers)
        for first in range(0, len(numbers), self.batch_size):
            part = slice(first, first + self.batch_size)
            yield self._batch(make_pairs(self._index(0), numbers[part]), keys[part])

    def _batch(self, pairs: np.ndarray, mask_keys: np.ndarray) -> RaggedBatch:
        tokens, starts, types = fill_pairs(pairs, self._files, *self._marks)
        inside = None if self._words is None else self._words.continues(tokens, starts)
        seen, places, targets = self._masker(tokens, starts, mask_keys, inside)
        return RaggedBatch(
            tokens=seen, starts=starts, places=places, targets=targets, types=types, labels=pairs[:, 4].copy()
        )

    def _make_index(self, copy: int) -> PairIndex:
        return index_pairs(self._documents, mixed(self.seed, _PAIRS, copy), self._rules)


def _marks(shards: TokenShards, vocabulary: MaskingVocabulary) -> tuple[int, int]:
    """The ids of [CLS] and [SEP]."""
    if shards.vocab_size != len(vocabulary.kinds):
        raise DataError(
            f"the shards have {shards.vocab_size} ids, the vocabulary has {len(vocabulary.kinds)}",
            fix="use the tokenizer that the shards were made with",
        )
    if vocabulary.cls_id is None or vocabulary.sep_id is None:
        missing = "[CLS]" if vocabulary.cls_id is None else "[SEP]"
        raise ConfigError(
            f"sentence pairs stand between [CLS] and [SEP], the tokenizer has no {missing}",
            fix="train one with these special tokens, as WordPiece tokenizers have them",
        )
    return vocabulary.cls_id, vocabulary.sep_id


def _documents(shards: TokenShards, spec: PairSpec) -> Documents:
    table = shards.sentences
    documents = documents_of(table.counts, table.bounds)
    num_documents = len(documents.counts)
    if num_documents < 2 and spec.kind == "next_sentence":
        raise DataError(
            f"next-sentence pairs need at least two documents, the {shards.split} split of {shards.folder} has"
            f" {num_documents}: there is no other document that B could come from",
            fix="give more documents, with a blank line between two, or use kind=sentence_order",
        )
    return documents
