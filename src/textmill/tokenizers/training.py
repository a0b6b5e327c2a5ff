"""Training: texts -> counted pieces -> a vocabulary -> the tokenizer's parts."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from textmill.config import from_json
from textmill.errors import ConfigError, DataError
from textmill.ops.bpe import Merges, PieceCounts, train_merges
from textmill.tokenizers.byte_level import BYTES_IN_ORDER, to_bytes
from textmill.tokenizers.counting import count_pieces
from textmill.tokenizers.fronts import counting_front, front_of
from textmill.tokenizers.models import (
    BpeModel,
    CharacterBpeModel,
    Kind,
    Model,
    UnigramModel,
    WordPieceModel,
    WordsModel,
)
from textmill.tokenizers.pipeline import AddedToken, Pipeline, utf8
from textmill.tokenizers.spec import NUM_BYTES, TokenizerSpec, unknown_of
from textmill.tokenizers.steps import ByteLevel, Pattern
from textmill.tokenizers.vocab_txt import bert_template

Progress = Callable[[int, int], None]

_LINES = r"[^\r\n]+|[\r\n]+"
_BYTE_TOKENS = tuple(f"<0x{byte:02X}>" for byte in range(NUM_BYTES))


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
    texts: Iterable[str | bytes],
    spec: TokenizerSpec,
    progress: Progress | None = None,
    *,
    threads: int = 1,
    start: Pipeline | None = None,
) -> Pipeline:
    """The parts of a tokenizer trained on the texts.

    Ids are in the order of `tokenizers`: special tokens, the alphabet, what was learned.

    start: a tokenizer whose merges come first; training goes on from there, as if it had never stopped.

    Raises:
        ConfigError: a special token is a word of the text, or settings that exclude one another.
        DataError: no text, too little for the vocabulary, or 2 GiB or more in one text.
    """
    if spec.super_words and start is None:
        return _super_words(texts, spec, progress, threads)
    counts = count_pieces(texts, counting_front(spec), threads=threads)
    return train_on_counts(counts, spec, progress, threads=threads, start=start)


def train_on_counts(
    counts: PieceCounts,
    spec: TokenizerSpec,
    progress: Progress | None = None,
    *,
    threads: int = 1,
    start: Pipeline | None = None,
) -> Pipeline:
    """The parts of a tokenizer trained on pieces that were counted before; see `train`.

    Raises:
        ConfigError: merges across words were asked for, which need the lines of the text.
    """
    if spec.super_words and start is None:
        raise ConfigError("super_words needs the text itself, not counts of its pieces", fix="give the text")
    if len(counts) == 0:
        raise DataError("there is no text to train a tokenizer on", fix="give at least one text that is not empty")
    front = front_of(spec)
    work = _Work(counts=counts, spec=spec, progress=progress, threads=threads, first_merges=_first_merges(start, spec))
    makers: dict[str, Callable[[_Work], Model]] = {
        "bpe": _byte_level,
        "characters": _characters,
        "end_of_word": _characters,
        "wordpiece": _wordpiece,
        "unigram": _unigram,
        "words": _words,
        "chars": _words,
    }
    return _finished(front, makers[spec.family](work), spec)


def _finished(front: Pipeline, model: Model, spec: TokenizerSpec) -> Pipeline:
    """The tokenizer, if it has as many ids as were asked for."""
    pipeline = dataclasses.replace(front, model=model, added=_added(spec))
    size = pipeline.vocab_size
    if size > spec.vocab_size:
        raise ConfigError(
            f"the text's characters and the special tokens take {size} ids, vocab_size is {spec.vocab_size}",
            fix=f"use a vocab_size of {size} or more, or limit_alphabet",
        )
    if size < spec.vocab_size and not spec.allow_fewer:
        raise DataError(
            f"the text gives a vocabulary of at most {size}, {spec.vocab_size} was asked for",
            fix=f"use --vocab-size {size} or less, give more text, or allow fewer",
        )
    if spec.algorithm == "wordpiece" and {"[CLS]", "[SEP]"} <= set(spec.specials):
        pipeline = dataclasses.replace(pipeline, finish=(bert_template(pipeline.ids),))
    if spec.byte_level:
        return dataclasses.replace(pipeline, end_of_text=spec.specials[0] if spec.specials else None)
    return pipeline.find_end_of_text()


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Work:
    """What a model is made from."""

    counts: PieceCounts
    spec: TokenizerSpec
    progress: Progress | None
    threads: int
    first_merges: list[Any]
    """Pairs of tokens, bytes or strings, that come before all others."""


def _first_merges(start: Pipeline | None, spec: TokenizerSpec) -> list[Any]:
    """The merges to go on from.

    Raises:
        ConfigError: the algorithm has none, or the tokenizer is of another kind.
    """
    if start is None:
        return []
    kind: type = BpeModel if spec.byte_level else CharacterBpeModel
    merges = start.model.merges if isinstance(start.model, kind) and hasattr(start.model, "merges") else None
    if spec.algorithm != "bpe" or merges is None or spec.super_words:
        raise ConfigError(
            f"training of {spec.algorithm} can't go on from this tokenizer: it has no list of merges of that kind",
            fix="start from a bpe tokenizer of merges (not of scores or ranks), without super_words; or extend one",
        )
    front, wanted = (start.normalizers, start.splits), front_of(spec)
    if front != (wanted.normalizers, wanted.splits):
        raise ConfigError(
            "training can't go on from a tokenizer that normalises or splits otherwise",
            fix="use the --split, --normalize and --digits that it was trained with",
        )
    return list(merges)


def _added(spec: TokenizerSpec) -> tuple[AddedToken, ...]:
    return tuple(AddedToken(content=content, id=id) for id, content in enumerate(spec.specials))


def _byte_level(work: _Work) -> BpeModel:
    spec = work.spec
    merges = train_merges(
        work.counts,
        spec.num_merges,
        min_frequency=spec.min_frequency,
        max_token_length=spec.max_token_length,
        seed_merges=Merges.from_bytes(work.first_merges) if work.first_merges else None,
        progress=work.progress,
    )
    return byte_level_model(merges, spec.specials)


def _super_words(
    texts: Iterable[str | bytes], spec: TokenizerSpec, progress: Progress | None, threads: int
) -> Pipeline:
    """SuperBPE (Liu et al. 2025, arXiv:2503.13423): first within words, then across them, but for line ends."""
    from textmill.ops.bpe.train_super import train_super_merges

    lines = Pipeline(model=BpeModel(tokens={}, merges=[]), splits=(Pattern(pattern=_LINES), ByteLevel(use_regex=False)))
    kept = [utf8(text) if isinstance(text, str) else text for text in texts]
    counts = count_pieces(kept, counting_front(spec), threads=threads)
    if len(counts) == 0:
        raise DataError("there is no text to train a tokenizer on", fix="give at least one text that is not empty")
    first = train_merges(
        counts,
        spec.super_words - NUM_BYTES - len(spec.specials),
        min_frequency=spec.min_frequency,
        max_token_length=spec.max_token_length,
    )
    merges = train_super_merges(
        count_pieces(kept, lines, threads=threads),
        first,
        spec.num_merges,
        min_frequency=spec.min_frequency,
        max_token_length=spec.max_token_length,
        progress=progress,
    )
    front = dataclasses.replace(front_of(spec), splits=lines.splits)
    return _finished(front, byte_level_model(merges, spec.specials), spec)


def byte_level_model(merges: Merges, specials: Sequence[str]) -> BpeModel:
    """Special tokens, the bytes by their byte-level character, merges.

    Raises:
        ConfigError: a special token is a word of the text.
    """
    num_special = len(specials)
    tokens = {bytes([byte]): num_special + index for index, byte in enumerate(BYTES_IN_ORDER)}
    strings = merges.token_bytes()
    for token in strings[NUM_BYTES:]:
        tokens.setdefault(token, num_special + len(tokens))
    for content in specials:
        # as bytes, or as the string by which a vocabulary file names those bytes
        if content.encode() in tokens or to_bytes(content) in tokens:
            raise ConfigError(
                f"the special token {content!r} is also a word of the text", fix="choose a name that no text has"
            )
    return BpeModel(tokens=tokens, merges=[(strings[left], strings[right]) for left, right in merges.pairs.tolist()])


def _characters(work: _Work) -> CharacterBpeModel:
    from textmill.ops.bpe.train_characters import train_character_merges

    spec = work.spec
    reserved = (*spec.specials, *_BYTE_TOKENS) if spec.has_byte_tokens else spec.specials
    found = train_character_merges(
        work.counts,
        spec.vocab_size,
        _alphabet(spec, reserved, suffix=spec.end_of_word),
        min_frequency=spec.min_frequency,
        max_token_length=spec.max_token_length,
        seed_merges=work.first_merges,
        progress=work.progress,
    )
    _check_specials(spec, (left + right for left, right in found.merges))
    tokens = {token: id for id, token in enumerate(found.vocabulary)}
    if spec.family == "end_of_word" or spec.splitter != "metaspace":
        return CharacterBpeModel(
            tokens=tokens,
            merges=found.merges,
            unknown=unknown_of(spec.specials),
            byte_fallback=spec.has_byte_tokens,
            suffix=spec.end_of_word,
        )
    kinds = special_kinds(spec)
    scores = {token: 0.0 if token in kinds else -float(id) for token, id in tokens.items()}
    return CharacterBpeModel(
        tokens=tokens,
        merges=None,
        scores=scores,
        kinds=kinds,
        unknown=unknown_of(spec.specials),
        fuse_unknown=True,
        byte_fallback=spec.has_byte_tokens,
    )


def special_kinds(spec: TokenizerSpec) -> dict[str, Kind]:
    """sentencepiece's kinds of the special tokens and byte tokens."""
    unknown = unknown_of(spec.specials)
    kinds: dict[str, Kind] = {token: "unknown" if token == unknown else "control" for token in spec.specials}
    return kinds | dict.fromkeys(_BYTE_TOKENS if spec.has_byte_tokens else (), "byte")


def _wordpiece(work: _Work) -> WordPieceModel:
    spec = work.spec
    from textmill.ops.wordpiece import train as trainers

    trainer = trainers.train_wordpiece
    if spec.score == "likelihood":
        trainer = trainers.train_wordpiece_by_likelihood
    found = trainer(
        work.counts,
        spec.vocab_size,
        _alphabet(spec, spec.specials, prefix="##"),
        min_frequency=max(spec.min_frequency, 2) if spec.score == "likelihood" else spec.min_frequency,
        max_token_length=spec.max_token_length,
        progress=work.progress,
    )
    _check_specials(spec, (left + right.removeprefix("##") for left, right in found.merges))
    unknown = unknown_of(spec.specials)
    assert unknown is not None, "the settings were checked"
    return WordPieceModel(tokens={token: id for id, token in enumerate(found.vocabulary)}, unknown=unknown)


def _check_specials(spec: TokenizerSpec, words: Iterable[str]) -> None:
    """Checks that the text has taught no special token.

    Raises:
        ConfigError: it has.
    """
    taught = set(spec.specials).intersection(words)
    if taught:
        raise ConfigError(
            f"the special token {min(taught)!r} is also a word of the text", fix="choose a name that no text has"
        )


def _alphabet(spec: TokenizerSpec, reserved: tuple[str, ...], *, prefix: str = "", suffix: str = "") -> Any:
    from textmill.ops.bpe.alphabet import Alphabet

    return Alphabet(
        prefix=prefix,
        suffix=suffix,
        reserved=reserved,
        initial=spec.initial_alphabet,
        limit=spec.limit_alphabet,
        coverage=spec.coverage,
    )


def _unigram(work: _Work) -> UnigramModel:
    spec = work.spec
    from textmill.ops.bpe.alphabet import character_totals, kept_characters
    from textmill.ops.unigram.piece_rules import PieceRules
    from textmill.ops.unigram.train import train_unigram

    alphabet = _alphabet(spec, ())
    totals = character_totals(work.counts)
    left_out, cutting = kept_characters(totals, alphabet)
    required = sorted({*totals, *spec.initial_alphabet} - left_out - cutting)
    reserved = (*spec.specials, *_BYTE_TOKENS) if spec.has_byte_tokens else spec.specials
    pieces = train_unigram(
        work.counts,
        spec.vocab_size - len(reserved),
        required_characters=required,
        max_piece_length=spec.max_token_length or 16,
        threads=work.threads,
        progress=work.progress,
        piece_rules=PieceRules(split_digits=spec.digits == "single"),
        # the size in the error is that of the whole vocabulary
        allow_fewer=True,
    )
    kinds = special_kinds(spec)
    known: list[tuple[str, float]] = [*((token, 0.0) for token in reserved), *pieces]
    unknown = unknown_of(spec.specials)
    return UnigramModel(
        pieces=known,
        unknown=None if unknown is None else spec.specials.index(unknown),
        byte_fallback=spec.has_byte_tokens,
        kinds={id: kinds[token] for id, token in enumerate(reserved)},
        precision="float32" if spec.splitter == "metaspace" else "float64",
    )


def _words(work: _Work) -> WordsModel:
    spec = work.spec
    by_count = sorted(
        (-count, piece.decode("utf-8", "replace"))
        for piece, count in work.counts.to_mapping().items()
        if count >= spec.min_frequency
    )
    _check_specials(spec, (word for _, word in by_count))
    words = dict.fromkeys([*spec.specials, *spec.initial_alphabet, *(word for _, word in by_count)])
    most = len(spec.specials) + len(spec.initial_alphabet) + spec.limit_alphabet if spec.limit_alphabet else None
    kept = list(words)[: min(spec.vocab_size, most or spec.vocab_size)]
    return WordsModel(tokens={word: id for id, word in enumerate(kept)}, unknown=unknown_of(spec.specials))
