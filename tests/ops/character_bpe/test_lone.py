"""Characters of three bytes that no token joins with their neighbours, and whole runs of them."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.ops.character_bpe import CharacterBpeEncoder, PieceKind, reference
from textmill.ops.memory import padded

BYTES = [f"<0x{value:02X}>" for value in range(256)]
TEXTS = ["▁", "a", "中", "文", "国", "人", "中文", "人a", "▁a", "。", "大"]
PIECES = [("<unk>", 0.0), *((name, 0.0) for name in BYTES), *((text, -float(i)) for i, text in enumerate(TEXTS))]
KINDS = [PieceKind.UNKNOWN, *[PieceKind.BYTE] * 256, *[PieceKind.NORMAL] * (len(TEXTS) - 1), PieceKind.USER_DEFINED]
OPTIONS = {"unknown": 0, "byte_fallback": True, "kinds": KINDS}
ENCODER = CharacterBpeEncoder.from_scores(PIECES, unknown=0, byte_fallback=True, kinds=KINDS)

runs = st.lists(st.sampled_from("中文国人大。民"), min_size=1, max_size=30).map("".join)
parts = st.sampled_from(["a", "▁", "中文", "é", "𝄞", "人a", "▁▁a", "\ue000", "民"]) | runs
sentences = st.lists(st.lists(parts, min_size=1, max_size=8).map("".join), min_size=1, max_size=4)


def _expected(sentence: str) -> list[tuple[int, int]]:
    return reference.encode_sentence(sentence, PIECES, **OPTIONS)


def _ends(encoded: Sequence[Sequence[tuple[int, int]]]) -> list[int]:
    return np.cumsum([size for tokens in encoded for _, size in tokens]).tolist()


@settings(max_examples=200, deadline=None)
@given(sentences)
def test_equals_the_definition(texts: list[str]) -> None:
    encoded = [_expected(text) for text in texts]
    data = "".join(texts).encode()
    ends = np.cumsum([len(text.encode()) for text in texts]).astype(np.int32)
    ids, counts = ENCODER.encode_sentences(padded(data), ends)
    assert ids.tolist() == [number for tokens in encoded for number, _ in tokens]
    assert counts.tolist() == [len(tokens) for tokens in encoded]
    # the words of one sentence after another, with the ends of their tokens
    words = np.concatenate(
        [
            ENCODER.boundaries(padded(text.encode()), 0, len(text.encode())) + (end - len(text.encode()))
            for text, end in zip(texts, ends.tolist(), strict=True)
        ]
    ).astype(np.int32)
    ids, token_ends = ENCODER.encode_with_ends(padded(data), 0, words)
    assert ids.tolist() == [number for tokens in encoded for number, _ in tokens]
    assert token_ends.tolist() == _ends(encoded)


def test_every_character_of_three_bytes() -> None:
    codes = [code for code in range(0x800, 0x10000, 7) if not 0xD800 <= code < 0xE000]
    for code in [*codes, *map(ord, "中文国人大。▁")]:
        data = chr(code).encode()
        ids = ENCODER.encode(padded(data), 0, np.array([3], np.int32))
        assert ids.tolist() == [number for number, _ in _expected(chr(code))]
