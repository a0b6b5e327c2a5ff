"""What to train: the settings of a tokenizer, free of heavy imports."""

import dataclasses
from typing import Literal

from textmill.errors import ConfigError

END_OF_TEXT = "<|endoftext|>"
NUM_BYTES = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizerSpec:
    """The settings of `Tokenizer.train`.

    Raises:
        ConfigError: a value out of range, or special tokens that repeat or are empty.
    """

    algorithm: Literal["bpe"] = "bpe"
    """bpe: byte-level byte-pair encoding."""
    vocab_size: int = 32_000
    """Number of ids in all: special tokens, the 256 bytes, and merges."""
    split: str = "gpt2"
    """Where tokens may not reach across: gpt2, cl100k, llama3, o200k, or a regular expression."""
    special_tokens: tuple[str, ...] = (END_OF_TEXT,)
    """They get the first ids. The first one ends a text."""
    min_frequency: int = 0
    """A pair seen less often than this is not merged."""
    max_token_length: int | None = None
    """Tokens joined from longer ones than bytes stay below this many bytes, as in `tokenizers`."""
    allow_fewer: bool = False
    """Take fewer ids than vocab_size when the text cannot give as many, instead of raising an error."""

    def __post_init__(self) -> None:
        if self.algorithm != "bpe":
            raise ConfigError(f"algorithm must be bpe, got {self.algorithm!r}", fix="use bpe")
        if not self.split:
            raise ConfigError("split must not be empty", fix="use gpt2")
        if self.min_frequency < 0:
            raise ConfigError(f"min_frequency must be >= 0, got {self.min_frequency}", fix="use 0 or 2")
        if self.max_token_length is not None and self.max_token_length < 1:
            raise ConfigError(f"max_token_length must be >= 1, got {self.max_token_length}", fix="leave it out")
        if len(set(self.special_tokens)) < len(self.special_tokens):
            raise ConfigError(f"special tokens must differ, got {self.special_tokens}", fix="name each one once")
        for token in self.special_tokens:
            if len(token) < 2 or token.encode("utf-8", "replace").decode() != token:
                raise ConfigError(
                    f"a special token needs two or more characters, got {token!r}", fix=f"for example {END_OF_TEXT}"
                )
        least = NUM_BYTES + len(self.special_tokens)
        if self.vocab_size < least:
            raise ConfigError(
                f"vocab_size must be >= {least} (256 bytes and {len(self.special_tokens)} special tokens), "
                f"got {self.vocab_size}",
                fix=f"use {least} or more",
            )

    @property
    def num_merges(self) -> int:
        """How many ids are left for merges.

        >>> TokenizerSpec(vocab_size=1000).num_merges
        743
        """
        return self.vocab_size - NUM_BYTES - len(self.special_tokens)
