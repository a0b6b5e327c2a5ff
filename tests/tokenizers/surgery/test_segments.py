"""How the text of a token is encoded without it, held to the encoders."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tokenizers.surgery.samples import SETTINGS

from textmill.ops.bpe.reference import encode
from textmill.ops.memory import padded
from textmill.tokenizers.encoders import piece_encoder
from textmill.tokenizers.models import BpeModel
from textmill.tokenizers.surgery.segments import Joiner, Segmenter

NAMES = ["ranks", *SETTINGS]


@settings(max_examples=300)
@given(name=st.sampled_from(NAMES), text=st.text(st.sampled_from("thewlmir▁ds轮Üxя"), min_size=1, max_size=12))
def test_a_whole_piece_is_what_the_encoder_makes_of_it(small, name, text):
    pipeline = small(name).pipeline
    data = text.encode()
    expected = piece_encoder(pipeline.model, len(pipeline.strings)).encode(
        padded(data), 0, np.array([len(data)], dtype=np.int32)
    )
    found = list(Segmenter(pipeline)(data if name in ("ranks", "bpe", "bpe, normalised") else spelled(name, text)))
    if name in ("characters", "end of word"):
        # the encoder joins unknown neighbours to one token where the model says so
        unknown = small(name).token_to_id("<unk>")
        found, expected = ([id for id in ids if id != unknown] for ids in (found, expected.tolist()))
        assert found == expected
    else:
        assert found == expected.tolist()


def spelled(name: str, text: str) -> str:
    return text + "</w>" if name == "end of word" else text


@pytest.mark.parametrize("name", NAMES)
def test_a_token_that_is_there_is_itself(small, name):
    pipeline = small(name).pipeline
    segments = Segmenter(pipeline)
    model = pipeline.model
    names = [piece for piece, _ in model.pieces] if name.startswith("unigram") else list(model.tokens)
    reached = sum(len(segments(token)) == 1 for token in names)
    assert reached >= 0.9 * len([token for token in names if token not in pipeline.special_tokens]) - 256 * (
        "<0x00>" in names
    )


@settings(max_examples=200)
@given(
    merges=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), max_size=6, unique=True),
    more=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=8),
    piece=st.text("abc", max_size=14),
)
def test_joining_is_the_definition(merges, more, piece):
    tokens = {bytes([byte]): byte for byte in range(256)}
    rows = [(left.encode(), right.encode()) for left, right in merges]
    for left, right in rows:
        tokens.setdefault(left + right, len(tokens))
    made = list(tokens)[256:]
    for left, right in more:
        if max(left, right) < len(made) and (made[left], made[right]) not in rows:
            rows.append((made[left], made[right]))
            tokens.setdefault(made[left] + made[right], len(tokens))
    joiner = Joiner(BpeModel(tokens=tokens, merges=rows))
    ids = [(tokens[left], tokens[right], tokens[left + right]) for left, right in rows]
    found, products = joiner.join(joiner.first(piece.encode()))
    assert found == encode(piece.encode(), range(256), ids)
    assert len(products) == len(piece) - len(found)


def test_a_very_long_token():
    tokens = {bytes([byte]): byte for byte in range(256)}
    merges = [(b"a" * (1 << n), b"a" * (1 << n)) for n in range(17)]
    tokens |= {left + right: 256 + n for n, (left, right) in enumerate(merges)}
    joiner = Joiner(BpeModel(tokens=tokens, merges=merges))
    assert joiner.join(joiner.first(b"a" * (1 << 17)))[0] == [256 + 16]
