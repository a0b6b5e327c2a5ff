"""How the text of a token is encoded without it, held to the encoders."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tokenizers.surgery.samples import SETTINGS

from textmill.ops.memory import padded
from textmill.tokenizers.encoders import piece_encoder
from textmill.tokenizers.surgery.segments import Segmenter

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
