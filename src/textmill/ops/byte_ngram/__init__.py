"""Byte n-grams with interpolated modified Kneser-Ney smoothing: counting and scoring.

`reference` is the definition on dictionaries; `cpu` is the same on hash tables, in Numba. Both hold
`count_ngrams(text, starts, order)`, `document_bits(table, text, starts)` and `next_byte(table, context)`.
"""

from textmill.ops.byte_ngram.cpu import NgramTable, count_ngrams, document_bits, next_byte

__all__ = ["NgramTable", "count_ngrams", "document_bits", "next_byte"]
