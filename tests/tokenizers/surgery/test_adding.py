"""Adding words: one token each, and the rest of the text as it was."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tokenizers.surgery.samples import BPE, SAMPLES, SETTINGS

from textmill.errors import ConfigError
from textmill.tokenizers.surgery import add_words

NAMES = ["ranks", *SETTINGS]
WORDS = ["windmill", " meadow", "New York", "磨坊", "mills", "meal, and", "ababab"]


@pytest.fixture(scope="module")
def added(small):
    made = {}

    def of(name):
        if name not in made:
            made[name] = add_words(small(name), WORDS)
        return made[name]

    return of


@pytest.mark.parametrize("name", NAMES)
def test_each_word_is_one_token(small, added, held_to_peers, name):
    old, edit = small(name), added(name)
    assert edit.old_to_new.tolist() == list(range(old.vocab_size))
    assert list(edit.new_pieces) == list(range(old.vocab_size, edit.tokenizer.vocab_size))
    for word in WORDS:
        ids = edit.tokenizer.encode(word)
        assert len(ids) == 1
        assert ids[0] >= old.vocab_size or old.encode(word) == ids
    held_to_peers(name, edit.tokenizer)


@pytest.mark.parametrize("name", ["bpe", "ranks", "characters", "unigram, bytes"])
def test_a_word_in_a_text_is_its_token(added, name):
    tokenizer = added(name).tokenizer
    alone = tokenizer.encode(" meadow")
    assert alone[0] in tokenizer.encode("the meadow, and" if name.startswith(("bpe", "ranks")) else "a  meadow x")
    assert tokenizer.decode(tokenizer.encode("in New York, a windmill")) == "in New York, a windmill"


@settings(max_examples=150)
@given(name=st.sampled_from(BPE), text=st.text(st.sampled_from("windmlaeo b磨坊,\n"), max_size=30))
def test_new_ids_of_bpe_are_the_old_ones_joined(small, added, name, text):
    edit = added(name)
    if name == "bpe, normalised" and "New York" in text:
        return
    parted = [piece for id in edit.tokenizer.encode(text) for piece in edit.new_pieces.get(id, (id,))]
    old = small(name).encode(text)
    unknown = small(name).token_to_id("<unk>")
    assert [id for id in parted if id != unknown] == [id for id in old if id != unknown]


def test_what_reaches_across_pieces_is_an_added_token(small):
    tokenizer = add_words(small("bpe"), ["meal, and", "mealy"]).tokenizer
    (added,) = [token for token in tokenizer.pipeline.added if not token.special]
    assert added.content == "meal, and"
    assert added.id in tokenizer.encode("the meal, and the mill")
    # sentencepiece splits nothing: there words may hold blanks
    tokenizer = add_words(small("unigram, bytes"), ["meal, and"]).tokenizer
    assert not [token for token in tokenizer.pipeline.added if not token.special]
    assert "▁meal,▁and" in tokenizer.pipeline.ids


def test_words_that_are_there_change_nothing(small):
    tokenizer = small("bpe")
    known = next(token.decode() for token in tokenizer.pipeline.model.tokens if len(token) > 3)
    edit = add_words(tokenizer, [known, known])
    assert edit.new_pieces == {}
    assert edit.tokenizer.fingerprint() == tokenizer.fingerprint()


def test_adding_again_changes_nothing(added):
    edit = added("bpe")
    assert add_words(edit.tokenizer, WORDS).tokenizer.fingerprint() == edit.tokenizer.fingerprint()


def test_the_rest_of_the_text_stays(small, added):
    for name in ("words", "chars", "wordpiece"):
        assert added(name).tokenizer.encode(SAMPLES[1]) == small(name).encode(SAMPLES[1])


def test_impossible_requests(small):
    with pytest.raises(ConfigError, match="at least one word"):
        add_words(small("bpe"), [])
    with pytest.raises(ConfigError, match="normalisation keeps, got ''"):
        add_words(small("bpe"), [""])
    with pytest.raises(ConfigError, match=r"normalisation keeps, got '\\x07'"):
        add_words(small("wordpiece"), ["\x07"])
