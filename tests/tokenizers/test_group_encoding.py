"""Many documents at once have the ids of each alone, for any number of threads."""

import itertools

import numpy as np
import pytest

from textmill import Tokenizer
from textmill.errors import DataError
from textmill.ops.memory import padded
from textmill.ops.normalize import SentencePieceNormalizer, build_charsmap, read_charsmap
from textmill.ops.normalize.reference import BlankRules
from textmill.ops.wordpiece import BertEncoder
from textmill.tokenizers import group_encoding

TEXTS = [
    "the mill grinds the grain, ",
    "磨坊磨谷物，石头转动。",
    "  ",
    "",
    "def mill(meal):\n\treturn 1２",
    "\x00\ufffd é ﬁ",
]
DOCUMENTS = [TEXTS[i % 6] * (i % 5) for i in range(60)]


@pytest.fixture(scope="module", params=["unigram", "wordpiece"])
def tokenizer(request):
    return Tokenizer.train(TEXTS * 20, algorithm=request.param, vocab_size=300, allow_fewer=True)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("documents", [[], [""], [" ", ""], DOCUMENTS])
def test_documents_have_the_ids_of_each_alone(tokenizer, threads, documents, monkeypatch):
    monkeypatch.setattr(group_encoding, "GROUP_BYTES", 100)
    ids, offsets = tokenizer.encode_documents(documents, threads=threads)
    assert ids.dtype == np.int32
    assert offsets.dtype == np.int64
    rows = [ids[start:stop].tolist() for start, stop in itertools.pairwise(offsets)]
    assert rows == [tokenizer.encode(document) for document in documents]
    assert offsets[-1] == len(ids)


@pytest.mark.parametrize("squeeze", [True, False])
@pytest.mark.parametrize("suffix", [True, False])
def test_documents_are_normalised_as_each_alone(squeeze, suffix):
    charsmap = read_charsmap(build_charsmap({"ﬁ": "fi", "１": "1", "A": "a"}))
    normalizer = SentencePieceNormalizer(charsmap, BlankRules(squeeze_blanks=squeeze, blank_as_suffix=suffix), ("B-",))
    data = [text.encode() for text in [*DOCUMENTS, "AB-ﬁ１ " * 50, "Z" * 200, "a  " * 99]] + [b"\xe4\xb8", b"\xad"]
    bounds = np.cumsum([0, *map(len, data)])
    # a buffer that is too small at first
    buffer, ends = normalizer.documents(padded(b"".join(data)), bounds, np.empty(600, dtype=np.uint8))
    found = [buffer[start:stop].tobytes() for start, stop in zip([0, *ends], ends, strict=False)]
    alone = [normalizer(padded(text), len(text)) for text in data]
    assert found == [out[:length].tobytes() for out, length, _ in alone]


def test_what_the_launchers_refuse():
    normalizer = SentencePieceNormalizer(read_charsmap(b""), BlankRules())
    encoder = BertEncoder({"[UNK]": 0, "a": 1}, unknown="[UNK]")
    for bounds in ([0, 4, 2], [0, 999], [-1, 2]):
        with pytest.raises(DataError):
            normalizer.documents(padded(b"abcd"), np.array(bounds), np.empty(0, dtype=np.uint8))
        with pytest.raises(DataError):
            encoder.encode_group(padded(b"abcd"), np.array(bounds))
