"""The steps around a model, as plain data: normalise, split, finish, decode. What they do stands in files of their own.

The names and options are those of the Hugging Face schema, which is what files hold; `SentencePiece` is the one step
that is ours: a sentencepiece model's normaliser, blanks and all.
"""

import dataclasses
from typing import Literal

# normalisers: text -> text (`normalizing.py`)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Form:
    """A Unicode normal form."""

    name: Literal["NFC", "NFD", "NFKC", "NFKD"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lowercase:
    """Lower case, character by character, as Unicode's default mapping has it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StripAccents:
    """Without combining marks (general category M, as `tokenizers` understands it)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Strip:
    """Without white space at the ends."""

    left: bool = True
    right: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Replace:
    """Every match replaced by a string."""

    pattern: str
    content: str
    is_regex: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepend:
    """A string put before a text that is not empty."""

    text: str = "▁"


@dataclasses.dataclass(frozen=True, kw_only=True)
class BertNormalizer:
    """BERT's: controls dropped, blanks around Chinese characters, accents stripped, lower case."""

    clean_text: bool = True
    isolate_chinese: bool = True
    strip_accents: bool | None = None
    """None: as `lowercase`."""
    lowercase: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Precompiled:
    """sentencepiece's table of replacements as `tokenizers` applies it: grapheme by grapheme."""

    charsmap: bytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Nmt:
    """Controls dropped and odd blanks made plain, as `tokenizers`' Nmt does."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ByteLevelCharacters:
    """Every byte as its character of the byte-level alphabet (the normaliser `ByteLevel`)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SentencePiece:
    """A sentencepiece model's normaliser, exactly. Text comes out with `▁` for every blank."""

    charsmap: bytes = b""
    """The precompiled table of replacements; empty: characters stay as they are."""
    name: str = ""
    """For example nmt_nfkc."""
    dummy_prefix: bool = True
    """A blank is put before the text."""
    squeeze_blanks: bool = True
    """Runs of blanks become one, those at the ends none."""
    escape_blanks: bool = True
    """Blanks become `▁`."""
    blank_as_suffix: bool = False
    """The dummy blank stands at the end."""
    user_defined: tuple[str, ...] = ()
    """Strings that stay as they are, the longest first."""


Normalizer = (
    Form
    | Lowercase
    | StripAccents
    | Strip
    | Replace
    | Prepend
    | BertNormalizer
    | Precompiled
    | Nmt
    | ByteLevelCharacters
    | SentencePiece
)

# splitters: text -> pieces (`splitting.py`)

Behavior = Literal["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pattern:
    """Cut at the matches of a pattern, or, inverted, at what lies between them."""

    pattern: str
    """A regular expression, or a name in `textmill.ops.split.PATTERNS`; with is_regex=False, a plain string."""
    behavior: Behavior = "isolated"
    invert: bool = False
    is_regex: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class ByteLevel:
    """The byte-level alphabet begins here; with `use_regex`, after GPT-2's pattern."""

    add_prefix_space: bool = False
    use_regex: bool = True
    trim_offsets: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metaspace:
    """Blanks become `▁`, and with `split` every one begins a piece."""

    replacement: str = "▁"
    prepend: Literal["always", "first", "never"] = "always"
    split: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class BertSplit:
    """At white space, which is dropped, and around every punctuation character."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Whitespace:
    r"""Matches of `\w+|[^\w\s]+`; the rest is dropped."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WhitespaceSplit:
    """At white space, which is dropped."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Punctuation:
    """At every punctuation character."""

    behavior: Behavior = "isolated"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Digits:
    """Around runs of digits, or around every digit."""

    individual: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Delimiter:
    """At a character, which is dropped (`CharDelimiterSplit`)."""

    character: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class UnicodeScripts:
    """Where the script changes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FixedLength:
    """Pieces of so many characters."""

    length: int = 5


Split = (
    Pattern
    | ByteLevel
    | Metaspace
    | BertSplit
    | Whitespace
    | WhitespaceSplit
    | Punctuation
    | Digits
    | Delimiter
    | UnicodeScripts
    | FixedLength
)

# after the model (`templates.py`)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slot:
    """A place in a template: the first text, the second one, or a special token."""

    content: Literal["A", "B"] | str
    """"A" or "B" for a text; with `special`, a special token's name."""
    special: bool = False
    type_id: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Template:
    """What is put around the ids of a text, or of two."""

    single: tuple[Slot, ...]
    pair: tuple[Slot, ...]
    special_tokens: tuple[tuple[str, tuple[int, ...]], ...]
    """(name, its ids)."""
    form: Literal["TemplateProcessing", "BertProcessing", "RobertaProcessing"] = "TemplateProcessing"
    """How files spell it; the others are templates of a fixed form."""
    trim_offsets: bool = False
    """Of RobertaProcessing: spans leave out a token's blanks at both ends."""
    add_prefix_space: bool = False
    """Of RobertaProcessing: tells the trimming that the first blank is not the text's."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ByteLevelOffsets:
    """Trims spans (the post-processor `ByteLevel`)."""

    trim_offsets: bool = True
    add_prefix_space: bool = True
    use_regex: bool = True


Finish = Template | ByteLevelOffsets


@dataclasses.dataclass(frozen=True, kw_only=True)
class Truncation:
    """Cuts ids to a length."""

    max_length: int = 512
    stride: int = 0
    strategy: Literal["longest_first", "only_first", "only_second"] = "longest_first"
    direction: Literal["right", "left"] = "right"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Padding:
    """Fills rows up to one length."""

    length: int | None = None
    """None: the longest of the batch."""
    direction: Literal["right", "left"] = "right"
    multiple_of: int | None = None
    pad_id: int = 0
    pad_type_id: int = 0
    pad_token: str = "[PAD]"


# decoders: tokens -> text (`decoding.py`)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodeByteLevel:
    """The byte-level alphabet back to bytes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodeWordPiece:
    """Words joined by blanks; with `cleanup`, none before punctuation."""

    prefix: str = "##"
    cleanup: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodeMetaspace:
    """`▁` back to blanks; the first one goes if it was put there."""

    replacement: str = "▁"
    prepend: Literal["always", "first", "never"] = "always"
    split: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodeSuffix:
    """An end-of-word suffix back to a blank (`BPEDecoder`)."""

    suffix: str = "</w>"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodeByteFallback:
    """Byte tokens back to bytes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodeFuse:
    """All tokens become one string."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodeStrip:
    """A character taken away at the ends of each token."""

    content: str = " "
    start: int = 0
    stop: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodeReplace:
    """Every match replaced by a string."""

    pattern: str
    content: str
    is_regex: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodeCtc:
    """Repeats and pad tokens dropped, as in connectionist temporal classification."""

    pad_token: str = "<pad>"
    word_delimiter: str = "|"
    cleanup: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodeSentencePiece:
    """sentencepiece's own: byte tokens to bytes, `▁` to blanks, without the dummy blank; controls are nothing."""

    unknown_surface: str = " ⁇ "
    dummy_prefix: bool = True
    squeeze_blanks: bool = True
    blank_as_suffix: bool = False


Decoder = (
    DecodeByteLevel
    | DecodeWordPiece
    | DecodeMetaspace
    | DecodeSuffix
    | DecodeByteFallback
    | DecodeFuse
    | DecodeStrip
    | DecodeReplace
    | DecodeCtc
    | DecodeSentencePiece
)
