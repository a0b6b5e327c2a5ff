"""`extend`: a vocabulary trained further on new text. Old ids stay what they are, new ones follow.

    byte-level and character BPE   merges go on after the old ones: a new text is the old tokens, joined further
    WordPiece                      pairs of tokens join as in BPE; a word is then its longest matches, as ever
    Unigram                        a vocabulary is trained on the new text; its pieces are added, on the old scale
    words, characters              the most frequent ones that have no token yet

BPE alone has the property that new ids taken apart by `Edit.new_pieces` are the ids of the old tokenizer (but for
tokens of the old vocabulary that no merge of it made, and that a new merge makes).
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator

import numpy as np

from textmill.errors import ConfigError, DataError, NotSupportedError
from textmill.ops.bpe import PieceCounts
from textmill.ops.bpe import cpu_alphabet as kernels
from textmill.ops.bpe.alphabet import Alphabet, character_totals, kept_characters
from textmill.ops.bpe.trainer import Progress, Rules
from textmill.tokenizers.added import AddedTokenFinder
from textmill.tokenizers.counting import count_pieces
from textmill.tokenizers.fronts import counting_front
from textmill.tokenizers.models import BpeModel, CharacterBpeModel, UnigramModel, WordPieceModel, WordsModel
from textmill.tokenizers.pipeline import TEXT, Pipeline, utf8
from textmill.tokenizers.spec import TokenizerSpec
from textmill.tokenizers.steps import ByteLevel, ByteLevelCharacters, Prepend, Replace, SentencePiece
from textmill.tokenizers.surgery.continuing import continued
from textmill.tokenizers.surgery.edit import Edit, appended, grown
from textmill.tokenizers.surgery.scores import fitted, is_normal, offset_between
from textmill.tokenizers.surgery.segments import Segmenter
from textmill.tokenizers.tokenizer import Tokenizer

_BLANKS_REPLACED = Replace(pattern=" ", content="▁")
_LONGEST_PIECE = 16
_MOST_TRIALS = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExtensionRules:
    """What may become a new token."""

    min_frequency: int = 0
    """A pair, or a word, seen less often is left alone."""
    max_token_length: int | None = None
    """In bytes or characters, as in training."""
    character_coverage: float = 0.9995
    """Characters without a token get one, the most frequent ones until so much of the new text is covered."""
    allow_fewer: bool = False
    """Be content with as many tokens as the text gives."""


_DEFAULTS = ExtensionRules()


def extend(
    tokenizer: Tokenizer,
    texts: Iterable[str | bytes],
    num_tokens: int,
    rules: ExtensionRules = _DEFAULTS,
    *,
    progress: Progress | None = None,
    threads: int = 1,
) -> Edit:
    """The tokenizer with `num_tokens` more tokens, learned from the texts. New ids follow the old ones.

    Characters that have no token come first, at most half of the new tokens where they can fall back to bytes. With
    BPE, extending on the text that the tokenizer was trained on gives what training a larger vocabulary had given.

    Args:
        progress: called as progress(tokens made, tokens wanted).

    Raises:
        ConfigError: num_tokens below 1, or a token would be named like an added token.
        DataError: no text, or too little for so many tokens.
        NotSupportedError: BPE over characters whose pieces are spelled in the byte-level alphabet.
    """
    if num_tokens < 1:
        raise ConfigError(f"the number of new tokens must be >= 1, got {num_tokens}", fix="use 1000, for example")
    pipeline = tokenizer.pipeline
    counts = count_pieces(_without_added(pipeline, texts), _counting_pipeline(pipeline), threads=threads)
    if len(counts) == 0:
        raise DataError("there is no text to extend a tokenizer on", fix="give at least one text that is not empty")
    match pipeline.model:
        case UnigramModel():
            larger = _more_pieces(pipeline, counts, num_tokens, rules, threads)
        case WordsModel():
            larger = _more_words(pipeline, counts, num_tokens, rules)
        case _:
            larger = _more_merges(pipeline, counts, num_tokens, rules, progress)
    found = len(larger.strings) - len(pipeline.strings)
    if found < num_tokens and not rules.allow_fewer:
        raise DataError(
            f"the text gives {found} new tokens, {num_tokens} were asked for",
            fix=f"ask for {found}, give more text, or allow fewer" if found else "give text with something new in it",
        )
    return grown(tokenizer, larger)


def _without_added(pipeline: Pipeline, texts: Iterable[str | bytes]) -> Iterator[bytes]:
    """The texts, cut where an added token stands that is always found: no token is learned across it."""
    finder = AddedTokenFinder([token for token in pipeline.added if not token.normalized])
    for text in texts:
        data = utf8(text) if isinstance(text, str) else text
        yield from (
            data[start:stop] for start, stop, id in finder.cut(data, 0, len(data), allow_special=False) if id == TEXT
        )


def _counting_pipeline(pipeline: Pipeline) -> Pipeline:
    """The pipeline whose pieces are counted: with words kept apart, where the tokenizer itself splits nothing."""
    model = pipeline.model
    if isinstance(model, BpeModel):
        return pipeline
    if any(isinstance(step, ByteLevel | ByteLevelCharacters) for step in (*pipeline.splits, *pipeline.normalizers)):
        raise NotSupportedError(
            "extending BPE over the byte-level alphabet with a suffix or prefix", fix="use a byte-level tokenizer"
        )
    if pipeline.normalizers == (Prepend(), _BLANKS_REPLACED) and not pipeline.splits:
        # the same text as sentencepiece's, which can be counted word by word
        step = SentencePiece(name="identity", squeeze_blanks=False)
        pipeline = dataclasses.replace(pipeline, normalizers=(step,))
    if isinstance(model, UnigramModel) or pipeline.splits or not pipeline.normalizers:
        return pipeline
    if isinstance(pipeline.normalizers[-1], SentencePiece):
        apart = not any(name.strip("▁").isnumeric() and len(name.strip("▁")) > 1 for name in model.tokens)
        spec = TokenizerSpec(
            level="characters",
            normalize=("identity",),
            split="metaspace",
            digits="single" if apart else "as_split",
        )
        return dataclasses.replace(pipeline, splits=counting_front(spec).splits)
    return pipeline


def _more_merges(
    pipeline: Pipeline, counts: PieceCounts, num_tokens: int, rules: ExtensionRules, progress: Progress | None
) -> Pipeline:
    larger = appended(pipeline, _alphabet(pipeline, counts, num_tokens, rules))
    left = num_tokens - (len(larger.strings) - len(pipeline.strings))
    if left < 1:
        return larger
    merging = Rules(min_frequency=rules.min_frequency, max_token_length=rules.max_token_length)
    names, merges = continued(larger, counts, left, merging, progress)
    return appended(larger, names, merges=merges)


def _alphabet(pipeline: Pipeline, counts: PieceCounts, most: int, rules: ExtensionRules) -> list[bytes] | list[str]:
    """New tokens for bytes or characters of the text that have none, the most frequent first."""
    model = pipeline.model
    if isinstance(model, BpeModel):
        used = set(counts.arena[: int(counts.offsets[-1])].tobytes())
        return [bytes([byte]) for byte in sorted(used) if bytes([byte]) not in model.tokens][:most]
    assert isinstance(model, CharacterBpeModel | WordPieceModel)
    suffix = model.suffix if isinstance(model, CharacterBpeModel) else ""
    if isinstance(model, CharacterBpeModel) and model.byte_fallback:
        most //= 2
    missing: list[str] = []
    for forms in _spelled(counts, rules, model.prefix, suffix):
        new = [form for form in forms if form not in model.tokens]
        if len(missing) + len(new) > most:
            break
        missing += new
    return missing


def _spelled(counts: PieceCounts, rules: ExtensionRules, prefix: str, suffix: str) -> Iterator[list[str]]:
    """The spellings of each character in the places where it stands: first, inside or last in a piece."""
    totals = np.zeros(kernels.NUM_CODES, np.int64)
    places = np.zeros(kernels.NUM_CODES, np.uint8)
    characters = _characters(counts, rules)
    kernels.count_characters(counts.arena, counts.offsets, counts.counts, totals, places)
    for character in characters:
        seen = [place for place in range(kernels.NUM_FORMS) if places[ord(character)] >> place & 1]
        marked = (
            ("" if place & kernels.FIRST else prefix) + character + (suffix if place & kernels.LAST else "")
            for place in seen
        )
        yield list(dict.fromkeys(marked))


def _characters(counts: PieceCounts, rules: ExtensionRules) -> list[str]:
    """The characters that are to have tokens, the most frequent first."""
    totals = character_totals(counts)
    _, cutting = kept_characters(totals, Alphabet(coverage=rules.character_coverage))
    kept = (character for character in totals if character not in cutting)
    return sorted(kept, key=lambda character: (-totals[character], character))


def _more_words(pipeline: Pipeline, counts: PieceCounts, num_tokens: int, rules: ExtensionRules) -> Pipeline:
    by_count = sorted((-count, piece.decode("utf-8", "replace")) for piece, count in counts.to_mapping().items())
    new = [word for count, word in by_count if -count >= rules.min_frequency and word not in pipeline.ids]
    return appended(pipeline, new[:num_tokens])


def _more_pieces(
    pipeline: Pipeline, counts: PieceCounts, num_tokens: int, rules: ExtensionRules, threads: int
) -> Pipeline:
    """A vocabulary of its own is trained on the text, so large that it has enough pieces that are new."""
    from textmill.ops.unigram.train import train_unigram

    model = pipeline.model
    assert isinstance(model, UnigramModel)
    required = _characters(counts, rules)
    known = {piece for id, (piece, _) in enumerate(model.pieces) if is_normal(model, id)}
    size = 2 * num_tokens + len(required)
    trained: list[tuple[str, float]] = []
    new: list[tuple[str, float]] = []
    for _ in range(_MOST_TRIALS):
        trained = train_unigram(
            counts,
            size,
            required_characters=sorted(required),
            max_piece_length=rules.max_token_length or _LONGEST_PIECE,
            threads=threads,
            allow_fewer=True,
        )
        new = [(piece, score) for piece, score in trained if piece not in known and piece not in pipeline.ids]
        if len(new) >= num_tokens or len(trained) < size:
            break
        size *= 2
    chosen = _most_useful(pipeline, new, num_tokens)
    return appended(
        pipeline,
        [piece for piece, _ in chosen],
        scores=fitted(pipeline, chosen, offset_between(model, trained)),
    )


def _most_useful(pipeline: Pipeline, new: list[tuple[str, float]], num_tokens: int) -> list[tuple[str, float]]:
    """Characters without a token, then the pieces that save most tokens: probability x (tokens replaced - 1)."""
    segments, unknown = Segmenter(pipeline), getattr(pipeline.model, "unknown", None)

    def rank(entry: tuple[str, float]) -> tuple[bool, float, str]:
        piece, score = entry
        replaced = segments(piece)
        return len(piece) > 1 or unknown not in replaced, -math.exp(score) * (len(replaced) - 1), piece

    chosen = sorted(new, key=rank)[:num_tokens]
    return sorted(chosen, key=lambda entry: (-entry[1], entry[0]))
