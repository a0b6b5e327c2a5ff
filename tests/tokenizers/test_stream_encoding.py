import dataclasses

import numpy as np
import pytest

from textmill.errors import NotSupportedError
from textmill.tokenizers import AddedToken, Tokenizer
from textmill.tokenizers.steps import Form
from textmill.tokenizers.stream_encoding import safe_cut


@pytest.fixture(scope="module")
def chinese():
    """Tokens that reach across a stop if what stands before it is a symbol."""
    return Tokenizer.train(["䷀。䷀。字，字。"] * 50, vocab_size=290, allow_fewer=True)


def test_a_stream_of_chinese_text(chinese):
    for before in ("䷀", "字", "\u4e00", "\u9fff"):
        text = f"{before}。" * 30_000
        parts = list(chinese.encode_stream([text[: len(text) // 2], text[len(text) // 2 :]]))
        assert np.concatenate(parts).tolist() == chinese.encode(text)
        # before a symbol there is no place to cut
        assert len(parts) == (1 if before == "䷀" else 3)
    assert safe_cut("字。".encode()) == 3
    assert safe_cut(b"\xe5ab" + "。".encode()) == 0


@pytest.mark.parametrize("content", ["字，", "。", "一 字"])
@pytest.mark.parametrize("special", [True, False])
def test_a_stream_with_added_tokens(chinese, content, special):
    token = AddedToken(content=content, id=chinese.vocab_size, special=special)
    ours = Tokenizer(dataclasses.replace(chinese.pipeline, added=(*chinese.pipeline.added, token)))
    message = "takes white space along" if " " in content else "has a Chinese comma or full stop in it"
    with pytest.raises(NotSupportedError, match=f"added token '{content}', which {message}"):
        ours.encode_stream(["text"], allow_special=True)
    if special:
        assert np.concatenate(list(ours.encode_stream(["text"]))).tolist() == ours.encode("text")


def test_a_stream_with_an_added_token_of_normalised_text(chinese):
    def with_token(content, *, normalized):
        token = AddedToken(content=content, id=chinese.vocab_size, special=False, normalized=normalized)
        added = (*chinese.pipeline.added, token)
        return Tokenizer(dataclasses.replace(chinese.pipeline, normalizers=(Form(name="NFKC"),), added=added))

    # NFKC writes both commas alike
    with pytest.raises(NotSupportedError, match="has a Chinese comma or full stop in it"):
        with_token("字,", normalized=True).encode_stream(["text"])
    assert list(with_token("字,", normalized=False).encode_stream(["text"]))
