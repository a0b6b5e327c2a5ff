"""Finding many byte strings in a text in one pass: of those that overlap, the leftmost, and there the longest."""

from textmill.ops.find.finder import StringFinder

__all__ = ["StringFinder"]
