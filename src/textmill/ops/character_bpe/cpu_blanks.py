"""The kernel that cuts normalised sentences into words, each beginning with its ▁, and words where no token reaches."""

import numpy as np
from numba import njit

from textmill.ops.character_bpe.cpu_pairs import NEIGHBOUR_BITS, NEIGHBOURS, field, helper
from textmill.ops.memory import address_of, keep, load32, store32
from textmill.ops.unigram.cpu_cut import (
    BLANK_BYTES,
    CUT_BEFORE_BLANKS,
    FIRST_WIDE,
    NO_CUT,
    has_wide,
    is_blank,
    may_be_joined,
    next_cut,
    wide_or_ascii,
)


@helper
def _cut_pairs(word, end, base, neighbours, bits, ends, count):
    """int64: how many ends there are with those inside the word, where no token joins two characters."""
    previous, at = wide_or_ascii(word, end), word
    at += 3 if previous >= FIRST_WIDE else 1
    while at < end:
        code = wide_or_ascii(at, end)
        # those of three bytes by themselves: where the next one begins need not wait for what this one is
        while code >= FIRST_WIDE:
            if previous >= 0 and not may_be_joined(previous, code, neighbours, bits):
                store32(ends + (count << 2), at - base)
                count += 1
            previous = code
            at += 3
            code = wide_or_ascii(at, end) if at < end else np.int64(-1)
        if at >= end:
            break
        asked = code >= 0 and previous >= FIRST_WIDE
        if asked and not may_be_joined(previous, code, neighbours, bits):
            store32(ends + (count << 2), at - base)
            count += 1
        previous = code
        at += 1
    return count


@njit(cache=True, nogil=True)
def cut_sentences(text, start, sentence_ends, at_blanks, ends, firsts, model):
    """int64: how many words the sentences have, or -1 where a sentence ends before it begins.

    A word ends where a run of ▁ begins if `at_blanks`, between two characters that no token joins, and with its
    sentence.

    Args:
        sentence_ends: int32, counted from `start`; the first sentence begins there.
        ends: int32[last end // 2 + number of sentences + 1], receives the ends of the words.
        firsts: int64, one more than the sentences: receives the number of words before each, and of all.
    """
    base, ends_at, count, at = address_of(text) + start, address_of(ends), np.int64(0), np.int64(0)
    neighbours, bits = field(address_of(model), NEIGHBOURS), field(address_of(model), NEIGHBOUR_BITS)
    rule, sentences_at = CUT_BEFORE_BLANKS if at_blanks else NO_CUT, address_of(sentence_ends)
    for sentence in range(len(sentence_ends)):
        firsts[sentence] = count
        end = base + load32(sentences_at + (sentence << 2))
        if end < base + at:
            return np.int64(-1)
        while base + at < end:
            word_end = next_cut(base + at, end, rule)
            word = base + at
            if neighbours != 0 and has_wide(word + (BLANK_BYTES if is_blank(word) else 0), word_end):
                count = _cut_pairs(word, word_end, base, neighbours, bits, ends_at, count)
            at = word_end - base
            store32(ends_at + (count << 2), at)
            count += 1
    firsts[len(sentence_ends)] = count
    keep(text), keep(sentence_ends), keep(ends), keep(model)
    return count
