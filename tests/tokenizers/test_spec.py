import pytest

from textmill.errors import ConfigError
from textmill.tokenizers import TokenizerSpec
from textmill.tokenizers.spec import unknown_of


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vocab_size": 256}, r"vocab_size must be >= 257 \(256 bytes and 1 special tokens\), got 256. Fix: use 257"),
        ({"vocab_size": 300, "special_tokens": tuple(f"<{i}>" for i in range(50))}, "must be >= 306"),
        ({"special_tokens": ("<a>", "<a>")}, "special tokens must differ"),
        ({"special_tokens": ("",)}, "two or more characters, got ''"),
        ({"special_tokens": ("a",)}, "two or more characters, got 'a'"),
        ({"special_tokens": ("<\ud800>",)}, r"two or more characters, got '<\\ud800>'"),
        ({"min_frequency": -1}, "min_frequency must be >= 0, got -1"),
        ({"max_token_length": 0}, "max_token_length must be >= 1, got 0"),
        ({"split": ""}, "split must not be empty. Fix: use gpt2"),
        ({"algorithm": "wordpeace"}, "must be bpe, wordpiece, unigram, words or chars, got 'wordpeace'"),
        ({"normalize": ("nfq",)}, "there is no normaliser 'nfq'. Fix: use nfc"),
        ({"limit_alphabet": 0}, "limit_alphabet must be >= 1, got 0"),
        ({"limit_alphabet": 9}, "limit_alphabet has no meaning for byte-level bpe, got 9. Fix: leave it out"),
        ({"character_coverage": 1.5}, "must be above 0 and at most 1, got 1.5"),
        ({"algorithm": "unigram", "initial_alphabet": ("ab",)}, "must hold single characters, got 'ab'"),
        ({"algorithm": "unigram", "level": "characters"}, "level has no meaning for unigram"),
        ({"algorithm": "unigram", "byte_fallback": True, "vocab_size": 258}, "vocab_size must be >= 259"),
        ({"algorithm": "unigram", "min_frequency": 2}, "min_frequency has no meaning for unigram, got 2"),
        ({"algorithm": "words", "max_token_length": 9}, "max_token_length has no meaning for words, got 9"),
        ({"algorithm": "chars", "character_coverage": 0.9}, "character_coverage has no meaning for chars, got 0.9"),
        (
            {"algorithm": "wordpiece", "special_tokens": ("[PAD]",)},
            r"of wordpiece needs an unknown token among its special tokens, got \('\[PAD\]',\). Fix: add \[UNK\]",
        ),
        ({"algorithm": "unigram", "special_tokens": ()}, r"unigram needs an unknown token .* got \(\). Fix: add <unk>"),
        ({"level": "characters", "special_tokens": ("<s>",)}, "characters needs an unknown token .* Fix: add <unk>"),
        ({"super_words": 100}, "super_words must be a vocabulary size between 257 and 32000, got 100"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ConfigError, match=message):
        TokenizerSpec(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"algorithm": "unigram", "byte_fallback": True},
        {"level": "characters", "split": "whitespace", "normalize": ("nfc",)},
        {"end_of_word": "</w>"},
        {"algorithm": "words"},
        {},
    ],
)
def test_models_that_do_without_an_unknown_token(settings):
    assert unknown_of(TokenizerSpec(**settings, special_tokens=("<s>",)).specials) is None


def test_number_of_merges():
    assert TokenizerSpec(vocab_size=257).num_merges == 0
    assert TokenizerSpec(vocab_size=300, special_tokens=()).num_merges == 44


def test_what_suits_the_algorithm():
    bert = TokenizerSpec(algorithm="wordpiece")
    assert (bert.normalizers, bert.splitter, bert.specials[1]) == (("bert",), "bert", "[UNK]")
    llama = TokenizerSpec(level="characters")
    assert (llama.family, llama.has_byte_tokens, llama.coverage, llama.least_size) == ("characters", True, 0.9995, 259)
    original = TokenizerSpec(end_of_word="</w>", normalize=("nfc",), special_tokens=("<unknown>",))
    assert (original.family, original.normalizers, original.specials) == ("end_of_word", ("nfc",), ("<unknown>",))


def test_the_unknown_token_by_its_name():
    assert unknown_of(["<s>", "<unknown>"]) == "<unknown>"
    assert unknown_of([]) is None
