"""sentencepiece's `.model` and `.vocab`, read and written.

Field numbers: `sentencepiece_model.proto` of sentencepiece 0.2.
"""

import math
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from textmill.errors import FormatError, NotSupportedError
from textmill.files import replacing
from textmill.tokenizers.models import CharacterBpeModel, Kind, UnigramModel, WordsModel
from textmill.tokenizers.pipeline import AddedToken, Pipeline
from textmill.tokenizers.protobuf import Value, fields, message, signed
from textmill.tokenizers.steps import DecodeSentencePiece, Pattern, SentencePiece

_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_KINDS: dict[int, Kind] = {
    1: "normal",
    2: "unknown",
    3: "control",
    4: "user_defined",
    5: "unused",
    6: "byte",
}
_NUMBERS = {kind: number for number, kind in _KINDS.items()}
_MODEL_TYPES = {1: "unigram", 2: "bpe", 3: "words", 4: "chars"}
_MODEL_TYPE, _VOCAB_SIZE, _AS_SUFFIX, _BYTE_FALLBACK = 3, 4, 24, 35
_UNKNOWN_ID, _BEGIN_ID, _END_ID, _PAD_ID, _UNKNOWN_SURFACE = 40, 41, 42, 43, 44
_UNKNOWN_PIECE, _BEGIN_PIECE, _END_PIECE, _PAD_PIECE = 45, 46, 47, 48
_NAME, _CHARSMAP, _DUMMY_PREFIX, _SQUEEZE, _ESCAPE = 1, 2, 3, 4, 5
_CUSTOMARY: dict[str, Kind] = {"<unk>": "unknown", "<s>": "control", "</s>": "control", "<pad>": "control"}
"""The kinds of pieces by their names, where a file does not say."""
_SURFACE = " \u2047 "
_WORDS_SPLIT = Pattern(pattern="▁", behavior="merged_with_next", is_regex=False)


def read_model(path: Path) -> Pipeline:
    """The tokenizer of a `.model` file.

    Raises:
        FormatError: missing, cut off, no sentencepiece model, or one that contradicts itself.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror}", fix="check the path") from None
    try:
        return from_proto(data)
    except FormatError as error:
        raise FormatError(f"{path} is not a sentencepiece model: {error.problem}", fix=error.fix) from None


def from_proto(data: bytes) -> Pipeline:
    """The tokenizer that a serialised model describes."""
    pieces, begun = _usual_pieces(data)
    trainer: dict[int, Value] = {}
    normalizer: dict[int, Value] = {}
    for number, value in fields(data, begun):
        if number == _PIECES and isinstance(value, bytes):
            pieces.append(_piece(value, len(pieces)))
        elif number in (_TRAINER, _NORMALIZER) and isinstance(value, bytes):
            (trainer if number == _TRAINER else normalizer).update(fields(value))
    if not pieces:
        raise FormatError("it has no pieces", fix="give a file made by sentencepiece")
    _check(pieces)
    kinds = {id: kind for id, (_, _, kind) in enumerate(pieces) if kind != "normal"}
    special = [id for id, kind in kinds.items() if kind in ("control", "unknown")]
    as_suffix, kind = bool(trainer.get(_AS_SUFFIX, 0)), _MODEL_TYPES.get(_number(trainer, _MODEL_TYPE, 1))
    step = SentencePiece(
        charsmap=_bytes(normalizer, _CHARSMAP),
        name=_bytes(normalizer, _NAME).decode("utf-8", "replace"),
        dummy_prefix=bool(normalizer.get(_DUMMY_PREFIX, 1)),
        squeeze_blanks=bool(normalizer.get(_SQUEEZE, 1)),
        escape_blanks=bool(normalizer.get(_ESCAPE, 1)),
        blank_as_suffix=as_suffix,
        user_defined=tuple(piece for piece, _, kind in pieces if kind == "user_defined"),
    )
    surface = _bytes(trainer, _UNKNOWN_SURFACE).decode("utf-8", "replace") or _SURFACE
    end = next((pieces[id][0] for id in special if pieces[id][0] == _text(trainer, _END_PIECE, "</s>")), None)
    return Pipeline(
        model=_model(kind, pieces, kinds, byte_fallback=bool(trainer.get(_BYTE_FALLBACK, 0))),
        normalizers=(step,),
        splits=(_WORDS_SPLIT,) if kind == "words" else (),
        added=tuple(AddedToken(content=pieces[id][0], id=id) for id in special),
        decoders=(
            DecodeSentencePiece(
                unknown_surface=surface,
                dummy_prefix=step.dummy_prefix,
                squeeze_blanks=step.squeeze_blanks,
                blank_as_suffix=as_suffix,
            ),
        ),
        end_of_text=end,
    )


def _model(
    kind: str | None, pieces: Sequence[tuple[str, float, Kind]], kinds: Mapping[int, Kind], *, byte_fallback: bool
) -> UnigramModel | CharacterBpeModel | WordsModel:
    unknown = next(id for id, kind in kinds.items() if kind == "unknown")
    if kind == "unigram":
        scored = [(piece, score) for piece, score, _ in pieces]
        return UnigramModel(
            pieces=scored, unknown=unknown, byte_fallback=byte_fallback, kinds=kinds, precision="float32"
        )
    tokens = {piece: id for id, (piece, _, _) in enumerate(pieces)}
    if kind == "words":
        return WordsModel(tokens=tokens, unknown=pieces[unknown][0])
    if kind is None:
        raise FormatError("its kind of model is unknown", fix="unigram, bpe, word and char are known")
    return CharacterBpeModel(
        tokens=tokens,
        merges=[] if kind == "chars" else None,
        scores={piece: score for piece, score, _ in pieces},
        kinds={pieces[id][0]: kind for id, kind in kinds.items()},
        unknown=pieces[unknown][0],
        fuse_unknown=True,
        byte_fallback=byte_fallback,
    )


_PIECE, _TEXT, _SCORE, _KIND = b"\x0a\x0a\x15\x18"
"""The keys of the fields of a usual piece, and of the piece itself."""
_SCORE_BYTES, _SHORT = 5, 0x80


def _usual_pieces(data: bytes) -> tuple[list[tuple[str, float, Kind]], int]:
    """(the pieces that the model begins with, the byte after them), as long as they are written as sentencepiece does.

    That is: a text, a score, and a kind unless it is a normal one, each with its key, all shorter than 128 bytes.
    What `_piece` would not take, and what is written in another way, is left to it.
    """
    pieces: list[tuple[str, float, Kind]] = []
    at, isfinite, score_at = 0, math.isfinite, struct.Struct("<f").unpack_from
    while at + 4 < len(data) and data[at] == _PIECE and data[at + 2] == _TEXT:
        stop, end = at + 2 + data[at + 1], at + 4 + data[at + 3]
        if max(data[at + 1], data[at + 3]) >= _SHORT or end + _SCORE_BYTES > stop or stop > len(data):
            break
        number, rest = 1, stop - end - _SCORE_BYTES
        if rest == 2 and data[stop - 2] == _KIND:
            number, rest = data[stop - 1], 0
        (score,) = score_at(data, end + 1)
        if rest or data[end] != _SCORE or end == at + 4 or number not in _KINDS or not isfinite(score):
            break
        try:
            pieces.append((data[at + 4 : end].decode(), score, _KINDS[number]))
        except UnicodeDecodeError:
            break
        at = stop
    return pieces, at


def _piece(data: bytes, id: int) -> tuple[str, float, Kind]:
    piece, score, kind = b"", 0.0, 1
    for number, value in fields(data):
        if number == 1 and isinstance(value, bytes):
            piece = value
        elif number == 2 and isinstance(value, float):
            score = value
        elif number == 3 and isinstance(value, int):
            kind = value
    if not piece or kind not in _KINDS or not math.isfinite(score):
        raise FormatError(f"its piece {id} is {piece[:40]!r}, of the kind {kind}, with the score {score}")
    try:
        return piece.decode(), score, _KINDS[kind]
    except UnicodeDecodeError:
        raise FormatError(f"its piece {id} is not UTF-8: {piece[:40]!r}") from None


def _check(pieces: Sequence[tuple[str, float, Kind]]) -> None:
    """sentencepiece's own conditions."""
    twice = [piece for piece, times in Counter(piece for piece, _, _ in pieces).items() if times > 1]
    if twice:
        raise FormatError(f"the piece {twice[0]!r} stands in it twice")
    unknown = [piece for piece, _, kind in pieces if kind == "unknown"]
    if len(unknown) != 1:
        raise FormatError(f"it must have one unknown piece, it has {len(unknown)}")
    for piece, _, kind in pieces:
        if kind == "byte" and byte_of(piece) is None:
            raise FormatError(f"the byte piece {piece!r} is not of the form <0x0A>")


def byte_of(piece: str) -> int | None:
    """The byte that a piece of the form `<0x0A>` stands for.

    >>> byte_of("<0x0A>"), byte_of("<0xZZ>")
    (10, None)
    """
    if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
        try:
            return int(piece[3:5], 16)
        except ValueError:
            return None
    return None


def to_proto(pipeline: Pipeline) -> bytes:
    """The serialised model.

    Raises:
        NotSupportedError: the pipeline has a part that a sentencepiece model cannot hold.
    """
    model, step = pipeline.model, _normalizer_of(pipeline)
    pieces, model_type = _pieces_of(pipeline)
    kinds = [kind for _, _, kind in pieces]
    names = [piece for piece, _, _ in pieces]
    unknown = kinds.index("unknown")
    decoder = next((step for step in pipeline.decoders if isinstance(step, DecodeSentencePiece)), DecodeSentencePiece())
    begin, end, pad = (_place(names, *known) for known in (("<s>", "<bos>"), ("</s>", "<eos>"), ("<pad>", "[PAD]")))
    trainer: list[tuple[int, Any]] = [
        (_MODEL_TYPE, model_type),
        (_VOCAB_SIZE, len(pieces)),
        (_AS_SUFFIX, int(step.blank_as_suffix)),
        (_BYTE_FALLBACK, int(getattr(model, "byte_fallback", False))),
        (_UNKNOWN_ID, unknown),
        (_BEGIN_ID, begin),
        (_END_ID, end),
        (_PAD_ID, pad),
        (_UNKNOWN_SURFACE, decoder.unknown_surface),
        (_UNKNOWN_PIECE, names[unknown]),
    ]
    for number, id in ((_BEGIN_PIECE, begin), (_END_PIECE, end), (_PAD_PIECE, pad)):
        trainer += [(number, names[id])] if id >= 0 else []
    normalizer: list[tuple[int, Any]] = [
        (_NAME, step.name),
        (_CHARSMAP, step.charsmap),
        (_DUMMY_PREFIX, int(step.dummy_prefix)),
        (_SQUEEZE, int(step.squeeze_blanks)),
        (_ESCAPE, int(step.escape_blanks)),
    ]
    entries = [message([(1, piece), (2, float(score)), (3, _NUMBERS[kind])]) for piece, score, kind in pieces]
    top: list[tuple[int, Any]] = [(_PIECES, entry) for entry in entries]
    return message([*top, (_TRAINER, message(trainer)), (_NORMALIZER, message(normalizer))])


def write_model(pipeline: Pipeline, path: Path) -> None:
    """Writes a `.model` file and the `.vocab` file beside it.

    Raises:
        NotSupportedError: see `to_proto`.
        OutputError: the path can't be written.
    """
    data = to_proto(pipeline)
    rows = "".join(f"{piece}\t{score:g}\n" for piece, score, _ in _pieces_of(pipeline)[0])
    with replacing(path) as file:
        file.write(data)
    with replacing(path.with_suffix(".vocab")) as file:
        file.write(rows.encode("utf-8", "surrogatepass"))


def read_vocab(path: Path) -> Pipeline:
    """The Unigram tokenizer of a `.vocab` file: lines of piece, tabulator, score. The normaliser is not in the file.

    Raises:
        FormatError: missing or malformed.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"cannot read {path}: {error}", fix="check the path") from None
    pieces: list[tuple[str, float]] = []
    for number, line in enumerate(lines, start=1):
        piece, _, score = line.rpartition("\t")
        try:
            pieces += [(piece, float(score))] if line else []
        except ValueError:
            raise FormatError(f"{path}, line {number} is not a piece, a tabulator and a score: {line[:60]!r}") from None
    entries = []
    for piece, points in pieces:
        kind: Kind = "byte" if byte_of(piece) is not None else _CUSTOMARY.get(piece, "normal")
        entries.append(message([(1, piece), (2, points), (3, _NUMBERS[kind])]))
    falls_back = any(byte_of(piece) is not None for piece, _ in pieces)
    trainer = message([(_MODEL_TYPE, 1), (_BYTE_FALLBACK, int(falls_back))])
    try:
        return from_proto(message([*((_PIECES, entry) for entry in entries), (_TRAINER, trainer)]))
    except FormatError as error:
        raise FormatError(f"{path} is not a sentencepiece vocabulary: {error.problem}", fix=error.fix) from None


def _normalizer_of(pipeline: Pipeline) -> SentencePiece:
    splits = () if pipeline.splits == (_WORDS_SPLIT,) else pipeline.splits
    match pipeline.normalizers, splits:
        case (SentencePiece() as step,), ():
            return step
    raise NotSupportedError(
        "a sentencepiece model for a tokenizer with other steps than sentencepiece's normaliser",
        fix="write a tokenizer.json",
    )


def _pieces_of(pipeline: Pipeline) -> tuple[list[tuple[str, float, Kind]], int]:
    """(piece, score, kind) by id, and the number of the model type."""
    model, size = pipeline.model, len(pipeline.strings)
    special = {token.id for token in pipeline.added if token.special}
    if isinstance(model, UnigramModel):
        scores = {id: score for id, (_, score) in enumerate(model.pieces)}
        kinds, unknown, model_type = dict(model.kinds), model.unknown, 1
    elif isinstance(model, CharacterBpeModel) and not (model.prefix or model.suffix):
        ids = model.tokens
        kinds = {ids[token]: kind for token, kind in model.kinds.items() if token in ids}
        unknown = None if model.unknown is None else ids.get(model.unknown)
        scores = {ids[token]: score for token, score in scores_of(model).items() if token in ids}
        model_type = 4 if model.merges is not None and len(model.merges) == 0 else 2
    elif isinstance(model, WordsModel):
        kinds, scores, model_type = {}, {}, 3
        unknown = None if model.unknown is None else model.tokens.get(model.unknown)
    else:
        raise NotSupportedError(
            f"a sentencepiece model with a {type(model).__name__.removesuffix('Model')} vocabulary",
            fix="write a tokenizer.json",
        )
    if unknown is None:
        raise NotSupportedError("a sentencepiece model without an unknown token", fix="write a tokenizer.json")
    rows: list[tuple[str, float, Kind]] = []
    for id in range(size):
        piece = pipeline.strings[id]
        kind = kinds.get(id, "control" if id in special else "normal")
        if piece is None:
            # sentencepiece knows no holes: an unused piece of a name that nothing else has
            piece, kind = f"<unused{id}>", "unused"
        if id == unknown:
            kind = "unknown"
        elif getattr(model, "byte_fallback", False) and byte_of(piece) is not None:
            kind = "byte"
        rows.append((piece, scores.get(id, 0.0), kind))
    return rows, model_type


def scores_of(model: CharacterBpeModel) -> Mapping[str, float]:
    """The scores by which sentencepiece merges in the order of the merges: less by one for each."""
    if model.merges is None or model.scores:
        return model.scores
    scores: dict[str, float] = {}
    for rank, (left, right) in enumerate(model.merges):
        scores.setdefault(left + right, -float(rank))
    lowest = -float(len(model.merges))
    return {token: scores.get(token, lowest) for token in model.tokens}


def _place(names: Sequence[str], *known: str) -> int:
    return next((names.index(name) for name in known if name in names), -1)


def _bytes(message: Mapping[int, Value], number: int) -> bytes:
    value = message.get(number, b"")
    if not isinstance(value, bytes):
        raise FormatError(f"its field {number} must be a string, got {value!r}")
    return value


def _text(message: Mapping[int, Value], number: int, default: str) -> str:
    return _bytes(message, number).decode("utf-8", "replace") or default


def _number(message: Mapping[int, Value], number: int, default: int) -> int:
    value = message.get(number, default)
    if not isinstance(value, int):
        raise FormatError(f"its field {number} must be a number, got {value!r}")
    return signed(value)
