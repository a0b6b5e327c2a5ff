"""What the first ids of a fresh process wait for: few modules, and tables that are read all at once."""

import gc
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.tokenizers import files, protobuf, sentencepiece_model
from textmill.tokenizers.byte_level import BYTE_CHARACTERS, all_to_bytes, to_bytes
from textmill.tokenizers.models import BpeModel, UnigramModel
from textmill.tokenizers.pipeline import AddedToken, Pipeline

LOAD = """
import sys
from textmill import Tokenizer
Tokenizer.load(sys.argv[1]).encode("some words")
print(*(name for name in sys.modules if name.startswith("textmill.")))
"""
UNUSED = ("textmill.ops.bpe.train", "textmill.ops.bpe.spill", "textmill.tokenizers.gguf", "textmill.tokenizers.tekken")


def test_loading_one_format_leaves_the_others_and_training_alone(tmp_path):
    (tmp_path / "vocab.txt").write_text("[UNK]\nsome\nwords\n")
    command = [sys.executable, "-c", LOAD, str(tmp_path / "vocab.txt")]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert not {*UNUSED, "textmill.tokenizers.sentencepiece_model", "textmill.tokenizers.training"} & set(loaded)


@given(st.lists(st.one_of(st.text(BYTE_CHARACTERS), st.text(max_size=3)), max_size=8))
def test_all_strings_become_bytes_as_each_does(tokens):
    assert all_to_bytes(tokens) == [to_bytes(token) for token in tokens]


ADDED = [
    (),
    (AddedToken(content="<s>", id=9),),
    (AddedToken(content="a", id=0),),
    (AddedToken(content=" a", id=2),),
    (AddedToken(content="<s>", id=4), AddedToken(content="<s>", id=4)),
]


@pytest.mark.parametrize("added", ADDED)
def test_the_vocabulary_size_is_the_length_of_the_table_of_strings(added):
    byte_level = BpeModel(tokens={b"a": 0, b"b": 1, b" a": 2}, merges=[])
    twice = UnigramModel(pieces=[("a", 0.0), ("b", 0.0), (" a", 0.0), ("b", -1.0)])
    for model in (byte_level, twice):
        assert Pipeline(model=model, added=added).vocab_size == len(Pipeline(model=model, added=added).strings)


ENTRY = st.fixed_dictionaries(
    {"piece": st.text("aé▁\x80", max_size=50), "score": st.floats(width=32), "kind": st.integers(0, 200)}
)


@given(st.lists(ENTRY, max_size=5), st.integers(0, 60))
def test_pieces_read_all_at_once_are_those_read_one_by_one(entries, cut):
    messages = [protobuf.message([(1, e["piece"]), (2, e["score"]), (3, e["kind"])]) for e in entries]
    data = protobuf.message([(1, message) for message in messages])
    data = data[: len(data) - cut] if cut < 30 else data
    pieces, begun = sentencepiece_model._usual_pieces(data)
    for number, piece in enumerate(pieces):
        assert sentencepiece_model._piece(messages[number], number) == piece
    assert begun == len(protobuf.message([(1, message) for message in messages[: len(pieces)]]))


def test_the_garbage_collector_works_again_after_a_failure():
    with pytest.raises(ZeroDivisionError), files.collector_paused():
        1 // int(gc.isenabled())
    assert gc.isenabled()
