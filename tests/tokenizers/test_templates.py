"""Oracle: the `Encoding` of `tokenizers`, with all it carries."""

import json
import random

import pytest
import tokenizers
from tests.tokenizers import peers
from tokenizers import models, pre_tokenizers, processors

from textmill.errors import ConfigError, DataError
from textmill.tokenizers import Tokenizer
from textmill.tokenizers.steps import ByteLevelOffsets, Padding, Slot, Template, Truncation
from textmill.tokenizers.templates import finished, num_special, padded_rows, text_row, trimmed
from textmill.tokenizers.tokenizer_json import from_schema
from textmill.tokenizers.tokenizer_json.processors import bert, roberta

VOCABULARY = {chr(97 + id): id for id in range(20)} | {"[CLS]": 30, "[SEP]": 31, "[PAD]": 32}
CLS, SEP = ("[CLS]", 30), ("[SEP]", 31)


def slots(*names):
    return tuple(Slot(content=name, special=name not in "AB", type_id=type_id) for name, type_id in names)


def template(single, pair):
    return Template(single=single, pair=pair, special_tokens=(("[CLS]", (30,)), ("[SEP]", (31,))))


CASES = [
    ((), None),
    ((ByteLevelOffsets(),), processors.ByteLevel()),
    ((bert(CLS, SEP),), processors.BertProcessing(SEP, CLS)),
    ((roberta(CLS, SEP, trim_offsets=False, add_prefix_space=False),), processors.RobertaProcessing(SEP, CLS)),
    (
        (
            template(
                slots(("[CLS]", 0), ("A", 0), ("[SEP]", 0)),
                slots(("[CLS]", 0), ("A", 0), ("[SEP]", 0), ("B", 1), ("[SEP]", 1)),
            ),
        ),
        processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[CLS, SEP]
        ),
    ),
    (
        (template(slots(("A", 3), ("[SEP]", 2)), slots(("[CLS]", 0), ("B", 0), ("A", 5), ("[SEP]", 1))),),
        processors.TemplateProcessing(single="$A:3 [SEP]:2", pair="[CLS] $B:0 $A:5 [SEP]:1", special_tokens=[CLS, SEP]),
    ),
]


def columns(row):
    return [row.ids.tolist(), row.type_ids.tolist(), row.special.tolist(), row.attention.tolist()]


def their_columns(encoding):
    return [encoding.ids, encoding.type_ids, encoding.special_tokens_mask, encoding.attention_mask]


def some_settings(generator):
    truncation = Truncation(
        max_length=generator.randrange(5, 12),
        stride=generator.choice([0, 0, 1, 2, 3]),
        strategy=generator.choice(["longest_first", "only_first", "only_second"]),
        direction=generator.choice(["right", "left"]),
    )
    padding = Padding(
        length=generator.choice([None, 5, 14]),
        direction=generator.choice(["right", "left"]),
        multiple_of=generator.choice([None, 4]),
        pad_id=32,
        pad_type_id=9,
    )
    return generator.choice([truncation, truncation, None]), generator.choice([padding, None])


def peer(processor, truncation, padding):
    theirs = tokenizers.Tokenizer(models.WordLevel(VOCABULARY, "a"))
    theirs.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if processor is not None:
        theirs.post_processor = processor
    if truncation is not None:
        options = {"stride": truncation.stride, "strategy": truncation.strategy, "direction": truncation.direction}
        theirs.enable_truncation(truncation.max_length, **options)
    if padding is not None:
        theirs.enable_padding(
            direction=padding.direction,
            pad_id=32,
            pad_type_id=9,
            pad_token="[PAD]",
            length=padding.length,
            pad_to_multiple_of=padding.multiple_of,
        )
    return theirs


@pytest.mark.parametrize(("finish", "processor"), CASES)
def test_tokenizers_agrees(finish, processor):
    generator = random.Random(0)
    for _ in range(500):
        truncation, padding = some_settings(generator)
        try:
            theirs = peer(processor, truncation, padding)
        except BaseException:  # the stride is too large, which it says in its own way
            continue
        first = generator.choices("abcdefgh", k=generator.randrange(9))
        second = generator.choices("ijklm", k=generator.randrange(9)) if generator.random() < 0.6 else None
        add_special = generator.random() < 0.8
        try:
            expected = theirs.encode(
                " ".join(first), None if second is None else " ".join(second), add_special_tokens=add_special
            )
        except BaseException:  # a crash, where the stride leaves no progress
            expected = None
        ids = [[VOCABULARY[token] for token in tokens] for tokens in (first, second or ())]
        options = {"finish": finish, "truncation": truncation, "padding": padding, "add_special": add_special}
        if expected is None:
            with pytest.raises((ConfigError, DataError)):
                finished(ids[0], None if second is None else ids[1], **options)
            continue
        row = finished(ids[0], None if second is None else ids[1], **options)
        assert columns(row) == their_columns(expected)
        assert [columns(part) for part in row.overflow] == [their_columns(part) for part in expected.overflowing]
        for id, text, place in zip(row.ids, row.texts, row.places, strict=True):
            assert text < 0 or ids[text][place] == id


def test_a_batch_is_padded_to_its_longest_row():
    rows = padded_rows([text_row([1, 2, 3], 0), text_row([4], 0)], Padding(pad_id=9, multiple_of=2))
    assert [row.ids.tolist() for row in rows] == [[1, 2, 3, 9], [4, 9, 9, 9]]
    assert padded_rows([], Padding()) == []


@pytest.mark.parametrize(("finish", "_"), CASES)
def test_what_overflows_can_be_left_out(finish, _):
    generator = random.Random(1)
    for _ in range(60):
        truncation, padding = some_settings(generator)
        ids = [list(range(generator.randrange(12))) for _ in range(generator.choice([1, 2]))]
        options = {"finish": finish, "truncation": truncation, "padding": padding}
        try:
            whole = finished(*ids, **options)
        except (ConfigError, DataError) as error:
            with pytest.raises(type(error)):
                finished(*ids, **options, overflow=False)
            continue
        row = finished(*ids, **options, overflow=False)
        assert columns(row) == columns(whole)
        assert row.overflow == ()
    assert finished([1, 2], truncation=Truncation(max_length=0), overflow=False).overflow == ()


def test_what_is_refused():
    finish = CASES[2][0]
    assert num_special(finish[0], pair=True) == 3
    with pytest.raises(ConfigError, match=r"max_length 1 has no room for 2 special tokens. Fix: allow more"):
        finished([1, 2], finish=finish, truncation=Truncation(max_length=1))
    with pytest.raises(ConfigError, match="the stride 2 must be smaller than the 2 tokens that are left"):
        finished([1, 2, 3], truncation=Truncation(max_length=2, stride=2))
    with pytest.raises(DataError, match="only the second text may be truncated"):
        finished([1, 2, 3], truncation=Truncation(max_length=2, strategy="only_second"))
    with pytest.raises(DataError, match="4 tokens too many, and the text that may be truncated has 3"):
        finished([1, 2, 3], [1, 2, 3], truncation=Truncation(max_length=2, strategy="only_first"))


@pytest.mark.parametrize("kind", ["roberta", "gpt2"])
@pytest.mark.parametrize("add_prefix_space", [True, False])
def test_trimmed_spans(kind, add_prefix_space):
    theirs = peers.trained(kind)
    theirs.post_processor = None
    generator = random.Random(3)
    for _ in range(200):
        text = "".join(generator.choices([" ", "  ", "\n", "a", "the", "Σ", "中", "zzz", "\u3000", "!"], k=6))
        plain = theirs.encode(text)
        theirs.post_processor = processors.ByteLevel(add_prefix_space=add_prefix_space, trim_offsets=True)
        expected = theirs.encode(text).offsets
        theirs.post_processor = None
        assert trimmed(plain.tokens, plain.offsets, add_prefix_space=add_prefix_space) == expected, ascii(text)


@pytest.mark.parametrize("add_prefix_space", [True, False])
@pytest.mark.parametrize("splitter_adds", [True, False])
def test_a_tokenizer_trims_spans(add_prefix_space, splitter_adds):
    theirs = peers.trained("roberta")
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=splitter_adds)
    theirs.post_processor = processors.RobertaProcessing(
        ("</s>", 1), ("<s>", 0), trim_offsets=True, add_prefix_space=add_prefix_space
    )
    theirs.add_tokens([" x "])
    ours = Tokenizer(from_schema(json.loads(theirs.to_str())))
    generator = random.Random(4)
    parts = [
        " ",
        "  ",
        "\n",
        "a",
        "the",
        "Σ",
        "中",
        " x ",
        "\u3000",
        "!",
        "e\u0301",
        "😀",
        "\x00",
        "Ġ",
        " the",
        "\u0100",
    ]
    for _ in range(300):
        text = "".join(generator.choices(parts, k=generator.randrange(7)))
        expected = theirs.encode(text, add_special_tokens=False)
        ids, spans = ours.encode_with_spans(text)
        assert (ids, spans) == (expected.ids, expected.offsets), ascii(text)
