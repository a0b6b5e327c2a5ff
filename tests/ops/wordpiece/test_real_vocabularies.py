"""The published BERT vocabularies: ids and offsets equal those of `tokenizers`."""

import json
import lzma
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from textmill.ops.memory import padded
from textmill.ops.wordpiece import BertEncoder, BertRules

pytestmark = pytest.mark.slow

TEXTS = [
    "wiki-demo/wiki_demo.txt.xz",
    "chinese-poetry/ci.song.0.json.xz",
    "bert-fixtures/wagahaiwa_nekodearu.ja.txt",
]


def read(path: Path) -> str:
    if path.suffix == ".xz":
        with lzma.open(path, "rt", encoding="utf-8") as file:
            return file.read()
    return path.read_text(encoding="utf-8")


@cache
def vocabulary(path: Path) -> dict[str, int]:
    return {token: number for number, token in enumerate(read(path).removesuffix("\n").split("\n"))}


@cache
def encoder(path: Path, rules: BertRules) -> BertEncoder:
    return BertEncoder(vocabulary(path), unknown="[UNK]", rules=rules)


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """After a first line that says how they were made."""
    yield from (json.loads(line) for line in read(path).split("\n")[1:] if line)


def encode(encoder: BertEncoder, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Ids, and offsets in characters."""
    data = text.encode()
    places = np.concatenate([[0], np.cumsum([len(char.encode()) for char in text], dtype=np.int64)])
    ids, starts, ends = encoder.encode_with_spans(padded(data), 0, len(data))
    found = np.searchsorted(places, starts).tolist(), np.searchsorted(places, ends).tolist()
    assert (places[found[0]] == starts).all()
    assert (places[found[1]] == ends).all()
    assert encoder.encode(padded(data), 0, len(data)).tolist() == ids.tolist()
    return ids.tolist(), list(zip(*found, strict=True))


@pytest.mark.parametrize("name", ["bert-base-uncased", "bert-base-chinese"])
def test_expected_ids_and_offsets(shared_data: Path, name: str) -> None:
    folder = shared_data / "vocab-bert"
    ours = encoder(folder / f"{name}-vocab.txt", BertRules())
    # matching special tokens in text comes before the encoder
    plain = [row for row in rows(folder / f"{name}.expected.jsonl") if "[CLS]" not in row["text"]]
    assert len(plain) > 190
    for row in plain:
        # the expected ids stand between those of two special tokens
        assert encode(ours, row["text"]) == (row["ids"][1:-1], [tuple(span) for span in row["offsets"][1:-1]])


def test_questions(shared_data: Path) -> None:
    folder = shared_data / "vocab-bert"
    ours = encoder(folder / "bert-base-uncased-vocab.txt", BertRules())
    for row in rows(folder / "squad-questions.hf.jsonl"):
        assert encode(ours, row["text"])[0] == row["ids"]


@pytest.mark.parametrize("name", ["bert-base-uncased", "bert-base-chinese"])
@pytest.mark.parametrize("rules", [BertRules(), BertRules(lowercase=False), BertRules(chinese=False)], ids=str)
def test_whole_books(shared_data: Path, name: str, rules: BertRules) -> None:
    path = shared_data / "vocab-bert" / f"{name}-vocab.txt"
    peer = Tokenizer(models.WordPiece(vocabulary(path), unk_token="[UNK]"))
    peer.normalizer = normalizers.BertNormalizer(
        clean_text=rules.clean_text,
        handle_chinese_chars=rules.chinese,
        strip_accents=rules.strip_accents,
        lowercase=rules.lowercase,
    )
    peer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ours = encoder(path, rules)
    for text in (read(shared_data / name) for name in TEXTS):
        for first in range(0, len(text), 50_000):
            part = text[first : first + 50_000]
            encoding = peer.encode(part, add_special_tokens=False)
            assert encode(ours, part) == (encoding.ids, encoding.offsets)
