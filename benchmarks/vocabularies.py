"""Published vocabularies, as each library wants them, from files: nothing is downloaded."""

import base64
import json
import lzma
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.harness import CACHE, SkippedError
from benchmarks.texts import data_folder


def _folder(name: str) -> Path:
    folder = data_folder()
    if folder is None:
        raise SkippedError("no published vocabulary here: set TEXTMILL_DATA to the folder of data sets")
    return folder / name


@cache
def gpt2_hugging_face() -> Any:
    """`tokenizers.Tokenizer` with GPT-2's vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    folder = _folder("vocab-gpt2")
    with lzma.open(folder / "encoder.json.xz", "rt", encoding="utf-8") as file:
        vocabulary = json.load(file)
    lines = (folder / "vocab.bpe").read_text(encoding="utf-8").splitlines()[1:]
    merges = [(left, right) for left, _, right in (line.partition(" ") for line in lines if line)]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    # text that spells a special token is text: tiktoken and textmill take it so by default
    tokenizer.encode_special_tokens = True
    return tokenizer


@cache
def gpt2_file() -> Path:
    """GPT-2's vocabulary as a tokenizer.json."""
    path = CACHE / "gpt2" / "tokenizer.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    gpt2_hugging_face().save(str(path))
    return path


@cache
def gpt2_tiktoken() -> Any:
    """`tiktoken.Encoding` with GPT-2's vocabulary; the ids are GPT-2's own, which tiktoken keeps as ranks."""
    import tiktoken

    vocabulary = gpt2_hugging_face().get_vocab(with_added_tokens=False)
    special = {"<|endoftext|>": 50256}
    characters = characters_of_bytes()
    ranks = {
        bytes(characters[character] for character in token): index
        for token, index in vocabulary.items()
        if token not in special
    }
    pattern = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""
    return tiktoken.Encoding("gpt2", pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)


@cache
def cl100k_file() -> Path:
    """cl100k's ranks as an unpacked .tiktoken file."""
    path = CACHE / "cl100k_base.tiktoken"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(lzma.decompress((_folder("vocab-cl100k") / "cl100k_base.tiktoken.xz").read_bytes()))
    return path


@cache
def cl100k_tiktoken() -> Any:
    """`tiktoken.Encoding` with cl100k's ranks, without special tokens."""
    import tiktoken

    lines = (line.split() for line in cl100k_file().read_bytes().splitlines())
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    first = (_folder("vocab-cl100k") / "expected.jsonl").read_text(encoding="utf-8").partition("\n")[0]
    return tiktoken.Encoding(
        "cl100k_base", pat_str=json.loads(first)["pat_str"], mergeable_ranks=ranks, special_tokens={}
    )


def characters_of_bytes() -> dict[str, int]:
    """GPT-2's printable stand-in for each byte, and the byte."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}
