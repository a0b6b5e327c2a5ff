"""Oracles: `tokenizers` for ids, offsets and text of the same tokenizer.json; `tiktoken` for ids of ranks."""

import base64
import concurrent.futures
import json
import multiprocessing
import os
import pickle
import pydoc_data.topics
import random
import time

import numpy as np
import pytest
import tiktoken
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.errors import DataError, FormatError
from textmill.ops.split import PATTERNS
from textmill.tokenizers import AddedToken, Tokenizer, engine, flat
from textmill.tokenizers.tokenizer_json import from_schema, to_schema

PROSE = "\n".join(pydoc_data.topics.topics[name] for name in sorted(pydoc_data.topics.topics)[:25])
TEXT = PROSE[:60_000] + " don't DON'T 12345 中文字符中文 naïve café 🙂🙂👩🏽\r\n\r\n  x\u00a0y " * 20
SPECIAL = ("<|endoftext|>", "<|user|>")
SPLITS = ["gpt2", "cl100k", "o200k", "llama3", r"[\p{L}\p{N}_]+|\s"]

hostile = st.lists(
    st.one_of(
        st.text(max_size=4),
        st.sampled_from(
            [*" \n\t\r'’0aAéſK中字あ한🙂\u0301\u200d\u00a0\u3000\x00", "'s", "'LL", "  ", "don't", "the ", "123"]
        ),
        st.sampled_from([*SPECIAL, "<|", "user", "|>"]),
    ),
    max_size=30,
).map("".join)


@pytest.fixture(scope="module", params=SPLITS)
def pair(request):
    """Ours, and `tokenizers` reading what ours wrote."""
    ours = Tokenizer.train([TEXT], vocab_size=1200, split=request.param, special_tokens=SPECIAL)
    return ours, tokenizers.Tokenizer.from_str(json.dumps(to_schema(ours.pipeline)))


@pytest.fixture(scope="module")
def ours():
    return Tokenizer.train([TEXT], vocab_size=1200, special_tokens=SPECIAL)


@pytest.fixture(scope="module")
def with_added(ours):
    """Added tokens of every sort, and NFC."""
    schema = to_schema(ours.pipeline)
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "special": False}
    schema["added_tokens"] += [
        {"id": 1200, "content": "    ", "normalized": True, **plain},
        {"id": 1201, "content": "  ", "normalized": True, **plain},
        {"id": 1202, "content": "café", "normalized": False, **plain},
        {"id": 1203, "content": "<|us", "normalized": False, **plain},
        {"id": 1204, "content": "\t \u2003x\n", "normalized": False, **plain},
        {"id": 1205, "content": "\t\t", "normalized": False, **plain},
    ]
    schema["normalizer"] = {"type": "NFC"}
    schema["post_processor"]["trim_offsets"] = True
    return Tokenizer(from_schema(schema)), tokenizers.Tokenizer.from_str(json.dumps(schema))


@settings(max_examples=100, deadline=None)
@given(hostile)
def test_ids_and_spans_are_those_of_tokenizers(pair, text):
    ours, theirs = pair
    expected = theirs.encode(text)
    assert ours.encode(text, allow_special=True) == expected.ids
    assert ours.encode_with_spans(text, allow_special=True) == (expected.ids, expected.offsets)


def test_a_long_text_of_many_blocks(pair):
    ours, theirs = pair
    text = TEXT * 3
    expected = theirs.encode(text)
    assert ours.encode(text) == expected.ids
    assert ours.encode_with_spans(text) == (expected.ids, expected.offsets)
    assert ours.decode(expected.ids) == text


@settings(max_examples=100, deadline=None)
@given(hostile)
def test_added_tokens_normalisation_and_trimmed_spans(with_added, text):
    ours, theirs = with_added
    text += "  café     cafe\u0301 <|us\t \u2003x\n\t\t"
    assert ours.encode(text, allow_special=True) == theirs.encode(text).ids
    expected = theirs.encode(text)
    assert ours.encode_with_spans(text, allow_special=True) == (expected.ids, expected.offsets)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_round_trip(ours, data):
    assert ours.decode_bytes(ours.encode_array(data)) == data
    assert ours.decode(ours.encode_array(data)) == data.decode("utf-8", "replace")
    assert ours.encode_array(memoryview(data)).tolist() == ours.encode_array(data).tolist()


def test_views_of_memory_in_any_shape(ours):
    numbers = np.arange(40, dtype=np.int16)
    table = memoryview(b"two rows").cast("B", (2, 4))
    for view in (memoryview(numbers), memoryview(numbers[::2]), memoryview(bytearray(b"bytes")), table):
        assert ours.encode_array(bytearray(view)).tolist() == ours.encode_array(view).tolist()
        assert ours.decode_bytes(ours.encode_array(view)) == view.tobytes()
        assert ours.encode_documents([view])[0].tolist() == ours.encode_array(view).tolist()


@settings(max_examples=100, deadline=None)
@given(hostile)
def test_special_tokens_in_text_are_text(ours, text):
    ids = ours.encode(text)
    assert not set(ids) & set(ours.special_tokens.values())
    assert ours.decode(ids) == text


@settings(max_examples=100, deadline=None)
@given(hostile)
def test_spans_cover_the_text(ours, text):
    ids, spans = ours.encode_with_spans(text, allow_special=True)
    assert ids == ours.encode(text, allow_special=True)
    assert spans == ours.spans(text, allow_special=True)
    reached = 0
    for id, (start, end) in zip(ids, spans, strict=True):
        # neighbours meet, or share the character that a token ends inside of
        assert start in (reached, reached - 1)
        assert start < end <= len(text)
        assert ours.id_to_bytes(id) in text[start:end].encode()
        reached = end
    assert reached == len(text)


@settings(max_examples=100, deadline=None)
@given(hostile)
def test_decode_is_that_of_tokenizers(pair, text):
    ours, theirs = pair
    ids = ours.encode(text, allow_special=True)
    assert ours.decode(ids) == text == theirs.decode(ids, skip_special_tokens=False)
    assert ours.decode(ids, skip_special=True) == theirs.decode(ids, skip_special_tokens=True)
    cut = ids[1:-1:2]
    assert ours.decode(cut) == theirs.decode(cut, skip_special_tokens=False)
    stream = ours.stream()
    assert "".join(map(stream.push, cut)) + stream.finish() == ours.decode(cut)


@pytest.mark.parametrize("name", ["gpt2", "cl100k", "o200k"])
def test_ranks_give_the_ids_of_tiktoken(tmp_path, name):
    # ids in an order of their own, to tell ids from ranks of merges
    trained = Tokenizer.train([TEXT], vocab_size=1255, split=name, special_tokens=()).pipeline.model.tokens
    ranks = {bytes([byte]): 255 - byte for byte in range(256)}
    ranks |= {token: index for index, token in enumerate(sorted(trained, key=trained.get)) if len(token) > 1}
    path = tmp_path / "mine.tiktoken"
    path.write_bytes(b"".join(base64.b64encode(token) + b" %d\n" % id for token, id in ranks.items()))
    special = {"<|endoftext|>": 1300, "<|user|>": 1257}
    ours = Tokenizer.from_tiktoken(path, split=name, special_tokens=special)
    pattern = PATTERNS[name].replace(r"\Z", "$")
    theirs = tiktoken.Encoding("x", pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)
    assert (ours.vocab_size, ours.end_of_text_id) == (theirs.n_vocab, 1300) == (1301, 1300)
    ours.save(tmp_path)
    again, hf = Tokenizer.load(tmp_path), tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    rng = random.Random(name)
    for text in [TEXT, "", *("".join(rng.choices(TEXT[-500:] + "<|user|>'S", k=80)) for _ in range(100))]:
        expected = theirs.encode(text, allowed_special="all")
        assert ours.encode(text, allow_special=True) == expected
        assert ours.encode(text) == theirs.encode_ordinary(text) == again.encode(text)
        assert hf.encode(text).ids == expected == again.encode(text, allow_special=True)


def test_lone_surrogates_are_replaced_as_tiktoken_does(ours):
    assert ours.decode(ours.encode("a\ud800b\ud83d\ude42")) == "a\ufffdb🙂"
    assert ours.spans("\ud800")[-1] == (0, 1)
    # two surrogates that are one character in the data are still two in the text
    assert set(ours.spans("\ud83d\ude42\ude42é")) == {(0, 2), (2, 3), (3, 4)}


def test_ids_and_tokens(ours):
    id = ours.token_to_id("Ġthe")
    assert ours.token_to_id(b" the") == id
    assert (ours.id_to_token(id), ours.id_to_bytes(id)) == ("Ġthe", b" the")
    assert (ours.token_to_id("<|user|>"), ours.id_to_token(1)) == (1, "<|user|>")
    assert ours.token_to_id("no such token") is None
    assert ours.token_to_id(b"no such token") is None
    assert (ours.vocab_size, ours.special_tokens, ours.end_of_text_id) == (1200, {"<|endoftext|>": 0, "<|user|>": 1}, 0)
    assert repr(ours) == "Tokenizer(Bpe, vocab_size=1200)"


@pytest.mark.parametrize("id", [-1, 1200, 1 << 40])
def test_ids_that_do_not_exist(ours, id):
    message = f"there is no token with the id {id}, the ids are 0 to 1199"
    with pytest.raises(DataError, match=message):
        ours.id_to_bytes(id)
    with pytest.raises(DataError, match=str(id)):
        ours.decode([5, id])
    with pytest.raises(DataError, match=message):
        ours.stream().push(id)


def test_ids_that_are_not_numbers(ours):
    with pytest.raises(DataError, match="ids must be whole numbers of 64 bits, got float64"):
        ours.decode([0.5])
    assert ours.decode([]) == ""
    assert ours.decode(np.array([], dtype=np.float32)) == ""


def test_batches_and_documents(ours):
    texts = ["one text", "", "中文 and <|user|>"]
    assert ours.encode_batch(texts) == [ours.encode(text) for text in texts]
    assert ours.encode_batch(texts, allow_special=True)[2][-1] == 1
    ids, offsets = ours.encode_documents([text.encode() for text in texts])
    assert (ids.dtype, offsets.dtype, len(offsets)) == (np.int32, np.int64, 4)
    for index, text in enumerate(texts):
        assert ids[offsets[index] : offsets[index + 1]].tolist() == ours.encode(text)
    assert [array.tolist() for array in ours.encode_documents([])] == [[], [0]]


def test_results_are_not_overwritten_by_the_next_call(ours):
    first = ours.encode_array(b"the first text")
    kept = first.tolist()
    ours.encode_array(b"another, longer text than the first")
    assert first.tolist() == kept


@pytest.mark.parametrize("unit", ["a", " ", "\n", "中", "A", "'", "1", "\u0301"])
def test_a_megabyte_without_a_break(pair, unit):
    ours, _ = pair
    data = unit.encode() * ((1 << 20) // len(unit.encode()))
    started = time.thread_time()
    ids = ours.encode_array(data)
    # quadratic merging would take hours
    assert time.thread_time() - started < 10
    assert ours.decode_bytes(ids) == data


def test_a_text_that_is_too_long(ours, monkeypatch):
    monkeypatch.setattr(engine, "MOST_BYTES", 9)
    assert len(ours.encode("123456789")) > 0
    with pytest.raises(DataError, match=r"a text may have at most 9 bytes, got 10. Fix: cut it into documents"):
        ours.encode("1234567890")


def test_a_thread_does_not_keep_the_room_of_a_long_text(ours):
    long = "a" * (3 * flat.GROUP_BYTES)
    ids, _ = ours.encode_documents([long, "b"])
    assert ours.decode(ids) == long + "b"
    # the ids are cut to size, and the buffer of the next group is a small one
    assert ids.base is None
    assert len(ours._engine.workspace.flat._text) < flat.GROUP_BYTES


def test_threads_give_the_same_ids(ours):
    texts = [TEXT[start : start + 3000] for start in range(0, 60_000, 3000)]
    expected = [ours.encode(text) for text in texts]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ours.encode, texts)) == expected


def _child(connection, tokenizer):
    connection.send(tokenizer.encode("in the child process"))
    os._exit(0)


def test_a_copy_for_a_spawned_process(ours):
    copy = pickle.loads(pickle.dumps(ours))
    assert copy.fingerprint() == ours.fingerprint()
    assert copy.encode("in the child") == ours.encode("in the child")


def test_a_forked_process(ours):
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_child, args=(there, ours))
    process.start()
    assert here.poll(60)
    assert here.recv() == ours.encode("in the child process")
    process.join()


def test_a_vocabulary_without_some_bytes(ours):
    schema = to_schema(ours.pipeline)
    del schema["model"]["vocab"]["À"], schema["model"]["vocab"]["ÿ"]
    lacking = Tokenizer(from_schema(schema))
    assert lacking.encode("naïve") == ours.encode("naïve")
    for call in (lacking.encode_array, lambda data: lacking.encode_documents([data])):
        with pytest.raises(DataError, match=r"no token for byte 0xC0. Fix: give valid UTF-8 text"):
            call(b"a\xc0b")


def test_fingerprints(ours, tmp_path):
    ours.save(tmp_path)
    assert Tokenizer.load(tmp_path).fingerprint() == ours.fingerprint()
    other = Tokenizer.train([TEXT], vocab_size=1199, special_tokens=SPECIAL)
    assert len({ours.fingerprint(), other.fingerprint()}) == 2
    assert len(ours.fingerprint()) == 64


def test_transformers_opens_a_saved_folder(pair, tmp_path):
    from transformers import AutoTokenizer

    ours, _ = pair
    ours.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    for text in ("Hello world, it's  2024!\n\n  café <|user|>", TEXT[-400:]):
        assert theirs.encode(text) == ours.encode(text, allow_special=True)
        assert theirs.decode(theirs.encode(text)) == text
    assert (theirs.eos_token, theirs.eos_token_id) == ("<|endoftext|>", ours.end_of_text_id)
    assert set(theirs.all_special_tokens) == set(SPECIAL)
    assert len(theirs) == ours.vocab_size
    theirs.save_pretrained(tmp_path / "again")
    assert Tokenizer.load(tmp_path / "again").fingerprint() == ours.fingerprint()


def test_loading_what_is_not_there(tmp_path):
    with pytest.raises(FormatError, match="does not exist"):
        Tokenizer.load(tmp_path / "nothing")


def test_added_tokens_are_exported():
    assert AddedToken(content="<x>", id=3).special
