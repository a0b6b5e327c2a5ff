"""A token for each piece: a table from bytes to ids."""

from textmill.ops.words.encode import WordEncoder

__all__ = ["WordEncoder"]
