"""Extending: old ids stay, new ones are the old ones joined further."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tokenizers.surgery.samples import BPE, NEW_TEXT, SAMPLES, SETTINGS, TEXT

from textmill.errors import ConfigError, DataError, NotSupportedError
from textmill.tokenizers import AddedToken, Tokenizer
from textmill.tokenizers.steps import ByteLevel
from textmill.tokenizers.surgery import Edit, extend
from textmill.tokenizers.surgery.extending import ExtensionRules

FEWER = ExtensionRules(allow_fewer=True)
NAMES = ["ranks", *SETTINGS]


@pytest.fixture(scope="module")
def extended(small):
    made = {}

    def of(name: str) -> Edit:
        if name not in made:
            made[name] = extend(small(name), NEW_TEXT, 60, FEWER)
        return made[name]

    return of


@pytest.mark.parametrize("name", NAMES)
def test_old_ids_stay_and_new_ones_follow(small, extended, held_to_peers, name):
    old, edit = small(name), extended(name)
    assert edit.old_to_new.dtype == np.int32
    assert edit.old_to_new.tolist() == list(range(old.vocab_size))
    assert list(edit.new_pieces) == list(range(old.vocab_size, edit.tokenizer.vocab_size))
    assert edit.tokenizer.pipeline.strings[: old.vocab_size] == old.pipeline.strings
    assert len(edit.new_pieces) > 10
    held_to_peers(name, edit.tokenizer)


@pytest.mark.parametrize("name", NAMES)
def test_the_new_text_needs_fewer_tokens_or_fewer_unknown_ones(small, extended, name):
    old, new = small(name), extended(name).tokenizer
    unknown = getattr(old.pipeline.model, "unknown", None)
    unknown = old.token_to_id(unknown) if isinstance(unknown, str) else unknown
    before, after = (sum(map(len, tokenizer.encode_batch(NEW_TEXT))) for tokenizer in (old, new))
    lost = [sum(ids.count(unknown) for ids in tokenizer.encode_batch(NEW_TEXT)) for tokenizer in (old, new)]
    assert after < before or lost[1] < lost[0]


@settings(max_examples=150)
@given(name=st.sampled_from(BPE), text=st.text(st.sampled_from("windmlea ,т.Вея磨\n"), max_size=30))
def test_new_ids_of_bpe_are_the_old_ones_joined(small, extended, name, text):
    edit = extended(name)
    parted = [piece for id in edit.tokenizer.encode(text) for piece in edit.new_pieces.get(id, (id,))]
    old = small(name).encode(text)
    if name == "end of word":
        # neighbours that are unknown share no token any more where one of them has got one
        unknown = small(name).token_to_id("<unk>")
        parted, old = ([id for id in ids if id != unknown] for ids in (parted, old))
    assert parted == old


@pytest.mark.parametrize(("name", "size"), [("bpe", 290), ("bpe, normalised", 290), ("characters", 340), ("words", 15)])
def test_extending_on_the_text_of_training_is_training_a_larger_vocabulary(name, size):
    smaller, larger = (Tokenizer.train(TEXT, **SETTINGS[name] | {"vocab_size": size + more}) for more in (0, 15))
    assert extend(smaller, TEXT, 15).tokenizer.fingerprint() == larger.fingerprint()


@pytest.mark.parametrize("name", ["unigram", "unigram, bytes", "unigram, split"])
def test_unigram_keeps_scores_and_uses_each_new_piece(small, extended, name):
    old, edit = small(name), extended(name)
    pieces = edit.tokenizer.pipeline.model.pieces
    assert list(pieces[: old.vocab_size]) == list(old.pipeline.model.pieces)
    lowest = min(score for _, score in old.pipeline.model.pieces)
    for id in edit.new_pieces:
        piece, score = pieces[id]
        assert score >= lowest
        text = piece.replace("▁", " ")
        if name != "unigram, split" and text.startswith(" ") and len(text.strip()) > 1:
            assert edit.tokenizer.encode(text.strip()) == [id]


def test_bytes_without_a_token_get_one_first():
    small = Tokenizer.train(["abab"] * 3, vocab_size=258)
    tokens = {token: id for token, id in small.pipeline.model.tokens.items() if token != b"z"}
    lacking = Tokenizer(
        dataclasses.replace(small.pipeline, model=dataclasses.replace(small.pipeline.model, tokens=tokens))
    )
    edit = extend(lacking, ["zz"], 2)
    assert [edit.tokenizer.id_to_token(id) for id in edit.new_pieces] == ["z", "zz"]


def test_added_tokens_are_left_alone():
    small = Tokenizer.train(["abab"] * 3, vocab_size=258)
    added = AddedToken(content="xyz", id=small.vocab_size, special=False)
    with_added = Tokenizer(dataclasses.replace(small.pipeline, added=(*small.pipeline.added, added)))
    edit = extend(with_added, ["qxyzq"] * 5 + ["mn"], 1)
    assert [edit.tokenizer.id_to_token(id) for id in edit.new_pieces] == ["mn"]
    assert edit.tokenizer.encode("xyz") == [added.id]


def test_a_new_token_cannot_be_named_like_a_special_one():
    tokenizer = Tokenizer.train(TEXT, vocab_size=300, special_tokens=("ENDE",))
    with pytest.raises(ConfigError, match="'ENDE' is also a word of the text"):
        extend(tokenizer, ["ENDE"], 3)


def test_tokens_after_a_gap_of_added_ones(held_to_peers, small):
    for name in ("unigram, bytes", "characters"):
        pipeline = small(name).pipeline
        extra = [AddedToken(content=f"<extra_{n}>", id=len(pipeline.strings) + n) for n in range(3)]
        old = Tokenizer(dataclasses.replace(pipeline, added=(*pipeline.added, *extra)))
        edit = extend(old, NEW_TEXT, 20, FEWER)
        assert min(edit.new_pieces) == old.vocab_size
        assert edit.tokenizer.encode("<extra_1>", allow_special=True)[-1] == extra[1].id
        assert extra[1].id not in edit.tokenizer.encode("<extra_1>")
        held_to_peers(name, edit.tokenizer)


def test_impossible_requests(small):
    with pytest.raises(ConfigError, match=r">= 1, got 0"):
        extend(small("bpe"), NEW_TEXT, 0)
    with pytest.raises(DataError, match="no text"):
        extend(small("bpe"), [], 5)
    with pytest.raises(DataError, match=r"gives 1 new tokens, 5 were asked for. Fix: ask for 1"):
        extend(small("bpe"), ["qx"], 5)
    pipeline = dataclasses.replace(small("end of word").pipeline, splits=(ByteLevel(),))
    with pytest.raises(NotSupportedError, match="byte-level alphabet"):
        extend(Tokenizer(pipeline), NEW_TEXT, 5)


def test_the_same_for_any_number_of_threads(small):
    for name in ("bpe", "unigram"):
        one, two = (extend(small(name), NEW_TEXT, 20, FEWER, threads=threads) for threads in (1, 2))
        assert one.tokenizer.fingerprint() == two.tokenizer.fingerprint()


def test_the_longest_token(small):
    edit = extend(small("bpe"), NEW_TEXT, 20, ExtensionRules(max_token_length=4, allow_fewer=True))
    assert all(len(edit.tokenizer.id_to_bytes(id)) < 4 for id in edit.new_pieces)
    assert edit.tokenizer.decode(edit.tokenizer.encode(SAMPLES[0])) == SAMPLES[0]


def test_characters_get_the_spellings_that_stand_in_the_text(small):
    edit = extend(small("wordpiece"), ["猫狗 猫狗 猫žž"], 4, FEWER)
    # Chinese characters are words of their own
    assert {edit.tokenizer.id_to_token(id) for id in edit.new_pieces} >= {"猫", "狗"}
    assert not {"##猫", "##狗"} & set(edit.tokenizer.pipeline.strings)
