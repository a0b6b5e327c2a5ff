"""Ids and offsets against the libraries that define them: `tokenizers` and SentencePiece."""

import json
import struct
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models, trainers

from textmill.ops.character_bpe import CharacterBpeEncoder, PieceKind
from textmill.ops.memory import padded

TRAINING = [
    "the cat that sat on the mat; the hatter there then",
    "naïve café, déjà vu — the café's naïveté",
    "的是的不是的 不我不一我 我是一二三四 ，的",
    "ab abab ababab aab aaab aaaab bbbb",
    "для того чтобы или не для",
    "😀😀 👍🏽 e\u0301a\u0300 1234 12 34",
] * 3
CHARACTERS = "abcehtns naïéë的是不我一二，длято😀👍🏽#<>/w▁"
ODD_CHARACTERS = "\u0301\u0300\u200d\u3000\t\n\r\0\x7f\ufeff\ufffd\U0010ffff\u2580\u2582"
HOSTILE = st.text(st.sampled_from(CHARACTERS + ODD_CHARACTERS), max_size=120)

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "suffix": {"end_of_word_suffix": "</w>"},
    "prefix": {"continuing_subword_prefix": "##"},
    "prefix and suffix": {"continuing_subword_prefix": "##", "end_of_word_suffix": "</w>"},
    "unknown": {"unk_token": "<unk>"},
    "suffix, unknown": {"end_of_word_suffix": "</w>", "unk_token": "<unk>"},
    "fused": {"unk_token": "<unk>", "fuse_unk": True},
    "prefix, fused": {"unk_token": "<unk>", "fuse_unk": True, "continuing_subword_prefix": "##"},
    "bytes": {"unk_token": "<unk>", "byte_fallback": True},
    "bytes, fused": {"unk_token": "<unk>", "byte_fallback": True, "fuse_unk": True},
    "whole": {"unk_token": "<unk>", "ignore_merges": True},
}
SPECIAL = ["<unk>", *(f"<0x{value:02X}>" for value in range(256))]


def trained(options: dict[str, Any]) -> tokenizers.Tokenizer:
    """A small vocabulary without some characters of `HOSTILE`, and some bytes if there are any."""
    peer = tokenizers.Tokenizer(models.BPE(**options))
    peer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    given_options = {name: options[name] for name in options if name.startswith(("continuing", "end_of"))}
    special = [name for name in SPECIAL if options.get("byte_fallback")] or ["<unk>"] * ("unk_token" in options)
    trainer = trainers.BpeTrainer(
        vocab_size=200 + len(special), special_tokens=special, limit_alphabet=40, show_progress=False, **given_options
    )
    peer.train_from_iterator(TRAINING, trainer)
    return peer


def of_peer(peer: tokenizers.Tokenizer) -> CharacterBpeEncoder:
    model = json.loads(peer.to_str())["model"]
    return CharacterBpeEncoder.from_merges(
        model["vocab"],
        [tuple(pair) for pair in model["merges"]],
        unknown=model["unk_token"],
        fuse_unknown=model["fuse_unk"],
        byte_fallback=model["byte_fallback"],
        prefix=model["continuing_subword_prefix"] or "",
        suffix=model["end_of_word_suffix"] or "",
        whole_pieces=model["ignore_merges"],
    )


@pytest.fixture(scope="module", params=OPTIONS)
def pair(request: pytest.FixtureRequest) -> tuple[models.BPE, CharacterBpeEncoder]:
    peer = trained(OPTIONS[request.param])
    return peer.model, of_peer(peer)


@settings(max_examples=150)
@given(st.lists(HOSTILE.filter(bool), max_size=4))
def test_words_equal_tokenizers(pair: tuple[models.BPE, CharacterBpeEncoder], words: list[str]) -> None:
    model, encoder = pair
    data = [word.encode() for word in words]
    ends = np.array(list(accumulate(map(len, data))), dtype=np.int32)
    ids, token_ends = encoder.encode_with_ends(padded(b"".join(data)), 0, ends)
    expected = [model.tokenize(word) for word in words]
    assert ids.tolist() == [token.id for tokens in expected for token in tokens]
    if model.unk_token is not None:
        # without an unknown token, offsets of `tokenizers` are wrong after a character that leaves no token
        begins = [0, *ends.tolist()]
        spans = [
            (begin + token.offsets[0], begin + token.offsets[1])
            for begin, tokens in zip(begins, expected, strict=False)
            for token in tokens
        ]
        assert list(zip([0, *token_ends.tolist()], token_ends.tolist(), strict=False)) == spans


@pytest.fixture(scope="module")
def whole_text() -> tuple[tokenizers.Tokenizer, CharacterBpeEncoder]:
    """With byte tokens, and no splitting into words."""
    peer = trained(OPTIONS["bytes"])
    peer.pre_tokenizer = None
    return peer, of_peer(peer)


@settings(max_examples=150)
@given(HOSTILE.filter(bool))
def test_offsets_of_byte_tokens(whole_text: tuple[tokenizers.Tokenizer, CharacterBpeEncoder], text: str) -> None:
    """Rounded outwards to characters, the bounds of tokens are the offsets of `tokenizers`."""
    peer, encoder = whole_text
    expected = peer.encode(text)
    data = text.encode()
    ids, ends = encoder.encode_with_ends(padded(data), 0, np.array([len(data)], np.int32))
    assert ids.tolist() == expected.ids
    character = np.cumsum(np.frombuffer(data, np.uint8) & 0xC0 != 0x80)
    bounds = zip([0, *ends[:-1]], ends, strict=True)
    assert [(character[begin] - 1, character[end - 1]) for begin, end in bounds] == expected.offsets


def sentencepiece_model(processor: sentencepiece.SentencePieceProcessor) -> tuple[list[tuple[str, float]], list[int]]:
    numbers = range(processor.get_piece_size())
    kinds = [
        PieceKind.UNKNOWN
        if processor.is_unknown(number)
        else PieceKind.CONTROL
        if processor.is_control(number)
        else PieceKind.UNUSED
        if processor.is_unused(number)
        else PieceKind.BYTE
        if processor.is_byte(number)
        else PieceKind.NORMAL
        for number in numbers
    ]
    return [(processor.id_to_piece(number), processor.get_score(number)) for number in numbers], kinds


def normalised(text: str) -> str:
    """As the models here want it: a blank in front, and ▁ for blanks."""
    return ("▁" + text.replace(" ", "▁")) if text else ""


def tokens_of(encoder: CharacterBpeEncoder, sentence: str) -> tuple[list[int], list[int]]:
    data = sentence.encode()
    text = padded(data)
    ids, ends = encoder.encode_with_ends(text, 0, encoder.boundaries(text, 0, len(data)))
    return ids.tolist(), ends.tolist()


def varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def message(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer that holds bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def model_file(pieces: list[tuple[str, float]], kinds: list[int], byte_fallback: bool) -> bytes:
    """A SentencePiece model that leaves text as it is, but for blanks, which become ▁."""
    file = b""
    for (text, score), kind in zip(pieces, kinds, strict=True):
        score_field, kind_field = b"\x15" + struct.pack("<f", score), b"\x18" + varint(kind)
        file += message(1, message(1, text.encode()) + score_field + kind_field)
    # model_type (3) is 2 for BPE; byte_fallback is field 35
    trainer = b"\x18\x02" + varint(35 << 3) + varint(byte_fallback)
    # add_dummy_prefix (3) and remove_extra_whitespaces (4) are off, escape_whitespaces (5) is on
    normaliser = message(1, b"identity") + b"\x18\x00\x20\x00\x28\x01"
    return file + message(2, trainer) + message(3, normaliser)


PIECE_CHARACTERS = "abé▁的𝄞"


@st.composite
def sentencepiece_models(draw: st.DrawFn) -> tuple[list[tuple[str, float]], list[int], bool]:
    """Pieces with few different scores, some unused or user-defined, some of characters that are no pieces."""
    texts = draw(st.lists(st.text(PIECE_CHARACTERS, min_size=1, max_size=4), unique=True, max_size=25))
    usual = [PieceKind.NORMAL] * 6
    rare = draw(st.sampled_from([[], [PieceKind.UNUSED], [PieceKind.UNUSED, PieceKind.USER_DEFINED]]))
    pieces = [("<unk>", 0.0), ("</s>", 0.0), *((text, draw(st.integers(-6, 0)) / 3) for text in texts)]
    kinds = [PieceKind.UNKNOWN, PieceKind.CONTROL, *(draw(st.sampled_from([*usual, *rare])) for _ in texts)]
    fallback = draw(st.booleans())
    if fallback:
        pieces += [(name, 0.0) for name in SPECIAL[1:]]
        kinds += [PieceKind.BYTE] * 256
    return pieces, [int(kind) for kind in kinds], fallback


@settings(max_examples=400)
@given(sentencepiece_models(), st.lists(st.text(PIECE_CHARACTERS + "x😀", max_size=60), max_size=6))
def test_sentences_equal_sentencepiece(
    model: tuple[list[tuple[str, float]], list[int], bool], sentences: list[str]
) -> None:
    pieces, kinds, fallback = model
    processor = sentencepiece.SentencePieceProcessor(model_proto=model_file(pieces, kinds, fallback))
    encoder = CharacterBpeEncoder.from_scores(pieces, kinds=kinds, byte_fallback=fallback)
    for sentence in sentences:
        ids, ends = tokens_of(encoder, sentence)
        expected = processor.encode_as_proto(sentence).pieces
        assert ids == [piece.id for piece in expected]
        # rounded down to characters, the bounds of tokens are the offsets of SentencePiece, in bytes
        data = sentence.encode()
        bounds = [0, *(len(data[:end].decode("utf-8", "ignore").encode()) for end in ends)]
        assert list(pairwise(bounds)) == [(piece.begin, piece.end) for piece in expected]


@pytest.fixture(scope="module")
def mistral(shared_data: Path) -> tuple[sentencepiece.SentencePieceProcessor, CharacterBpeEncoder]:
    processor = sentencepiece.SentencePieceProcessor(
        model_file=str(shared_data / "vocab-sentencepiece" / "mistral-v1.model")
    )
    pieces, kinds = sentencepiece_model(processor)
    return processor, CharacterBpeEncoder.from_scores(pieces, kinds=kinds, unknown=0, byte_fallback=True)


def test_a_real_model(
    mistral: tuple[sentencepiece.SentencePieceProcessor, CharacterBpeEncoder], shared_data: Path
) -> None:
    processor, encoder = mistral
    assert encoder.cuts_at_blanks
    lines = (shared_data / "vocab-sentencepiece" / "mistral-v1.expected.jsonl").read_text().split("\n")[1:-1]
    for row in map(json.loads, lines):
        ids, _ = tokens_of(encoder, normalised(row["text"]))
        assert ids == row["ids"], row["text"]
    for name in ("botchan.txt", "wagahaiwa_nekodearu.ja.txt", "sample_text.txt"):
        text = (shared_data / "bert-fixtures" / name).read_text()[:100_000]
        for part in (text, *text.split("\n")[:300]):
            assert tokens_of(encoder, normalised(part))[0] == processor.encode(part)


@settings(max_examples=200)
@given(st.text(max_size=80) | HOSTILE)
def test_hostile_text_with_a_real_model(
    mistral: tuple[sentencepiece.SentencePieceProcessor, CharacterBpeEncoder], text: str
) -> None:
    processor, encoder = mistral
    text = text.replace("\0", "").replace("▁", "").encode("utf-8", "ignore").decode()
    assert tokens_of(encoder, normalised(text))[0] == processor.encode(text)
