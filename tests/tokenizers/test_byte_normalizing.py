"""Kernels on bytes. Oracle: the definition, `normalizing.normalize`."""

import itertools
import random

import pytest
from tests.tokenizers.test_normalizing import CHARSMAP, OTHERS, PARTS, SIMPLE

from textmill.tokenizers import steps
from textmill.tokenizers.byte_normalizing import ByteNormalizer
from textmill.tokenizers.normalizing import normalize

RUNS = [
    *([ours] for ours, _ in SIMPLE + OTHERS),
    [steps.Form(name="NFKD"), steps.StripAccents(), steps.Lowercase(), steps.Precompiled(charsmap=CHARSMAP)],
    [steps.Form(name="NFC"), steps.Replace(pattern=r"\s+", content=" ", is_regex=True), steps.Lowercase()],
    [steps.Form(name="NFD"), steps.Lowercase()],
    [steps.Form(name="NFD"), steps.StripAccents(), steps.Form(name="NFC"), steps.Nmt()],
    [steps.Lowercase(), steps.Form(name="NFKC")],
    [steps.StripAccents(), steps.Form(name="NFC"), steps.BertNormalizer()],
    [steps.Prepend(text="▁"), steps.Replace(pattern=" ", content="▁")],
    [steps.Precompiled(charsmap=CHARSMAP), steps.Replace(pattern=" {2,}", content=" ", is_regex=True)],
    [steps.Replace(pattern=" {2,}", content="▁", is_regex=True), steps.Strip(), steps.Nmt()],
    [steps.Replace(pattern="[ac]", content=r"\1", is_regex=True)],
    [steps.ByteLevelCharacters(), steps.Form(name="NFC")],
    [steps.SentencePiece(charsmap=CHARSMAP)],
    [],
]
MORE = [
    "ab c ",
    "   ",
    "\u1160",
    "ᅡ",
    "\u0903",
    "\u09be",
    "ক",
    "\u0d57",
    "\u302e",
    "\U0001d165",
    "\r",
    "\n",
    "क्ष",
    "\u0301",
    "\ua66f",
    "\r\n",
    "\r\n\r\n",
    "\U0010ffff",
]
BYTES = [b"\xff", b"\xe2\x96", b"\x81", b"\xc3", b"\xf0\x9f\x98"]


def expected(data, run):
    return normalize(data.decode("utf-8", "surrogateescape"), run).encode("utf-8", "surrogateescape")


@pytest.mark.parametrize("run", RUNS)
def test_texts(run):
    normalizer = ByteNormalizer(run)
    generator = random.Random(0)
    parts = [*(part.encode() for part in PARTS + MORE), *BYTES]
    for _ in range(300):
        data = b"".join(generator.choices(parts, k=generator.randrange(10)))
        assert normalizer(data) == expected(data, run), ascii(data)
        # what is known already, and with much around it
        data = b"x" * 3000 + data * 3 + "é".encode() * 1000
        assert normalizer(memoryview(data)) == expected(data, run), ascii(data)


@pytest.mark.parametrize("run", [run for run in RUNS if run][::2])
@pytest.mark.parametrize("between", ["a", "e\u0301 ", ""])
def test_every_character(run, between):
    normalizer = ByteNormalizer(run)
    codes = (code for code in range(0x110000) if code % 97 == 0 or code < 0x3400)
    characters = [chr(code) for code in codes if not 0xD800 <= code < 0xE000]
    for block in itertools.batched(characters, 3000) if hasattr(itertools, "batched") else [characters]:
        data = between.join(block).encode()
        assert normalizer(data) == expected(data, run)


def test_growing():
    # one character of three bytes becomes many
    run = [steps.Precompiled(charsmap=CHARSMAP), steps.Replace(pattern=" ", content="▁▁▁")]
    data = "ﷺ ".encode() * 30_000
    assert ByteNormalizer(run)(data) == expected(data, run)
    assert ByteNormalizer(run)("ﷺ".encode() * 20_000) == expected("ﷺ".encode() * 20_000, run)


def test_nothing_to_do_copies_nothing():
    data = b"plain"
    assert ByteNormalizer([])(data) is data
    assert ByteNormalizer([steps.Form(name="NFC")])(data) is data
