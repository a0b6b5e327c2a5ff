"""Oracles: `tokenizers` over all code points and on hostile text, with its offsets; sentencepiece for its own."""

import itertools
import random

import pytest
import sentencepiece
import tokenizers
from tests.tokenizers import peers
from tokenizers import normalizers

from textmill.errors import FormatError, NotSupportedError
from textmill.ops.normalize import build_charsmap
from textmill.tokenizers import steps
from textmill.tokenizers.normalizing import normalize, normalize_aligned

RULES = {
    "ﬁ": "fi",
    "①": "1",
    "ﷺ": "long one",
    "e\u0301": "é",
    "\t": " ",
    "\x01": "",
    "ｶ": "カ",
    "\r\n": "\n",
    "中": "",
    "a": "b",
}
CHARSMAP = build_charsmap(RULES)
SIMPLE = [
    *((steps.Form(name=name), getattr(normalizers, name)()) for name in ("NFC", "NFD", "NFKC", "NFKD")),
    (steps.Lowercase(), normalizers.Lowercase()),
    (steps.StripAccents(), normalizers.StripAccents()),
    (steps.Nmt(), normalizers.Nmt()),
    (steps.ByteLevelCharacters(), normalizers.ByteLevel()),
    (steps.Precompiled(charsmap=CHARSMAP), normalizers.Precompiled(CHARSMAP)),
    (steps.BertNormalizer(), normalizers.BertNormalizer()),
]
OTHERS = [
    (steps.Strip(), normalizers.Strip()),
    (steps.Strip(right=False), normalizers.Strip(right=False)),
    (steps.Strip(left=False), normalizers.Strip(left=False)),
    (steps.Replace(pattern=" ", content="▁"), normalizers.Replace(" ", "▁")),
    (steps.Replace(pattern="", content="_-"), normalizers.Replace("", "_-")),
    (steps.Replace(pattern=r"\s+", content="", is_regex=True), normalizers.Replace(tokenizers.Regex(r"\s+"), "")),
    (steps.Replace(pattern="a*", content="_-", is_regex=True), normalizers.Replace(tokenizers.Regex("a*"), "_-")),
    (steps.Prepend(text="xyz"), normalizers.Prepend("xyz")),
]
OTHERS += [
    (
        steps.BertNormalizer(clean_text=clean, isolate_chinese=chinese, strip_accents=accents, lowercase=lower),
        normalizers.BertNormalizer(
            clean_text=clean, handle_chinese_chars=chinese, strip_accents=accents, lowercase=lower
        ),
    )
    for clean, chinese, accents, lower in itertools.product(
        [True, False], [True, False], [None, False, True], [True, False]
    )
]
PARTS = [
    "a", "aB", "Σ", "Z", "①", "ﬁ", "é", "e", "\u0301", "\u0323", "\u0302", "中", "▁", "\u3000", "\x09",
    "\x01", "\x00", "ﷺ", "が", "か", "\u3099", "ｶﾞ", "\ufeff", "\u200b", "가", "ᄀ", "ᅡ", "ᆨ", "😀", "～", "ế",
    "İ", "\U00011935", "\U00011930", "\u08ca", "\x0d\x0a", "\u0345", "ά", "½", "Ω", "\u0f71\u0f72",
    "\u0f73", "\ue000", "�", "ǅ", "क", "\u094d", "\u200d", "ष", " ", "  ",
]  # fmt: skip


def texts(seed, count):
    generator = random.Random(seed)
    return ["".join(generator.choices(PARTS, k=generator.randrange(8))) for _ in range(count)]


def check(ours, theirs, text):
    expected, offsets = peers.normalized(theirs, text)
    assert normalize(text, ours) == expected, ascii(text)
    aligned, starts, ends = normalize_aligned(text, ours)
    assert (aligned, list(zip(starts.tolist(), ends.tolist(), strict=True))) == (expected, offsets), ascii(text)


@pytest.mark.parametrize(("ours", "theirs"), SIMPLE + OTHERS)
def test_tokenizers_agrees(ours, theirs):
    for text in texts(1, 150):
        check([ours], theirs, text)


def test_sequences():
    generator = random.Random(2)
    for _ in range(150):
        # `tokenizers` crashes where what `Replace` put before the text is changed once more
        pair = [generator.choice(SIMPLE + OTHERS[:3]), generator.choice(SIMPLE + OTHERS)]
        together = normalizers.Sequence([theirs for _, theirs in pair])
        for text in texts(generator.random(), 5):
            check([ours for ours, _ in pair], together, text)


@pytest.mark.parametrize(("ours", "theirs"), SIMPLE)
def test_every_code_point(ours, theirs):
    # line feeds keep characters from combining with one another
    lines = ["a" + chr(code) + "\u0323\u0301a" for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    for at in range(0, len(lines), 50_000):
        text = "\n".join(lines[at : at + 50_000])
        found, expected = normalize(text, [ours]), theirs.normalize_str(text)
        if found != expected:
            wrong = [line for line in lines[at : at + 50_000] if normalize(line, [ours]) != theirs.normalize_str(line)]
            assert not wrong, [ascii(line) for line in wrong[:10]]


@pytest.mark.parametrize("flags", list(itertools.product([True, False], repeat=3)))
def test_sentencepiece_agrees(flags):
    from sentencepiece import sentencepiece_model_pb2

    spec = sentencepiece_model_pb2.NormalizerSpec(precompiled_charsmap=CHARSMAP)
    prefix, escape, squeeze = flags
    theirs = sentencepiece.SentencePieceNormalizer(
        normalizer_spec=spec.SerializeToString(),
        add_dummy_prefix=prefix,
        escape_whitespaces=escape,
        remove_extra_whitespaces=squeeze,
    )
    step = steps.SentencePiece(charsmap=CHARSMAP, dummy_prefix=prefix, escape_blanks=escape, squeeze_blanks=squeeze)
    for text in texts(3, 200):
        expected, offsets = theirs.normalize(text, with_offsets=True)
        result, starts, ends = normalize_aligned(text, [step])
        assert result == expected == normalize(text, [step])
        if result:
            assert [*starts.tolist(), int(ends[-1])] == offsets
            assert ends.tolist() == offsets[1:]


def test_user_defined_strings_stay():
    step = steps.SentencePiece(charsmap=CHARSMAP, user_defined=("ﬁ①", "  "))
    assert normalize("ﬁ①ﬁ  x", [step]) == "▁ﬁ①fi▁▁x"


def test_bytes_that_are_no_text():
    text = b"a\xffb".decode("utf-8", "surrogateescape")
    assert normalize(text, [steps.Lowercase(), steps.Form(name="NFC")]) == text
    assert normalize(text, [steps.ByteLevelCharacters()]) == "aÿb"
    assert normalize_aligned(text, [steps.SentencePiece()])[0] == "▁a\ufffdb"
    assert normalize("\ud800", [steps.SentencePiece()]) == "▁\ufffd"


def test_what_is_refused():
    with pytest.raises(NotSupportedError, match="which regex libraries read differently"):
        normalize("a", [steps.Replace(pattern="^a", content="", is_regex=True)])
    with pytest.raises(FormatError, match="a charsmap of 3 bytes"):
        normalize("a", [steps.Precompiled(charsmap=b"abc")])
