import numpy as np
import pytest

from textmill.errors import ConfigError, DataError
from textmill.tokenizers import Tokenizer


@pytest.fixture(scope="module")
def ours():
    return Tokenizer.train(["some text, and some more text"], vocab_size=262)


@pytest.mark.parametrize("text", ["abc", b"abc", memoryview(b"abc")])
@pytest.mark.parametrize("call", ["train", "batch", "encode_batch", "encode_documents", "encode_stream"])
def test_one_text_where_a_list_is_wanted(ours, call, text):
    with pytest.raises(ConfigError, match=rf"must be a list, got a single {type(text).__name__}. Fix: give a list"):
        getattr(ours, call)(text)
    with pytest.raises(ConfigError, match="texts must be a list"):
        ours.batch(["abc"], "abc")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"..", "a text must be a str, got bytes. Fix: decode it"),
        (None, "a text must be a str, got NoneType. Fix: give a string"),
        (10, "a text must be a str, got int"),
    ],
)
def test_what_is_not_a_string(ours, text, message):
    calls = [ours.encode, ours.spans, lambda text: ours.encode_batch([text]), lambda text: ours.batch([text])]
    for call in [*calls, lambda text: ours.encode_sampled(text, seed=0, dropout=0.1)]:
        with pytest.raises(DataError, match=message):
            call(text)


@pytest.mark.parametrize("data", [10, None, [1, 2]])
def test_what_is_neither_a_string_nor_bytes(ours, data):
    calls = [ours.encode_array, ours.count, ours.encode_spans_array, lambda data: ours.encode_documents([data])]
    for call in [*calls, lambda data: list(ours.encode_stream([data]))]:
        with pytest.raises(DataError, match=f"a text must be str or bytes, got {type(data).__name__}. Fix: give"):
            call(data)


def test_memory_of_every_kind(ours):
    expected = ours.encode("some text")
    for data in (bytearray(b"some text"), np.frombuffer(b"some text", np.uint8), memoryview(b"s.o.m.e. .t.e.x.t")[::2]):
        assert ours.encode_array(data).tolist() == expected


@pytest.mark.parametrize("threads", [0, -1])
def test_too_few_threads(ours, threads):
    with pytest.raises(ConfigError, match=f"threads must be >= 1, got {threads}. Fix: use threads=1"):
        ours.encode_documents(["a"], threads=threads)
