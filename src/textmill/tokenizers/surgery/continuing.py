"""BPE training that goes on where a vocabulary ended: the new text is encoded by it, and pairs of its tokens merge.

So the merges that are there need not be replayed, and every rule of the encoder holds: whole pieces, byte fallback,
the longest match of WordPiece. Of pairs with the same count the one of lower ids is merged first, as in training.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from textmill.ops.bpe import PieceCounts
from textmill.ops.bpe.symbols import SymbolTable
from textmill.ops.bpe.trainer import Progress, Rules, Stream, Trainer
from textmill.ops.memory import padded
from textmill.tokenizers.encoders import piece_encoder
from textmill.tokenizers.models import BpeModel, CharacterBpeModel, WordPieceModel
from textmill.tokenizers.pipeline import Pipeline
from textmill.tokenizers.sentencepiece_model import byte_of

_PIECES_AT_ONCE = 1 << 16
_CUT = -1
_LEFT, _RIGHT, _MADE = 0, 1, 3


def continued(
    pipeline: Pipeline, counts: PieceCounts, num_tokens: int, rules: Rules, progress: Progress | None = None
) -> tuple[list[Any], list[tuple[Any, Any]]]:
    """(at most `num_tokens` new tokens, the merges that make them) as the model of the pipeline spells them.

    Raises:
        DataError: a piece is not UTF-8, and the model's tokens are strings.
    """
    model = pipeline.model
    assert isinstance(model, BpeModel | CharacterBpeModel | WordPieceModel)
    tokens: Mapping[Any, int] = model.tokens
    names = sorted(tokens, key=tokens.__getitem__)
    symbol_of = np.full(len(pipeline.strings) + 256, _CUT, dtype=np.int32)
    for symbol, name in enumerate(names):
        if _may_join(model, name):
            symbol_of[tokens[name]] = symbol
    stream = _stream(pipeline, counts, symbol_of)
    lengths = np.array([_length(model, name) for name in names], dtype=np.int64)
    merged = np.flatnonzero(lengths > 1)
    table = SymbolTable(
        [name if isinstance(name, bytes) else name.encode("utf-8", "surrogatepass") for name in names],
        lengths,
        # every merge takes a symbol away, so a number that is far too large costs no memory
        min(len(names) + num_tokens, len(names) + len(stream.symbols)),
        prefix=b"" if isinstance(model, BpeModel) else model.prefix.encode(),
        checked=True,
    )
    trainer = Trainer(stream, table, num_initial=int(merged[0]) if len(merged) else len(names), rules=rules)
    done = trainer.run(progress)
    spelled: list[Any] = list(table.names)
    if not isinstance(model, BpeModel):
        spelled = [name.decode("utf-8", "surrogatepass") for name in table.names]
    return spelled[len(names) :], [(spelled[left], spelled[right]) for left, right in done[:, [_LEFT, _RIGHT]].tolist()]


def _stream(pipeline: Pipeline, counts: PieceCounts, symbol_of: np.ndarray) -> Stream:
    """The pieces as symbols: what they are encoded to, -1 for a token that joins no other."""
    encoder = piece_encoder(pipeline.model, len(pipeline.strings))
    blocks, sizes = [np.empty(0, dtype=np.int32)], [np.zeros(1, dtype=np.int64)]
    for first in range(0, len(counts), _PIECES_AT_ONCE):
        offsets = counts.offsets[first : first + _PIECES_AT_ONCE + 1]
        start = int(offsets[0])
        ends = (offsets[1:] - start).astype(np.int32)
        ids, token_ends = encoder.encode_with_ends(padded(counts.arena[start : int(offsets[-1])].tobytes()), 0, ends)
        blocks.append(symbol_of[ids])
        sizes.append(np.diff(np.searchsorted(token_ends, ends, side="right"), prepend=0))
    return Stream(symbols=np.concatenate(blocks), offsets=np.cumsum(np.concatenate(sizes)), counts=counts.counts)


def _may_join(model: BpeModel | CharacterBpeModel | WordPieceModel, name: Any) -> bool:
    """Whether text stands behind the token: not the unknown token, a byte's, or a special one."""
    if isinstance(model, BpeModel):
        return True
    if name == model.unknown:
        return False
    if isinstance(model, WordPieceModel):
        return True
    return model.kinds.get(name, "normal") == "normal" and not (model.byte_fallback and byte_of(name) is not None)


def _length(model: BpeModel | CharacterBpeModel | WordPieceModel, name: Any) -> int:
    """In bytes or characters, without marks."""
    if isinstance(model, BpeModel):
        return len(name)
    name = name.removeprefix(model.prefix)
    return len(name) if isinstance(model, WordPieceModel) else len(name.removesuffix(model.suffix))
