"""What to train: the settings of a tokenizer, free of heavy imports."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

from textmill.errors import ConfigError

END_OF_TEXT = "<|endoftext|>"
NUM_BYTES = 256

Algorithm = Literal["bpe", "wordpiece", "unigram", "words", "chars"]
NORMALIZERS = (
    "nfc",
    "nfd",
    "nfkc",
    "nfkd",
    "lowercase",
    "strip_accents",
    "bert",
    "bert_cased",
    "identity",
    "nmt_nfkc",
    "nmt_nfkc_cf",
    "nfkc_cf",
)
"""Names of normalisers. The last four are sentencepiece's, which also turn blanks into `▁`."""
_SENTENCEPIECE = ("<unk>", "<s>", "</s>")
_DEFAULTS: dict[str, tuple[tuple[str, ...], str, tuple[str, ...]]] = {
    # normalisers, splitter, special tokens
    "bpe": ((), "gpt2", (END_OF_TEXT,)),
    "characters": (("identity",), "metaspace", _SENTENCEPIECE),
    "end_of_word": ((), "whitespace", ("<unk>",)),
    "wordpiece": (("bert",), "bert", ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")),
    "unigram": (("nmt_nfkc",), "metaspace", _SENTENCEPIECE),
    "words": ((), "whitespace", ("<unk>",)),
    "chars": ((), "characters", ("<unk>",)),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizerSpec:
    """The settings of `Tokenizer.train`. What is None is chosen to suit the algorithm.

    Raises:
        ConfigError: a value out of range, settings that exclude one another, or special tokens that repeat or lack
            the unknown token.
    """

    algorithm: Algorithm = "bpe"
    """bpe: byte-pair encoding. wordpiece: as for BERT. unigram: as in sentencepiece. words, chars: a token for each."""
    vocab_size: int = 32_000
    """Number of ids in all: special tokens, the alphabet (for byte-level BPE the 256 bytes), and what is learned."""
    level: Literal["bytes", "characters"] = "bytes"
    """Of bpe: what it starts from. characters: as in sentencepiece, blanks written as `▁`."""
    normalize: tuple[str, ...] | None = None
    """What is done to the text first: nfc, nfd, nfkc, nfkd, lowercase, strip_accents, bert, bert_cased, or
    sentencepiece's identity, nmt_nfkc, nmt_nfkc_cf, nfkc_cf."""
    split: str | None = None
    """Where tokens may not reach across: gpt2, cl100k, o200k, llama3, qwen2, deepseek, tekken, bert, metaspace,
    whitespace, whitespace_split, characters, or a regular expression."""
    digits: Literal["as_split", "runs", "single"] = "as_split"
    """Cut around runs of digits, or around every single digit, before the split does anything."""
    special_tokens: tuple[str, ...] | None = None
    """They get the first ids. Of byte-level bpe the first one ends a text; `<unk>` stands for what has no token."""
    min_frequency: int = 0
    """A pair (of words: a word) seen less often than this is left out."""
    max_token_length: int | None = None
    """Of bpe and wordpiece: tokens joined from longer ones than symbols stay below this length, as in `tokenizers`; of
    unigram, at most this many characters (16 if not given)."""
    initial_alphabet: tuple[str, ...] = ()
    """Characters that get a token whether the text has them or not."""
    limit_alphabet: int | None = None
    """At most so many different characters get a token, the most frequent ones."""
    character_coverage: float | None = None
    """Share of the text's characters that get a token; 0.9995 for character-level bpe and unigram, else all."""
    byte_fallback: bool | None = None
    """Of character-level bpe and unigram: a character without a token becomes the tokens of its bytes. On for bpe."""
    end_of_word: str = ""
    """Of bpe: spelled at the end of every word, as in `</w>` of the paper; makes it character-level."""
    score: Literal["frequency", "likelihood"] = "frequency"
    """Of wordpiece: which pair is merged. frequency: the most frequent one, as in `tokenizers`; likelihood: the
    one that raises the likelihood of the text most, as published."""
    super_words: int = 0
    """Of byte-level bpe: from this vocabulary size on, merges may join words (SuperBPE); 0: never."""
    allow_fewer: bool = False
    """Take fewer ids than vocab_size when the text cannot give as many, instead of raising an error."""

    def __post_init__(self) -> None:
        if self.algorithm not in _DEFAULTS:
            raise ConfigError(
                f"algorithm must be bpe, wordpiece, unigram, words or chars, got {self.algorithm!r}", fix="use bpe"
            )
        if self.split == "":
            raise ConfigError("split must not be empty", fix="use gpt2")
        for name in self.normalize or ():
            if name not in NORMALIZERS:
                raise ConfigError(f"there is no normaliser {name!r}", fix="use " + ", ".join(NORMALIZERS))
        if self.min_frequency < 0:
            raise ConfigError(f"min_frequency must be >= 0, got {self.min_frequency}", fix="use 0 or 2")
        if self.max_token_length is not None and self.max_token_length < 1:
            raise ConfigError(f"max_token_length must be >= 1, got {self.max_token_length}", fix="leave it out")
        if self.limit_alphabet is not None and self.limit_alphabet < 1:
            raise ConfigError(f"limit_alphabet must be >= 1, got {self.limit_alphabet}", fix="leave it out")
        if self.character_coverage is not None and not 0 < self.character_coverage <= 1:
            raise ConfigError(
                f"character_coverage must be above 0 and at most 1, got {self.character_coverage}", fix="use 0.9995"
            )
        for character in self.initial_alphabet:
            if len(character) != 1:
                raise ConfigError(f"initial_alphabet must hold single characters, got {character!r}", fix="split it up")
        self._check_algorithm()
        self._check_special_tokens()

    def _check_algorithm(self) -> None:
        byte_level = self.byte_level
        excluded = {
            "level": self.level == "characters" and self.algorithm != "bpe",
            "end_of_word": bool(self.end_of_word) and self.algorithm != "bpe",
            "score": self.score == "likelihood" and self.algorithm != "wordpiece",
            "super_words": self.super_words > 0 and not byte_level,
            "byte_fallback": bool(self.byte_fallback) and self.family not in ("characters", "unigram"),
            "initial_alphabet": bool(self.initial_alphabet) and byte_level,
            "limit_alphabet": self.limit_alphabet is not None and byte_level,
            "character_coverage": self.character_coverage is not None and (byte_level or self.by_words),
            "min_frequency": self.min_frequency > 0 and self.algorithm == "unigram",
            "max_token_length": self.max_token_length is not None and self.by_words,
        }
        for name, wrong in excluded.items():
            if wrong:
                kind = f"byte-level {self.algorithm}" if byte_level else self.algorithm
                raise ConfigError(f"{name} has no meaning for {kind}, got {getattr(self, name)!r}", fix="leave it out")
        if self.super_words and not self.least_size < self.super_words < self.vocab_size:
            raise ConfigError(
                f"super_words must be a vocabulary size between {self.least_size} and {self.vocab_size}, "
                f"got {self.super_words}",
                fix=f"use {self.least_size + (self.vocab_size - self.least_size) * 4 // 5}",
            )

    def _check_special_tokens(self) -> None:
        names = self.specials
        if len(set(names)) < len(names):
            raise ConfigError(f"special tokens must differ, got {names}", fix="name each one once")
        for token in names:
            if len(token) < 2 or token.encode("utf-8", "replace").decode() != token:
                raise ConfigError(
                    f"a special token needs two or more characters, got {token!r}", fix=f"for example {END_OF_TEXT}"
                )
        if self.needs_unknown and unknown_of(names) is None:
            kind = "characters" if self.algorithm == "bpe" else self.algorithm
            raise ConfigError(
                f"a vocabulary of {kind} needs an unknown token among its special tokens, got {names}",
                fix="add [UNK]" if self.algorithm == "wordpiece" else "add <unk>",
            )
        if self.vocab_size < self.least_size:
            alphabet = "256 bytes and " if self.least_size > len(names) + 1 else ""
            raise ConfigError(
                f"vocab_size must be >= {self.least_size} ({alphabet}{len(names)} special tokens), "
                f"got {self.vocab_size}",
                fix=f"use {self.least_size} or more",
            )

    @property
    def family(self) -> str:
        """bpe (byte-level), characters or end_of_word (character-level bpe), wordpiece, unigram, words, chars."""
        if self.algorithm != "bpe":
            return self.algorithm
        if self.end_of_word:
            return "end_of_word"
        return "bpe" if self.level == "bytes" else "characters"

    @property
    def byte_level(self) -> bool:
        """Whether the alphabet is the 256 bytes."""
        return self.family == "bpe"

    @property
    def by_words(self) -> bool:
        """Whether tokens are whole words or single characters, and nothing is joined."""
        return self.algorithm in ("words", "chars")

    @property
    def needs_unknown(self) -> bool:
        """Whether the model cannot do without a token for what has none."""
        if self.family == "characters":
            # with scores, as in sentencepiece, even where bytes are there to fall back to
            return self.splitter == "metaspace" or not self.has_byte_tokens
        return self.family == "wordpiece" or (self.family == "unigram" and not self.has_byte_tokens)

    @property
    def normalizers(self) -> tuple[str, ...]:
        """`normalize`, or what suits the algorithm."""
        return _DEFAULTS[self.family][0] if self.normalize is None else self.normalize

    @property
    def splitter(self) -> str:
        """`split`, or what suits the algorithm."""
        return _DEFAULTS[self.family][1] if self.split is None else self.split

    @property
    def specials(self) -> tuple[str, ...]:
        """`special_tokens`, or what suits the algorithm."""
        return _DEFAULTS[self.family][2] if self.special_tokens is None else self.special_tokens

    @property
    def has_byte_tokens(self) -> bool:
        """Whether characters without a token fall back to bytes."""
        return self.family == "characters" if self.byte_fallback is None else self.byte_fallback

    @property
    def coverage(self) -> float:
        """`character_coverage`, or what suits the algorithm."""
        if self.character_coverage is not None:
            return self.character_coverage
        return 0.9995 if self.family in ("characters", "unigram") else 1.0

    @property
    def least_size(self) -> int:
        """The smallest vocabulary: special tokens, and the bytes or one token."""
        return len(self.specials) + (NUM_BYTES if self.byte_level or self.has_byte_tokens else 1)

    @property
    def num_merges(self) -> int:
        """Of byte-level bpe, how many ids are left for merges.

        >>> TokenizerSpec(vocab_size=1000).num_merges
        743
        """
        return self.vocab_size - NUM_BYTES - len(self.specials)


def unknown_of(special_tokens: Sequence[str]) -> str | None:
    """The special token that stands for what has no token, by its customary name.

    >>> unknown_of(["[PAD]", "[UNK]"]), unknown_of(["<|endoftext|>"])
    ('[UNK]', None)
    """
    return next((token for token in special_tokens if token.strip("<>[]|").lower() in ("unk", "unknown")), None)
