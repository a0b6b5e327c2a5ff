"""Training: texts -> counted pieces -> merges -> the tokenizer's parts."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from textmill.config import from_json
from textmill.errors import ConfigError, DataError
from textmill.ops.bpe import PieceCounter, train_merges
from textmill.ops.memory import padded
from textmill.ops.split import BLOCK_PIECES, splitter
from textmill.tokenizers.byte_level import BYTES_IN_ORDER, to_bytes
from textmill.tokenizers.engine import check_size
from textmill.tokenizers.pipeline import AddedToken, BpeModel, Pipeline, utf8
from textmill.tokenizers.spec import NUM_BYTES, TokenizerSpec


def resolve(spec: TokenizerSpec | None, settings: Mapping[str, Any]) -> TokenizerSpec:
    """The specification given whole or by its fields.

    Raises:
        ConfigError: both are given, or a field is unknown or out of range.
    """
    if spec is None:
        return from_json(TokenizerSpec, settings, where="the tokenizer's settings")
    if settings:
        raise ConfigError(
            f"give a spec or single settings, not both: {', '.join(settings)}", fix="put them into the spec"
        )
    return spec


def train(
    texts: Iterable[str | bytes], spec: TokenizerSpec, progress: Callable[[int, int], None] | None = None
) -> Pipeline:
    """The parts of a tokenizer trained on the texts.

    Ids are in the order of `tokenizers`: special tokens, the bytes by their byte-level character, merges.

    Raises:
        ConfigError: a special token is a word of the text.
        DataError: no text, too little for the vocabulary, or 2 GiB or more in one text.
    """
    counts = count(texts, spec.split).counts()
    if len(counts) == 0:
        raise DataError("there is no text to train a tokenizer on", fix="give at least one text that is not empty")
    merges = train_merges(
        counts,
        spec.num_merges,
        min_frequency=spec.min_frequency,
        max_token_length=spec.max_token_length,
        progress=progress,
    )
    num_special = len(spec.special_tokens)
    tokens = {bytes([byte]): num_special + index for index, byte in enumerate(BYTES_IN_ORDER)}
    strings = merges.token_bytes()
    for token in strings[NUM_BYTES:]:
        tokens.setdefault(token, num_special + len(tokens))
    for content in spec.special_tokens:
        # as bytes, or as the string by which a vocabulary file names those bytes
        if content.encode() in tokens or to_bytes(content) in tokens:
            raise ConfigError(
                f"the special token {content!r} is also a word of the text", fix="choose a name that no text has"
            )
    size = num_special + len(tokens)
    if size < spec.vocab_size and not spec.allow_fewer:
        raise DataError(
            f"the text gives a vocabulary of at most {size}, {spec.vocab_size} was asked for",
            fix=f"use --vocab-size {size} or less, give more text, or allow fewer",
        )
    pairs = [(strings[left], strings[right]) for left, right in merges.pairs.tolist()]
    added = tuple(AddedToken(content=content, id=id) for id, content in enumerate(spec.special_tokens))
    return Pipeline(
        model=BpeModel(tokens=tokens, merges=pairs),
        split=spec.split,
        added=added,
        end_of_text=spec.special_tokens[0] if spec.special_tokens else None,
    )


def count(texts: Iterable[str | bytes], split: str) -> PieceCounter:
    """How often each piece stands in the texts. Memory is proportional to the pieces that differ."""
    cut = splitter(split)
    counter = PieceCounter()
    ends = np.empty(BLOCK_PIECES, dtype=np.int32)
    for text in texts:
        data = utf8(text) if isinstance(text, str) else text
        check_size(data)
        buffer = padded(data)
        for origin, block in cut.blocks(buffer, 0, len(data), ends):
            counter.add(buffer, origin, block, len(block))
    return counter
