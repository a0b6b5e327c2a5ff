"""WordPiece and BERT's basic tokenizer: words or raw text to ids. Training is in `ops.wordpiece.train`."""

from textmill.ops.wordpiece.encode import LONGEST_WORD, OUT_SLACK, BertEncoder, WordPieceEncoder
from textmill.ops.wordpiece.reference import BertRules

__all__ = ["LONGEST_WORD", "OUT_SLACK", "BertEncoder", "BertRules", "WordPieceEncoder"]
