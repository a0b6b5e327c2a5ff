"""The steps around a model that is yet to be trained, from the names in its settings."""

import dataclasses

from textmill.errors import ConfigError
from textmill.tokenizers.models import BpeModel, WordsModel
from textmill.tokenizers.pipeline import Pipeline
from textmill.tokenizers.spec import TokenizerSpec
from textmill.tokenizers.steps import (
    BertNormalizer,
    BertSplit,
    ByteLevel,
    ByteLevelOffsets,
    DecodeByteFallback,
    DecodeByteLevel,
    DecodeFuse,
    DecodeMetaspace,
    Decoder,
    DecodeReplace,
    DecodeSentencePiece,
    DecodeStrip,
    DecodeSuffix,
    DecodeWordPiece,
    Digits,
    FixedLength,
    Form,
    Lowercase,
    Metaspace,
    Normalizer,
    Pattern,
    SentencePiece,
    Split,
    StripAccents,
    Whitespace,
    WhitespaceSplit,
)

_SENTENCEPIECE = ("identity", "nmt_nfkc", "nmt_nfkc_cf", "nfkc_cf")
_KINDS_OF_CHARACTERS = r"▁*[\p{{L}}\p{{M}}]+|▁*{number}|▁*[^▁\p{{L}}\p{{M}}\p{{N}}]+|▁+"
_NORMALIZERS: dict[str, Normalizer] = {
    "nfc": Form(name="NFC"),
    "nfd": Form(name="NFD"),
    "nfkc": Form(name="NFKC"),
    "nfkd": Form(name="NFKD"),
    "lowercase": Lowercase(),
    "strip_accents": StripAccents(),
    "bert": BertNormalizer(),
    "bert_cased": BertNormalizer(lowercase=False),
}
_SPLITS: dict[str, Split] = {
    "bert": BertSplit(),
    "metaspace": Metaspace(),
    "whitespace": Whitespace(),
    "whitespace_split": WhitespaceSplit(),
    "characters": FixedLength(length=1),
}


def front_of(spec: TokenizerSpec) -> Pipeline:
    """The pipeline of the settings, with an empty model.

    Raises:
        ConfigError: steps that exclude one another.
    """
    own = [name for name in spec.normalizers if name in _SENTENCEPIECE]
    if own and spec.family not in ("characters", "unigram"):
        raise ConfigError(
            f"the normaliser {own[0]} goes with character-level bpe and unigram, not with {spec.algorithm}",
            fix="use nfkc, or another algorithm",
        )
    if spec.byte_level:
        pattern = () if spec.splitter == "gpt2" else (Pattern(pattern=spec.splitter),)
        return Pipeline(
            model=BpeModel(tokens={}, merges=[]),
            normalizers=_normalizers(spec),
            splits=(*_digits(spec), *pattern, ByteLevel(use_regex=not pattern)),
            finish=(ByteLevelOffsets(trim_offsets=False, add_prefix_space=False),),
            decoders=(DecodeByteLevel(),),
        )
    empty = WordsModel(tokens={})
    if own:
        if len(spec.normalizers) > 1 or spec.splitter != "metaspace":
            raise ConfigError(
                f"the normaliser {own[0]} stands alone and goes with the split metaspace, "
                f"got {', '.join(spec.normalizers)} and {spec.splitter}",
                fix="name other normalisers, such as nfkc, or none (an empty --normalize)",
            )
        # digits are kept apart while training, and pieces without two of them keep them apart ever after
        squeeze = own[0] != "identity"
        step = _sentencepiece(own[0], squeeze_blanks=squeeze)
        return Pipeline(model=empty, normalizers=(step,), decoders=(DecodeSentencePiece(squeeze_blanks=squeeze),))
    split = _SPLITS.get(spec.splitter, Pattern(pattern=spec.splitter))
    # blanks are written as ▁ first, or every piece between digits would get one of its own
    splits = (split, *_digits(spec)) if isinstance(split, Metaspace) else (*_digits(spec), split)
    return Pipeline(model=empty, normalizers=_normalizers(spec), splits=splits, decoders=_decoders(spec, split))


def counting_front(spec: TokenizerSpec) -> Pipeline:
    """The pipeline whose pieces training counts.

    sentencepiece keeps letters, numbers and the rest apart while it trains, and by its vocabulary ever after: its
    models split nothing. (Training of unigram has rules of its own for this.)
    """
    front = front_of(spec)
    if spec.family == "characters" and any(isinstance(step, SentencePiece) for step in front.normalizers):
        number = r"\p{N}" if spec.digits == "single" else r"\p{N}+"
        return dataclasses.replace(front, splits=(Pattern(pattern=_KINDS_OF_CHARACTERS.format(number=number)),))
    return front


def _normalizers(spec: TokenizerSpec) -> tuple[Normalizer, ...]:
    return tuple(_NORMALIZERS[name] for name in spec.normalizers)


def _digits(spec: TokenizerSpec) -> tuple[Split, ...]:
    return () if spec.digits == "as_split" else (Digits(individual=spec.digits == "single"),)


def _sentencepiece(name: str, *, squeeze_blanks: bool) -> SentencePiece:
    from textmill.tokenizers.charsmaps import charsmap

    rules = b"" if name == "identity" else charsmap(name)
    return SentencePiece(charsmap=rules, name=name, squeeze_blanks=squeeze_blanks)


def _decoders(spec: TokenizerSpec, split: Split) -> tuple[Decoder, ...]:
    if spec.end_of_word:
        return (DecodeSuffix(suffix=spec.end_of_word),)
    if spec.algorithm == "wordpiece":
        return (DecodeWordPiece(),)
    if isinstance(split, Metaspace):
        if not spec.has_byte_tokens:
            return (DecodeMetaspace(),)
        # as in Llama's file: bytes become text first, and then the first blank goes
        blanks = DecodeReplace(pattern="▁", content=" ")
        return blanks, DecodeByteFallback(), DecodeFuse(), DecodeStrip(content=" ", start=1)
    if spec.has_byte_tokens:
        return DecodeByteFallback(), DecodeFuse()
    # words are joined by blanks where no decoder says otherwise
    return () if spec.algorithm == "words" else (DecodeFuse(),)
