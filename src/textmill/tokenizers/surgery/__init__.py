"""Changing a vocabulary after training: extend it, add words, prune it, merge two.

Every function takes a tokenizer and gives an `Edit`: the new tokenizer, where each id went, and of which old tokens
each new one takes the place, which is what a model's embeddings need (`textmill.tasks.edit_vocabulary`).
"""

from textmill.tokenizers.surgery.adding import add_words
from textmill.tokenizers.surgery.edit import Edit
from textmill.tokenizers.surgery.extending import extend
from textmill.tokenizers.surgery.merging import merge
from textmill.tokenizers.surgery.pruning import prune

__all__ = ["Edit", "add_words", "extend", "merge", "prune"]
