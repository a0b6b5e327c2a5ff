"""Oracles: the decoders of `tokenizers`, and sentencepiece."""

import io
import itertools
import random

import numpy as np
import pytest
import sentencepiece
import tokenizers
from tokenizers import decoders, models

from textmill.errors import DataError
from textmill.tokenizers import steps
from textmill.tokenizers.decoder_steps import decode_tokens
from textmill.tokenizers.decoding import Decoder, plan_of

TOKENS = [
    "a", "b", "▁", "▁a", "▁▁b", "##x", "##", "a##x", ".", "!", "n't", "do", "not", "'", "</w>", "a</w>",
    "</w>b", "<0xE4>", "<0xB8>", "<0xAD>", "<0x41>", "<0x0a>", "<0xff>", "<0x+1>", "<pad>", "|", "Ġ",
    "Ġa", "é", "中", "Ã©", "ä", "¸", "Ń", "_", "<s>", "aa", " ", "  c", " do not",
]  # fmt: skip
CASES = [
    (steps.DecodeByteLevel(), decoders.ByteLevel()),
    (steps.DecodeWordPiece(), decoders.WordPiece()),
    (steps.DecodeWordPiece(cleanup=False), decoders.WordPiece(cleanup=False)),
    (steps.DecodeMetaspace(), decoders.Metaspace()),
    (steps.DecodeMetaspace(prepend="never"), decoders.Metaspace(prepend_scheme="never")),
    (steps.DecodeSuffix(), decoders.BPEDecoder()),
    (steps.DecodeByteFallback(), decoders.ByteFallback()),
    (steps.DecodeFuse(), decoders.Fuse()),
    (steps.DecodeStrip(content=" ", start=1), decoders.Strip(" ", 1, 0)),
    (steps.DecodeReplace(pattern="▁", content=" "), decoders.Replace("▁", " ")),
    (steps.DecodeReplace(pattern="a+", content="_", is_regex=True), decoders.Replace(tokenizers.Regex("a+"), "_")),
    (steps.DecodeCtc(), decoders.CTC()),
    (steps.DecodeCtc(cleanup=False), decoders.CTC(cleanup=False)),
]
LLAMA = [CASES[9], CASES[6], CASES[7], CASES[8]]


def rows(generator, count):
    byte_tokens = [TOKENS.index(token) for token in ("<0xE4>", "<0xB8>", "<0xAD>", "<0x41>", "a", "▁a")]
    for i in range(count):
        yield generator.choices(byte_tokens if i % 3 else range(len(TOKENS)), k=generator.randrange(9))


def check(chosen, generator, count):
    theirs = tokenizers.Tokenizer(models.WordLevel({token: id for id, token in enumerate(TOKENS)}, "a"))
    if chosen:
        theirs.decoder = decoders.Sequence([decoder for _, decoder in chosen])
    ours = Decoder(TOKENS, [step for step, _ in chosen])
    for ids in rows(generator, count):
        expected = theirs.decode(ids, skip_special_tokens=False)
        assert decode_tokens([TOKENS[id] for id in ids], [step for step, _ in chosen]) == expected
        assert ours.decode(np.array(ids, dtype=np.int32)) == expected
        stream = ours.stream()
        assert "".join([*map(stream.push, ids), stream.finish()]) == expected
        data = ours.decode_bytes(ids)
        if "\ufffd" not in expected:
            assert data == expected.encode()


@pytest.mark.parametrize("chosen", [[], *([case] for case in CASES), LLAMA, LLAMA[:3], [CASES[9], CASES[7]]])
def test_tokenizers_agrees(chosen):
    check(chosen, random.Random(0), 60)


def test_sequences():
    generator = random.Random(1)
    for _ in range(150):
        check(generator.choices(CASES, k=generator.choice([2, 3, 4])), generator, 15)


def test_what_is_worked_out_token_by_token():
    assert plan_of([step for step, _ in LLAMA]).kind == "byte_fallback"
    assert plan_of([steps.DecodeCtc()]) is None
    assert plan_of([steps.DecodeByteFallback(), steps.DecodeWordPiece()]) is None


@pytest.mark.parametrize("settings", list(itertools.product([True, False], [True, False], [True, False])))
def test_sentencepiece_agrees(settings):
    prefix, squeeze, byte_fallback = settings
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["Hello world this is  a test ", "ab ab ab cd cd e f g"] * 20),
        model_writer=model,
        vocab_size=290 if byte_fallback else 36,
        byte_fallback=byte_fallback,
        add_dummy_prefix=prefix,
        remove_extra_whitespaces=squeeze,
        user_defined_symbols=["▁x", "<u>"],
        control_symbols=["<c>"],
        hard_vocab_limit=False,
        minloglevel=5,
    )
    theirs = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    tokens = [theirs.id_to_piece(id) for id in range(theirs.get_piece_size())]
    kinds = {0: "unknown"} | {id: "control" for id in range(len(tokens)) if theirs.is_control(id)}
    kinds |= {id: "byte" for id in range(len(tokens)) if theirs.is_byte(id)}
    ours = Decoder(tokens, [steps.DecodeSentencePiece(dummy_prefix=prefix, squeeze_blanks=squeeze)], kinds=kinds)
    generator = random.Random(2)
    blanks = [id for id, token in enumerate(tokens) if "▁" in token]
    byte_ids = [tokens.index(token) for token in ("<0xE4>", "<0xB8>", "<0xAD>", "<0xFF>")] if byte_fallback else blanks
    others = [id for id in range(len(tokens)) if kinds.get(id) != "byte"]
    for _ in range(200):
        ids = [generator.choice(generator.choice([others, blanks, byte_ids])) for _ in range(generator.randrange(8))]
        stream = ours.stream()
        assert ours.decode(ids) == theirs.decode(ids) == "".join([*map(stream.push, ids), stream.finish()])


def test_added_tokens_stand_for_themselves():
    tokens = ["Ġa", "né"]
    assert Decoder(tokens, [steps.DecodeByteLevel()], added={1: "né"}).decode([0, 1]) == " ané"


def test_damaged_bytes():
    decoder = Decoder(["<0xE4>", "a"], [steps.DecodeByteFallback(), steps.DecodeFuse()])
    assert decoder.decode_bytes([0, 1]) == b"\xe4a"
    assert decoder.decode([0, 1]) == "\ufffda"


@pytest.mark.parametrize("decoders_", [[], [steps.DecodeCtc()]])
def test_ids_that_are_none(decoders_):
    decoder = Decoder(["a", None, "b"], decoders_)
    assert decoder.decode([]) == ""
    for ids in ([1], [3], [-1], [0, 3]):
        with pytest.raises(DataError, match="is not in the vocabulary"):
            decoder.decode(ids)
        with pytest.raises(DataError, match="is not in the vocabulary"):
            decoder.stream().push(ids[-1])
    with pytest.raises(DataError, match="whole numbers in one row"):
        decoder.decode(np.array([0.5]))
