"""Normalisation as sentencepiece does it: replacements by a table, blanks squeezed and escaped, in one pass."""

from textmill.ops.normalize.charsmap import Charsmap, Rules, build_charsmap, read_charsmap, rules_of
from textmill.ops.normalize.normalizer import SentencePieceNormalizer

__all__ = ["Charsmap", "Rules", "SentencePieceNormalizer", "build_charsmap", "read_charsmap", "rules_of"]
