import numpy as np

from textmill.report.tokens import pieces, tokenizer_view


class Bytes:
    """One token a byte; spans are in characters, as a real tokenizer's."""

    vocab_size = 256

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def encode_array(self, data: bytes) -> np.ndarray:
        return np.frombuffer(data, np.uint8).astype(np.int32)

    def spans(self, text: str) -> list[tuple[int, int]]:
        return [(i, i + 1) for i, character in enumerate(text) for _ in character.encode()]

    def id_to_bytes(self, id: int) -> bytes:
        return bytes([id])


def test_pieces_are_the_text_even_where_tokens_share_a_character() -> None:
    found = pieces(Bytes(), "né 東")
    assert "".join(piece.text for piece in found) == "né 東"
    assert [piece.id for piece in found] == list("né 東".encode())
    assert [piece.text for piece in found] == ["n", "é", "", " ", "東", "", ""]


def test_the_view_counts_by_hand() -> None:
    view = tokenizer_view(Bytes(), "aab b", algorithm="bytes")
    assert (view.bytes_per_token, view.fertility, view.vocab_size) == (1.0, 2.5, 256)
    assert view.unused_share == 253 / 256
    assert view.rank_counts == (2, 2, 1)
    assert view.length_counts == (0, 256)
    assert len(view.longest) == 24
    assert "".join(piece.text for piece in view.example) == "aab b"


def test_a_long_text_is_shown_in_part_up_to_a_word() -> None:
    view = tokenizer_view(Bytes(), "word " * 1000, algorithm="bytes")
    shown = "".join(piece.text for piece in view.example)
    assert 600 < len(shown) <= 700
    assert shown.endswith("word")
