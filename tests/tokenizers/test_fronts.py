"""Settings that go together, and those that do not."""

import pytest

from textmill.errors import ConfigError
from textmill.tokenizers import Tokenizer, TokenizerSpec
from textmill.tokenizers.fronts import front_of

TEXT = ["the cat sat on it in 1899 and 1900", "a dog sat on the mat", "the mill's wheel"] * 10


@pytest.mark.parametrize(
    "settings",
    [
        {"level": "characters", "normalize": ()},
        {"level": "characters", "normalize": ("lowercase",)},
        {"level": "characters", "normalize": (), "digits": "single"},
        {"algorithm": "unigram", "normalize": (), "byte_fallback": True},
        {"algorithm": "unigram", "normalize": ("nfc",)},
        {"algorithm": "unigram", "normalize": (), "digits": "single"},
    ],
)
def test_blanks_come_back(settings):
    ours = Tokenizer.train(TEXT, vocab_size=340, allow_fewer=True, **settings)
    for text in TEXT[:3]:
        assert ours.decode(ours.encode(text)) == text


@pytest.mark.parametrize("algorithm", ["bpe", "wordpiece", "words", "chars"])
@pytest.mark.parametrize("name", ["identity", "nmt_nfkc"])
def test_sentencepiece_normalisers_go_with_its_models(algorithm, name):
    with pytest.raises(ConfigError, match=f"the normaliser {name} goes with character-level bpe and unigram, not with"):
        front_of(TokenizerSpec(algorithm=algorithm, normalize=(name,)))


def test_another_split_than_metaspace():
    with pytest.raises(ConfigError, match=r"stands alone and goes with the split metaspace.*an empty --normalize"):
        front_of(TokenizerSpec(algorithm="unigram", split="whitespace"))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"algorithm": "wordpiece", "normalize": (), "split": "whitespace_split"}, "the [SEP] cat"),
        (
            {"algorithm": "words", "special_tokens": ("<unk>", "<|end|>"), "split": "whitespace_split"},
            "the <|end|> cat",
        ),
    ],
)
def test_special_tokens_in_a_text_are_text(settings, text, tmp_path):
    ours = Tokenizer.train(TEXT, vocab_size=60, allow_fewer=True, **settings)
    ours.save(tmp_path)
    for tokenizer in (ours, Tokenizer.load(tmp_path)):
        special = set(tokenizer.special_tokens.values()) - {
            tokenizer.token_to_id("[UNK]"),
            tokenizer.token_to_id("<unk>"),
        }
        assert special.isdisjoint(tokenizer.encode(text))
        assert not special.isdisjoint(tokenizer.encode(text, allow_special=True))


@pytest.mark.parametrize(
    "settings",
    [
        {"algorithm": "wordpiece", "special_tokens": ("[UNK]", "the")},
        {"algorithm": "words", "special_tokens": ("<unk>", "cat")},
        {"end_of_word": "</w>", "special_tokens": ("<unk>", "the</w>")},
        {"special_tokens": ("he",)},
    ],
)
def test_a_special_token_that_is_a_word_of_the_text(settings):
    with pytest.raises(ConfigError, match=r"is also a word of the text. Fix: choose a name that no text has"):
        Tokenizer.train(TEXT, vocab_size=300, allow_fewer=True, **settings)
