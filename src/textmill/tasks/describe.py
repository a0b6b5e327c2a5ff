"""What a tokenizer is, in words and numbers, without a text."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from textmill.metrics.token_groups import vocabulary_groups
from textmill.metrics.tokenizer import longest_tokens
from textmill.tasks.judge import algorithm_of, vocabulary_bytes
from textmill.tasks.reachable import unreachable_tokens
from textmill.tokenizers import Tokenizer
from textmill.tokenizers.steps import Template

NUM_LONGEST = 12
_NUM_EXAMPLES = 8
_LONGEST_SETTING = 60


@dataclass(frozen=True, kw_only=True)
class Description:
    """What `textmill tokenizer show` says of a tokenizer."""

    algorithm: str
    vocab_size: int
    merges: int | None
    """None: the algorithm has none, or the vocabulary alone decides."""
    special_tokens: dict[str, int]
    added_tokens: int
    """Besides the special ones."""
    end_of_text: str | None
    normalizers: tuple[str, ...]
    splits: tuple[str, ...]
    finish: tuple[str, ...]
    decoders: tuple[str, ...]
    mean_bytes: float
    """Of a token of the vocabulary."""
    longest: tuple[str, ...]
    vocabulary_groups: dict[str, int]
    unreachable: int
    unreachable_examples: tuple[str, ...]


def describe(tokenizer: Tokenizer) -> Description:
    """What a tokenizer is."""
    pipeline = tokenizer.pipeline
    vocabulary = vocabulary_bytes(tokenizer)
    unreachable = unreachable_tokens(tokenizer).tolist()
    merges = getattr(pipeline.model, "merges", None)
    return Description(
        algorithm=algorithm_of(tokenizer),
        vocab_size=tokenizer.vocab_size,
        merges=None if merges is None else len(merges),
        special_tokens=tokenizer.special_tokens,
        added_tokens=sum(not token.special for token in pipeline.added),
        end_of_text=pipeline.end_of_text,
        normalizers=tuple(map(step_in_words, pipeline.normalizers)),
        splits=tuple(map(step_in_words, pipeline.splits)),
        finish=tuple(map(step_in_words, pipeline.finish)),
        decoders=tuple(map(step_in_words, pipeline.decoders)),
        mean_bytes=float(np.mean([len(token) for token in vocabulary])) if vocabulary else 0.0,
        longest=tuple(token.decode("utf-8", "replace") for token in longest_tokens(vocabulary, NUM_LONGEST)),
        vocabulary_groups=vocabulary_groups(vocabulary),
        unreachable=len(unreachable),
        unreachable_examples=tuple(tokenizer.id_to_token(id) for id in unreachable[:_NUM_EXAMPLES]),
    )


def step_in_words(step: Any) -> str:
    """A step by its name, with the settings that are not the usual ones.

    >>> from textmill.tokenizers.steps import Form, Replace
    >>> step_in_words(Form(name="NFC")), step_in_words(Replace(pattern=" ", content="▁"))
    ("Form(name='NFC')", "Replace(pattern=' ', content='▁')")
    """
    if isinstance(step, Template):
        return f"Template({' '.join(slot.content for slot in step.single)})"
    said = []
    for field in dataclasses.fields(step):
        value = getattr(step, field.name)
        if value == field.default:
            continue
        shown = f"{len(value):,} bytes" if isinstance(value, bytes) else repr(value)
        said.append(f"{field.name}={shown if len(shown) <= _LONGEST_SETTING else shown[:_LONGEST_SETTING] + '…'}")
    return f"{type(step).__name__}({', '.join(said)})" if said else type(step).__name__
