import pytest

from textmill.errors import ConfigError
from textmill.tokenizers import Tokenizer, templates


@pytest.fixture(scope="module")
def ours():
    return Tokenizer.train(["some text, and some more text"], vocab_size=262)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pad_to": "bogus"}, "pad_to must be 'longest', 'max_length' or None, got 'bogus'"),
        ({"multiple_of": 0}, "multiple_of must be >= 1, got 0"),
        ({"multiple_of": -8}, "multiple_of must be >= 1, got -8"),
        ({"pad_to": None, "multiple_of": 8}, "multiple_of has no meaning without padding, got 8"),
        ({"pad_to": "max_length"}, "padding to max_length needs max_length"),
    ],
)
def test_padding_that_makes_no_sense(ours, settings, message):
    with pytest.raises(ConfigError, match=message):
        ours.batch(["a"], **settings)


def test_a_batch_of_a_long_text_makes_no_rows_that_overflow(ours, monkeypatch):
    made = []
    monkeypatch.setattr(templates, "_part", lambda *part, own=templates._part: made.append(part) or own(*part))
    assert ours.batch(["a b " * 5000], max_length=10).ids.shape == (1, 10)
    assert len(made) == 1
