"""Text without blanks is cut where no piece joins two characters, and the ids stay those of the definition."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from textmill.ops.memory import padded
from textmill.ops.unigram import UnigramEncoder, reference
from textmill.ops.unigram.neighbours import neighbour_tables

# neighbours of one, two, three and four bytes, and a blank
ALPHABET = "中国人民大a,é𝄞▁"
BYTES = [(f"<0x{value:02X}>", 0.0) for value in range(256)]
SCORES = [[-1.0, -2.0, -3.0], [-0.1, -0.2, -0.3], [-1000.3, -2000.6], [-30000.0, -60000.1]]


@st.composite
def vocabularies(draw):
    """Few pieces over few characters, so that some neighbours stand in a piece, and some characters in none."""
    strings = draw(st.lists(st.text(ALPHABET, min_size=1, max_size=3), unique=True, min_size=1, max_size=10))
    scores = draw(st.sampled_from(SCORES))
    return [("<unk>", 0.0), *((string, draw(st.sampled_from(scores))) for string in strings)]


texts = st.text(ALPHABET, max_size=60).map(str.encode)
hostile = st.lists(texts | st.binary(max_size=4), max_size=5).map(b"".join)


@settings(max_examples=400)
@given(vocabularies(), hostile, st.sampled_from([0, 0xA0, 256]), st.sampled_from(["float32", "float64"]))
@example([("<unk>", 0.0), ("a", -1.0)], "中国人民".encode() * 40, 256, "float32")
@example([("<unk>", 0.0), ("中国", -30000.0)], "中国人民".encode() * 40, 0, "float32")
def test_the_ids_are_those_of_the_definition(pieces, text, num_bytes, precision):
    encoder = UnigramEncoder(pieces + BYTES[:num_bytes], unknown=0, byte_fallback=num_bytes > 0, precision=precision)
    expected = reference.encode(text, encoder.vocabulary)
    poisoned = padded(b"\xe4\xb8" + text + "中中".encode())
    # twice: segmented, then out of the cache
    for _ in range(2):
        assert encoder.encode_sentence(padded(text), 0, len(text)).tolist() == expected
        assert encoder.encode_sentence(poisoned, 2, 2 + len(text)).tolist() == expected
    ends = np.array([len(text)] if text else [], dtype=np.int32)
    ids, token_ends = encoder.encode_with_ends(padded(text), 0, ends)
    assert ids.tolist() == expected
    assert token_ends.tolist() == sorted(set(token_ends.tolist()))
    assert token_ends.tolist()[-1:] == ends.tolist()


@settings(max_examples=100)
@given(vocabularies(), st.lists(hostile.filter(bool), max_size=6))
def test_sentences_together_have_the_ids_of_each(pieces, sentences):
    encoder = UnigramEncoder(pieces, unknown=0)
    text, ends = padded(b"".join(sentences)), np.cumsum([len(sentence) for sentence in sentences]).astype(np.int32)
    ids, counts = encoder.encode_sentences(text, ends)
    expected = [reference.encode(sentence, encoder.vocabulary) for sentence in sentences]
    assert counts.tolist() == [len(row) for row in expected]
    assert ids.tolist() == [number for row in expected for number in row]


def test_every_pair_of_neighbours_in_a_piece_is_in_the_table():
    generator = np.random.default_rng(0)
    letters = [chr(code) for code in generator.integers(0x4E00, 0x9000, 200).tolist()] + list("ab, ")
    pieces = ["".join(generator.choice(letters, 3)) for _ in range(2000)]
    pairs, known = neighbour_tables([piece.encode() for piece in pieces])
    bits = (8 * len(pairs)).bit_length() - 1
    set_bits, known_bits = np.unpackbits(pairs, bitorder="little"), np.unpackbits(known, bitorder="little")
    for piece in pieces:
        for first, second in zip(map(ord, piece), map(ord, piece[1:]), strict=False):
            if first >= 0x800 or second >= 0x800:
                key = (first << 16 | second) * 0x9E3779B97F4A7C15 % 2**64
                assert set_bits[key >> (64 - bits)]
        assert all(known_bits[ord(letter)] for letter in piece)
    # most other pairs are not: there a text is cut
    assert set_bits.mean() < 0.1
    assert not known_bits[0xAC00]
