"""Small tokenizers of every algorithm, and how a result is held against the libraries that own the formats."""

from collections.abc import Callable

import pytest
import tokenizers
from tests.tokenizers.surgery.samples import SAMPLES, SENTENCEPIECE, TEXT, trained

from textmill.tokenizers import Tokenizer


@pytest.fixture(scope="session")
def small() -> Callable[[str], Tokenizer]:
    """The tokenizer of a name, trained once."""
    made: dict[str, Tokenizer] = {}

    def of(name: str) -> Tokenizer:
        if name not in made:
            made[name] = trained(name, TEXT)
        return made[name]

    return of


@pytest.fixture
def held_to_peers(tmp_path) -> Callable[[str, Tokenizer], None]:
    """Saves a tokenizer, loads it, and compares its ids with those of `tokenizers` and, where it can, sentencepiece."""

    def check(name: str, tokenizer: Tokenizer) -> None:
        tokenizer.save(tmp_path / "tok")
        again = Tokenizer.load(tmp_path / "tok")
        assert again.encode_batch(SAMPLES) == tokenizer.encode_batch(SAMPLES)
        theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tok" / "tokenizer.json"))
        for text in SAMPLES:
            assert theirs.encode(text, add_special_tokens=False).ids == tokenizer.encode(text)
        if name in SENTENCEPIECE:
            import sentencepiece

            tokenizer.save(tmp_path / "tok.model")
            model = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tok.model"))
            assert model.encode(SAMPLES) == tokenizer.encode_batch(SAMPLES)

    return check
