import os
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill import Tokenizer
from textmill.errors import ConfigError
from textmill.tokenizers import flat, spans

TEXTS = [
    "the cat sat on the mat. " * 9,
    "don't! 的是不 2024\n\n  x",
    "",
    "🙂é",
    "a" * 700,
    " \t\n" * 50,
    "‘quoted’ text",
]


@pytest.fixture(scope="module", params=["gpt2", "cl100k", "llama3", r"\s+|\S+"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return Tokenizer.train(TEXTS * 3, vocab_size=310, split=request.param, special_tokens=["<|end|>"])


def one_by_one(tokenizer: Tokenizer, documents: list[bytes]) -> tuple[list[int], list[int]]:
    ids = [tokenizer.encode(document.decode("utf-8", "surrogateescape")) for document in documents]
    return [number for row in ids for number in row], np.cumsum([0, *map(len, ids)]).tolist()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_many_documents_are_as_one_by_one(tokenizer: Tokenizer, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [text.encode() for text in TEXTS * 40]
    expected = one_by_one(tokenizer, documents)
    for group, part in ((1 << 19, 1 << 28), (100, 1 << 28), (1, 1 << 28), (100, 1000)):
        monkeypatch.setattr(flat, "GROUP_BYTES", group)
        monkeypatch.setattr(flat, "_PART_BYTES", part)
        ids, offsets = tokenizer.encode_documents(documents, threads=threads)
        assert (ids.tolist(), offsets.tolist()) == expected
        assert (ids.dtype, offsets.dtype) == (np.int32, np.int64)
    strings, _ = tokenizer.encode_documents(TEXTS * 40, threads=threads)
    assert strings.tolist() == expected[0]


def test_no_documents_and_empty_ones(tokenizer: Tokenizer) -> None:
    for documents in ([], [b""], [b"", b"", b""]):
        for threads in (1, 3):
            ids, offsets = tokenizer.encode_documents(documents, threads=threads)
            assert ids.tolist() == []
            assert offsets.tolist() == [0] * (len(documents) + 1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=8))
def test_hostile_bytes(documents: list[bytes]) -> None:
    tokenizer = hostile_tokenizer()
    ids, offsets = tokenizer.encode_documents(documents, threads=2)
    for number, document in enumerate(documents):
        assert tokenizer.decode_bytes(ids[offsets[number] : offsets[number + 1]]) == document


def hostile_tokenizer(cache: list[Tokenizer] = []) -> Tokenizer:  # noqa: B006 - one for all examples
    if not cache:
        cache.append(Tokenizer.train(TEXTS * 3, vocab_size=310))
    return cache[0]


def test_special_tokens_in_documents(tokenizer: Tokenizer) -> None:
    documents = [b"a<|end|>b", b"<|end|>", b""]
    end = tokenizer.special_tokens["<|end|>"]
    ids, offsets = tokenizer.encode_documents(documents, allow_special=True, threads=2)
    assert ids.tolist().count(end) == 2
    assert offsets.tolist()[-1] == len(ids)
    assert end not in tokenizer.encode_documents(documents)[0]


@pytest.mark.parametrize("text", [*TEXTS, "的" * 40 + "é" * 40, "\U0001f642\u0301 x"])
def test_spans_of_arrays(tokenizer: Tokenizer, text: str) -> None:
    data = text.encode()
    ids, starts, ends = tokenizer.encode_spans_array(text, unit="bytes")
    assert ids.tolist() == tokenizer.encode(text)
    assert [data[start:end] for start, end in zip(starts, ends, strict=True)] == [
        tokenizer.id_to_bytes(number) for number in ids.tolist()
    ]
    same, first, after = tokenizer.encode_spans_array(data)
    assert same.tolist() == ids.tolist()
    expected = spans.character_arrays(data, starts.astype(np.int64), ends.astype(np.int64))
    assert (first.tolist(), after.tolist()) == (expected[0].tolist(), expected[1].tolist())


def test_spans_with_special_tokens(tokenizer: Tokenizer) -> None:
    ids, starts, ends = tokenizer.encode_spans_array("é<|end|>é", allow_special=True)
    place = ids.tolist().index(tokenizer.special_tokens["<|end|>"])
    assert (starts[place], ends[place]) == (1, 8)
    with pytest.raises(ConfigError, match="unit must be 'characters' or 'bytes', got 'words'"):
        tokenizer.encode_spans_array("x", unit="words")


def test_threads_share_a_tokenizer(tokenizer: Tokenizer) -> None:
    documents = [text.encode() for text in TEXTS * 100]
    expected = tokenizer.encode_documents(documents)[0].tolist()
    found: list[list[int]] = []
    threads = [
        threading.Thread(target=lambda: found.append(tokenizer.encode_documents(documents, threads=2)[0].tolist()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_forked_process_encodes(tokenizer: Tokenizer) -> None:
    documents = [text.encode() for text in TEXTS * 100]
    expected = tokenizer.encode_documents(documents, threads=2)[0].tolist()
    child = os.fork()
    if child == 0:
        same = tokenizer.encode_documents(documents, threads=2)[0].tolist() == expected
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0
