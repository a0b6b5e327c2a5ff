"""Oracle: `tokenizers` trained on the same text."""

import json
import pydoc_data.topics

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers, trainers

from textmill.errors import ConfigError, DataError
from textmill.tokenizers import Tokenizer, TokenizerSpec, engine, training
from textmill.tokenizers.tokenizer_json import to_schema

TEXTS = [pydoc_data.topics.topics[name] for name in sorted(pydoc_data.topics.topics)[:25]]


def trained_by_tokenizers(texts, vocab_size, *, special=("<|endoftext|>",), min_frequency=0, max_length=None):
    theirs = tokenizers.Tokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=max_length,
        show_progress=False,
    )
    theirs.train_from_iterator(texts, trainer)
    return json.loads(theirs.to_str())


def assert_same(ours, theirs):
    schema = to_schema(ours)
    assert schema["model"]["merges"] == theirs["model"]["merges"]
    assert schema["model"]["vocab"] == theirs["model"]["vocab"]
    assert schema["added_tokens"] == theirs["added_tokens"]


def test_the_same_tokenizer_as_tokenizers_trains():
    ours = training.train(TEXTS, TokenizerSpec(vocab_size=2000))
    assert_same(ours, trained_by_tokenizers(TEXTS, 2000))
    # one text or many, str or bytes, in any order: counts are counts
    shuffled = [text.encode() for text in reversed(TEXTS)]
    assert training.train(shuffled, TokenizerSpec(vocab_size=2000)) == ours


def test_special_tokens_come_first():
    special = ("<|endoftext|>", "<|user|>", "<|é|>")
    ours = training.train(TEXTS[:3], TokenizerSpec(vocab_size=400, special_tokens=special))
    assert ours.special_tokens == {"<|endoftext|>": 0, "<|user|>": 1, "<|é|>": 2}
    assert ours.end_of_text == "<|endoftext|>"
    assert_same(ours, trained_by_tokenizers(TEXTS[:3], 400, special=special))


def test_no_special_tokens():
    ours = training.train(TEXTS[:3], TokenizerSpec(vocab_size=300, special_tokens=()))
    assert ours.end_of_text is None
    assert_same(ours, trained_by_tokenizers(TEXTS[:3], 300, special=()))


def test_min_frequency_stops_early():
    spec = TokenizerSpec(vocab_size=5000, min_frequency=50, allow_fewer=True)
    ours = training.train(TEXTS[:10], spec)
    assert len(ours.token_bytes) < 5000
    assert_same(ours, trained_by_tokenizers(TEXTS[:10], 5000, min_frequency=50))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("ab中é \n", max_size=30), max_size=6), st.integers(257, 290))
def test_small_texts_with_many_ties(texts, vocab_size):
    spec = TokenizerSpec(vocab_size=vocab_size, allow_fewer=True)
    if not any(texts):
        return
    assert_same(training.train(texts, spec), trained_by_tokenizers(texts, vocab_size))


@pytest.mark.parametrize("texts", [[], [""], [b"", ""]])
def test_no_text(texts):
    with pytest.raises(DataError, match=r"there is no text to train a tokenizer on. Fix: give at least one text"):
        Tokenizer.train(texts, vocab_size=300)


def test_more_ids_than_the_text_can_give():
    message = r"the text gives a vocabulary of at most 260, 300 was asked for. Fix: use --vocab-size 260 or less"
    with pytest.raises(DataError, match=message):
        Tokenizer.train(["aaab"], vocab_size=300)
    assert Tokenizer.train(["aaab"], vocab_size=300, allow_fewer=True).vocab_size == 260
    assert Tokenizer.train(["aaab"], vocab_size=260).vocab_size == 260


def test_a_special_token_that_is_a_word():
    with pytest.raises(ConfigError, match=r"the special token 'user' is also a word of the text. Fix: choose a name"):
        Tokenizer.train(["user user"], vocab_size=400, special_tokens=("user",), allow_fewer=True)
    # the string by which a vocabulary file names the word " user"
    with pytest.raises(ConfigError, match="the special token 'Ġuser' is also a word of the text"):
        Tokenizer.train(["a user user"], vocab_size=400, special_tokens=("Ġuser",), allow_fewer=True)


def test_surrogates_are_trained_on_as_they_are_encoded():
    odd = Tokenizer.train(["ab\ud800\ud83d\ude42c"], vocab_size=262)
    assert odd.fingerprint() == Tokenizer.train(["ab\ufffd🙂c"], vocab_size=262).fingerprint()


def test_a_text_that_is_too_long(monkeypatch):
    monkeypatch.setattr(engine, "MOST_BYTES", 9)
    with pytest.raises(DataError, match=r"a text may have at most 9 bytes, got 10. Fix: cut it into documents"):
        Tokenizer.train(["123456789", "1234567890"], vocab_size=300)


def test_unknown_settings():
    with pytest.raises(ConfigError, match=r"the tokenizer's settings has no setting 'vocabsize'. Fix: did you mean"):
        Tokenizer.train(["a"], vocabsize=300)
    with pytest.raises(ConfigError, match="give a spec or single settings, not both: vocab_size"):
        Tokenizer.train(["a"], TokenizerSpec(), vocab_size=300)


def test_progress_is_reported():
    calls = []
    Tokenizer.train(TEXTS[:5], vocab_size=600, progress=lambda done, total: calls.append((done, total)))
    assert calls
    assert calls[-1] == (343, 343)
    assert calls == sorted(calls)


def test_a_splitting_pattern_of_ones_own():
    tokenizer = Tokenizer.train(["ab1ab2ab3"], vocab_size=257, split=r"\d", special_tokens=())
    assert tokenizer.id_to_bytes(256) == b"ab"
    assert tokenizer.encode("ab12") == [256, *(tokenizer.token_to_id(digit) for digit in "12")]
