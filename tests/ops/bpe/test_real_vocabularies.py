"""On real text: ids of the published GPT-2 and cl100k vocabularies against `tiktoken`, merges against `tokenizers`."""

import base64
import json
import lzma
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import regex
import tiktoken
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from textmill.ops.bpe import HF_BYTE_ORDER, BpeEncoder, PieceCounter, TokenBytes, train_merges
from textmill.ops.memory import padded

DATA = Path(os.environ.get("TEXTMILL_DATA", Path(__file__).parents[4] / "shared" / "data"))
PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""
TEXTS = {
    "english": ("norvig-big/big.txt.xz",),
    "chinese": ("peoples-daily-199801/199801.txt.xz", "chinese-poetry/poet.tang.0.json.xz"),
    "mixed": ("wiki-demo/wiki_demo.txt.xz", "instruct/alpaca_zh_demo.json.xz"),
}
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not DATA.exists(), reason="needs TEXTMILL_DATA")]


@cache
def text_and_ends(name: str) -> tuple[str, np.ndarray]:
    text = "".join(lzma.decompress((DATA / path).read_bytes()).decode()[:1_000_000] for path in TEXTS[name])
    lengths = [len(match.group().encode()) for match in regex.finditer(PATTERN, text)]
    return text, np.cumsum(lengths).astype(np.int32)


def character_of_byte() -> dict[int, str]:
    codes = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100), *range(256, 256 + 68)]
    return {int(byte): chr(code) for byte, code in zip(np.argsort(HF_BYTE_ORDER), codes, strict=True)}


def gpt2_merges() -> list[tuple[bytes, bytes]]:
    byte_of_character = {character: byte for byte, character in character_of_byte().items()}
    lines = (DATA / "vocab-gpt2" / "vocab.bpe").read_text(encoding="utf-8").splitlines()[1:]
    pairs = [line.split(" ") for line in lines if line]
    return [tuple(bytes(byte_of_character[char] for char in side) for side in pair) for pair in pairs]


def gpt2_ranks() -> dict[bytes, int]:
    tokens = [bytes([int(byte)]) for byte in np.argsort(HF_BYTE_ORDER)]
    tokens += [left + right for left, right in gpt2_merges()]
    return {token: number for number, token in enumerate(tokens)}


def cl100k_ranks() -> dict[bytes, int]:
    lines = lzma.decompress((DATA / "vocab-cl100k" / "cl100k_base.tiktoken.xz").read_bytes()).split(b"\n")
    return {base64.b64decode(line.split()[0]): int(line.split()[1]) for line in lines if line}


@cache
def vocabulary(name: str) -> tuple[dict[bytes, int], list[BpeEncoder]]:
    if name == "cl100k":
        return cl100k_ranks(), [BpeEncoder.from_ranks(cl100k_ranks())]
    ranks = gpt2_ranks()
    rows = np.array([(ranks[left], ranks[right], ranks[left + right]) for left, right in gpt2_merges()], np.int32)
    byte_ids = np.array([ranks[bytes([value])] for value in range(256)])
    return ranks, [BpeEncoder.from_ranks(ranks), BpeEncoder.from_merges(byte_ids, rows)]


@pytest.mark.parametrize("text_name", TEXTS)
@pytest.mark.parametrize("name", ["gpt2", "cl100k"])
def test_equals_tiktoken(name: str, text_name: str) -> None:
    ranks, encoders = vocabulary(name)
    text, ends = text_and_ends(text_name)
    peer = tiktoken.Encoding("test", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})
    expected = np.array(peer.encode_ordinary(text))
    for encoder in encoders:
        for _ in range(2):
            assert np.array_equal(encoder.encode(padded(text.encode()), 0, ends), expected)
    tokens = TokenBytes(sorted(ranks, key=ranks.__getitem__))
    assert tokens.decode(expected).decode() == text


@pytest.mark.parametrize("text_name", TEXTS)
def test_equals_the_trainer_of_tokenizers(text_name: str) -> None:
    text, ends = text_and_ends(text_name)
    counter = PieceCounter()
    counter.add(padded(text.encode()), 0, ends)
    merges = train_merges(counter.counts(), 8000, min_frequency=2)
    tokens = merges.token_bytes()
    peer = Tokenizer(models.BPE())
    peer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=8256, min_frequency=2, initial_alphabet=alphabet, show_progress=False, special_tokens=[]
    )
    peer.train_from_iterator([text], trainer)
    mapped = character_of_byte()
    ours = [["".join(mapped[byte] for byte in tokens[side]) for side in pair] for pair in merges.pairs.tolist()]
    assert json.loads(peer.to_str())["model"]["merges"] == ours
