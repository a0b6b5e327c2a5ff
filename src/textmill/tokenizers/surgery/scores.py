"""Scores for new pieces of a Unigram model, on the scale of the model.

A piece's score is the log of its probability among the pieces of its own training. Pieces of another training are moved
by one number, the mean difference of the scores over the pieces that both know, weighted by the new probability:

    offset = sum of p(x) (old(x) - new(x)) / sum of p(x)

Then a new piece is given at least the score of the old pieces that spell it (plus a hundredth), so that it is used
where it stands alone, and at least the lowest score that is there, so that unknown characters cost what they did. This
is an approximation: probabilities no longer add up to one, and a text of old words may be cut in another way where a
new piece fits.
"""

import math
from collections.abc import Sequence

from textmill.tokenizers.models import UnigramModel
from textmill.tokenizers.pipeline import Pipeline
from textmill.tokenizers.sentencepiece_model import byte_of
from textmill.tokenizers.surgery.segments import Segmenter

UNKNOWN_PENALTY = 10.0
"""An unknown character costs so much more than the piece of the lowest score, as in sentencepiece."""
_MARGIN = 0.01


def offset_between(model: UnigramModel, others: Sequence[tuple[str, float]]) -> float:
    """What is added to scores of another training; 0 where no piece is shared.

    >>> model = UnigramModel(pieces=[("a", -3.0), ("b", -4.0)])
    >>> offset_between(model, [("a", -1.0), ("c", -2.0)])
    -2.0
    """
    known = {piece: score for id, (piece, score) in enumerate(model.pieces) if is_normal(model, id)}
    shared = [(math.exp(min(score, 0.0)), known[piece] - score) for piece, score in others if piece in known]
    weight = sum(weight for weight, _ in shared)
    return sum(weight * difference for weight, difference in shared) / weight if weight else 0.0


def fitted(pipeline: Pipeline, new: Sequence[tuple[str, float]], offset: float) -> list[float]:
    """Scores of new pieces on the scale of the pipeline's model."""
    model = pipeline.model
    assert isinstance(model, UnigramModel)
    segments, lowest = Segmenter(pipeline), lowest_score(model)

    def cost(id: int) -> float:
        byte = byte_of(model.pieces[id][0]) if model.byte_fallback else None
        if byte is not None:
            # the first byte pays for its character
            return 0.0 if byte & 0xC0 == 0x80 else lowest - UNKNOWN_PENALTY
        return lowest - UNKNOWN_PENALTY if id == model.unknown else model.pieces[id][1]

    return [
        max(score + offset, sum(cost(id) for id in segments(piece)) + _MARGIN if segments(piece) else lowest, lowest)
        for piece, score in new
    ]


def lowest_score(model: UnigramModel) -> float:
    """The lowest score of a normal piece."""
    return min((score for id, (_, score) in enumerate(model.pieces) if is_normal(model, id)), default=0.0)


def is_normal(model: UnigramModel, id: int) -> bool:
    """Whether text is made of the piece, and not a special token or a byte."""
    return id != model.unknown and model.kinds.get(id, "normal") == "normal" and byte_of(model.pieces[id][0]) is None
