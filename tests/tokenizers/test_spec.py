import pytest

from textmill.errors import ConfigError
from textmill.tokenizers import TokenizerSpec


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
        ({"algorithm": "wordpeace"}, "algorithm must be bpe, got 'wordpeace'"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ConfigError, match=message):
        TokenizerSpec(**settings)


def test_number_of_merges():
    assert TokenizerSpec(vocab_size=257).num_merges == 0
    assert TokenizerSpec(vocab_size=300, special_tokens=()).num_merges == 44
