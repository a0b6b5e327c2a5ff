"""Oracle: Oniguruma, by way of `tokenizers`."""

import pytest
import tokenizers

from textmill.errors import NotSupportedError
from textmill.ops.split import pieces
from textmill.ops.split.dialect import check_portable

TEXT = "ab a\nb\r\nx2 Ⅷ²é\u0301 ⓐ中文 STRASSE straße a[bc]\x1c\x85 _q\u200d٣ A AA{,2} ſs 👩‍👩‍👧 \u2028 aaa $^&\n"


@pytest.mark.parametrize(
    "pattern",
    [
        # Qwen 2, DeepSeek 3, Tekken
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+(?!\S)|\s+",
        r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|\s+(?!\S)|\s+",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|\p{N}|\s+(?!\S)|\s+",
        r"\p{N}{1,3}",
        r"[[:digit:]]+|[]a]|[^]b]",
        r"a{,2}|(?<=a)b|(?>x)",
    ],
)
def test_portable_patterns_cut_as_oniguruma_does(pattern):
    split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
    expected = [piece for piece, _ in split.pre_tokenize_str(TEXT)]
    assert [piece.decode() for piece in pieces(pattern, TEXT.encode())] == expected


@pytest.mark.parametrize(
    ("pattern", "part"),
    [
        (r"\w+", r"\\w"),
        (r"[^\W]+", r"\\W"),
        (r"\bx", r"\\b"),
        (r"x$|y", r"\$"),
        (r"^x", r"\^"),
        (r"x\Z", r"\\Z"),
        (r"\h+", r"\\h"),
        (r"\pL+", r"\\p"),
        (r"a{1,2}+", r"\{1,2\}\+"),
        (r"(?m)a.b", r"\(\?m"),
        (r"(?i-s:a)", r"\(\?i-s"),
        (r"[a[b]]+", r"\["),
        (r"[a-c&&b]+", "&&"),
        (r"[]a]$", r"\$"),
    ],
)
def test_parts_that_are_read_differently_are_named(pattern, part):
    with pytest.raises(NotSupportedError, match=rf"has '\\?{part}', which regex libraries read diff.*Fix: write"):
        check_portable(pattern)
