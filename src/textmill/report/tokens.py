"""A tokenizer's part of the report, measured on held-out text."""

from typing import Protocol

import numpy as np

from textmill.metrics.tokenizer import longest_tokens, token_counts, tokenizer_figures
from textmill.report.data import Piece, TokenizerView

NUM_LONGEST = 24
EXAMPLE_CHARACTERS = 700
MOST_RANKS = 2000


class AnyTokenizer(Protocol):
    """What is used of a tokenizer here."""

    @property
    def vocab_size(self) -> int: ...
    def encode(self, text: str) -> list[int]: ...
    def encode_array(self, data: bytes) -> np.ndarray: ...
    def spans(self, text: str) -> list[tuple[int, int]]: ...
    def id_to_bytes(self, id: int) -> bytes: ...


def tokenizer_view(tokenizer: AnyTokenizer, text: str, *, algorithm: str, example: str = "") -> TokenizerView:
    """The figures on `text`, with `example` (or the text's own beginning) cut into tokens.

    Raises:
        DataError: `text` has no words.
    """
    ids = tokenizer.encode_array(text.encode("utf-8"))
    figures = tokenizer_figures(text, ids, tokenizer.vocab_size)
    vocabulary = [tokenizer.id_to_bytes(token) for token in range(tokenizer.vocab_size)]
    counts = np.sort(token_counts(ids, tokenizer.vocab_size))[::-1]
    # ranks evenly spread on a logarithmic scale would need their ranks too; the first thousands tell the story
    ranked = counts[counts > 0][:MOST_RANKS]
    return TokenizerView(
        algorithm=algorithm,
        vocab_size=figures.vocab_size,
        bytes_per_token=figures.bytes_per_token,
        fertility=figures.fertility,
        unused_share=figures.unused_share,
        renyi_efficiency=figures.renyi_efficiency,
        coverage=figures.coverage,
        length_counts=tuple(np.bincount([len(token) for token in vocabulary]).tolist()),
        rank_counts=tuple(ranked.tolist()),
        longest=tuple(token.decode("utf-8", "replace") for token in longest_tokens(vocabulary, NUM_LONGEST)),
        example=pieces(tokenizer, example or _beginning(text)),
    )


def pieces(tokenizer: AnyTokenizer, text: str) -> tuple[Piece, ...]:
    """The text cut into its tokens; together the pieces are the text again.

    A character of several bytes may be spread over tokens: the first of them shows it, the others show nothing.
    """
    found: list[Piece] = []
    done = 0
    for token, (start, end) in zip(tokenizer.encode(text), tokenizer.spans(text), strict=True):
        found.append(Piece(text=text[max(start, done) : end], id=token))
        done = max(done, end)
    return tuple(found)


def _beginning(text: str) -> str:
    """The first lines, up to EXAMPLE_CHARACTERS, cut after a word."""
    text = text.strip()
    if len(text) <= EXAMPLE_CHARACTERS:
        return text
    cut = text.rfind(" ", 0, EXAMPLE_CHARACTERS)
    return text[: cut if cut > 0 else EXAMPLE_CHARACTERS]
