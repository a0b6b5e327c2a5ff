"""Merging: the first keeps its ids, the second's tokens follow."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tokenizers.surgery.samples import BPE, NEW_TEXT, SAMPLES, SETTINGS, trained

from textmill.errors import ConfigError
from textmill.tokenizers import AddedToken, Tokenizer
from textmill.tokenizers.surgery import merge

NAMES = ["ranks", *SETTINGS]


@pytest.fixture(scope="module")
def merged(small):
    made = {}

    def of(name):
        if name not in made:
            second = trained(name, NEW_TEXT)
            made[name] = second, merge(small(name), second)
        return made[name]

    return of


@pytest.mark.parametrize("name", NAMES)
def test_the_union(small, merged, held_to_peers, name):
    first, (second, edit) = small(name), merged(name)
    union = edit.tokenizer
    assert edit.old_to_new.tolist() == list(range(first.vocab_size))
    assert union.pipeline.strings[: first.vocab_size] == first.pipeline.strings
    assert set(union.pipeline.strings) == {*first.pipeline.strings, *second.pipeline.strings}
    assert list(edit.new_pieces) == list(range(first.vocab_size, union.vocab_size))
    assert edit.other_to_new.dtype == np.int32
    assert [union.pipeline.strings[id] for id in edit.other_to_new] == second.pipeline.strings
    held_to_peers(name, union)


@pytest.mark.parametrize("name", NAMES)
def test_both_texts_are_encoded_well(small, merged, name):
    second, edit = merged(name)
    first, new = (sum(map(len, tokenizer.encode_batch(NEW_TEXT))) for tokenizer in (small(name), edit.tokenizer))
    own = sum(map(len, second.encode_batch(NEW_TEXT)))
    if name not in ("words", "chars", "wordpiece", "end of word"):
        assert own <= new < first
    assert edit.tokenizer.decode(edit.tokenizer.encode("mill")) == "mill"


@settings(max_examples=100)
@given(name=st.sampled_from(BPE), text=st.text(st.sampled_from("windmlea ,т.Вея磨\n"), max_size=30))
def test_new_ids_of_bpe_are_the_old_ones_joined(small, merged, name, text):
    _, edit = merged(name)
    parted = [piece for id in edit.tokenizer.encode(text) for piece in edit.new_pieces.get(id, (id,))]
    unknown = small(name).token_to_id("<unk>")
    assert [id for id in parted if id != unknown] == [id for id in small(name).encode(text) if id != unknown]


@pytest.mark.parametrize("name", NAMES)
def test_merging_with_itself_changes_nothing(small, name):
    edit = merge(small(name), small(name))
    assert edit.tokenizer.fingerprint() == small(name).fingerprint()
    assert edit.other_to_new.tolist() == edit.old_to_new.tolist()


def test_added_tokens_follow_too(small):
    first = small("bpe")
    extra = AddedToken(content="<tool>", id=first.vocab_size, special=True)
    second = Tokenizer(dataclasses.replace(first.pipeline, added=(*first.pipeline.added, extra)))
    edit = merge(first, second)
    assert edit.tokenizer.special_tokens["<tool>"] == first.vocab_size
    assert edit.new_pieces == {first.vocab_size: tuple(first.encode("<tool>"))}
    # and stay where they are in the first
    assert merge(second, first).tokenizer.fingerprint() == second.fingerprint()


def test_tokens_that_the_first_breaks_are_made_of_two():
    first = Tokenizer.train(["bc"], vocab_size=258)
    second = Tokenizer.train(["abc", "ab"], vocab_size=259)
    assert [second.id_to_token(id) for id in (257, 258)] == ["ab", "abc"]
    union = merge(first, second).tokenizer
    assert [union.id_to_token(id) for id in union.encode("abc")] == ["abc"]
    assert [union.id_to_token(id) for id in union.encode("ab")] == ["ab"]
    assert [union.id_to_token(id) for id in union.encode("bc")] == ["bc"]


@pytest.mark.parametrize(
    ("first", "second", "difference"),
    [
        ("bpe", "unigram", "the model: Bpe and Unigram"),
        ("bpe", "bpe, normalised", "their normalisers: none and Form"),
        ("bpe", "ranks", "their rule of merging"),
        ("unigram", "unigram, bytes", "their normalisers"),
        ("words", "chars", "their splitters"),
    ],
)
def test_what_differs_is_named(small, first, second, difference):
    with pytest.raises(ConfigError, match=f"these differ in {difference}"):
        merge(small(first), small(second))


def test_options_of_the_model_must_agree(small):
    pipeline = small("end of word").pipeline
    other = dataclasses.replace(pipeline, model=dataclasses.replace(pipeline.model, fuse_unknown=True))
    with pytest.raises(ConfigError, match="the model's fuse_unknown: False and True"):
        merge(small("end of word"), Tokenizer(other))
    other = dataclasses.replace(pipeline, model=dataclasses.replace(pipeline.model, unknown=None))
    with pytest.raises(ConfigError, match="the unknown token: '<unk>' and None"):
        merge(small("end of word"), Tokenizer(other))


def test_a_text_of_both_comes_back(merged):
    for name in ("bpe", "characters", "unigram, bytes"):
        _, edit = merged(name)
        for text in SAMPLES[:5]:
            assert edit.tokenizer.decode(edit.tokenizer.encode(text)) == text
