from dataclasses import replace

import pytest
import tokenizers

from textmill.ops.character_bpe import reference

TOKENS = {"<unk>": 0, "a": 1, "b": 2, "ab": 3, "abb": 4, "bb": 5}
MERGES = [("a", "b"), ("ab", "b"), ("b", "b")]
MODEL = reference.WordModel(tokens=TOKENS, merges=MERGES)


def test_a_pair_that_stands_twice_has_its_last_rank() -> None:
    assert reference.encode_word("abb", replace(MODEL, merges=[*MERGES, ("a", "b")])) == [(1, 1), (5, 2)]


def test_what_leaves_no_token_belongs_to_the_token_after_it() -> None:
    assert reference.encode_word("?a?b?", MODEL) == [(3, 4)]
    assert reference.encode_word("??", MODEL) == []


def test_bytes_overtake_an_unknown_token() -> None:
    tokens = TOKENS | {"<0xC3>": 6, "<0xA9>": 7}
    model = replace(MODEL, tokens=tokens, unknown="<unk>", byte_fallback=True)
    assert reference.encode_word("?éa", model) == [(6, 1), (7, 1), (0, 1), (1, 1)]
    peer = tokenizers.models.BPE(tokens, MERGES, unk_token="<unk>", byte_fallback=True)
    assert [token.id for token in peer.tokenize("?éa")] == [6, 7, 0, 1]


def test_an_unused_piece_is_taken_apart_as_it_was_last_seen() -> None:
    pieces = [("<unk>", 0.0), ("a", -9.0), ("b", -9.0), ("ab", -2.0), ("ba", -1.0), ("aba", -3.0)]
    kinds = [2, 1, 1, 1, 1, 5]
    encode = reference.encode_sentence
    assert encode("aba", pieces, kinds=kinds, unknown=0) == [(1, 1), (4, 2)]
    assert encode("abaab", pieces, kinds=kinds, unknown=0) == [(1, 1), (4, 2), (3, 2)]


def test_dropout_draws() -> None:
    draws = [reference.draw(seed, 0, step, place) for seed in range(20) for step in range(20) for place in range(20)]
    assert len(set(draws)) == len(draws)
    assert sum(draws) / len(draws) == pytest.approx(0.5, abs=0.01)
    below = [sum(0.1 * k <= value < 0.1 * (k + 1) for value in draws) for k in range(10)]
    assert min(below) > 700
    assert max(below) < 900
    assert reference.encode_word("abb", MODEL, reference.dropping(1.0, 5)) == [(1, 1), (2, 1), (2, 1)]
    assert reference.encode_word("abb", MODEL, reference.dropping(0.0, 5)) == [(4, 3)]
