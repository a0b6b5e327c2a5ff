"""Instances on a terminal: every mark without colours, nothing of the text taken for markup."""

import io

import numpy as np
import pytest
from rich.console import Console

from textmill.data.batches import IGNORED, Batch
from textmill.data.ragged import RaggedBatch
from textmill.report.instances import show_instances
from textmill.tokenizers import Tokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = Tokenizer.train(["the man went to the shop"] * 9, algorithm="wordpiece", vocab_size=33, special_tokens=SPECIAL)
BYTES = Tokenizer.train(["the man went to the shop"] * 9, vocab_size=270)


def printed(batch, tokenizer=PIECES, *, terminal: bool = False, width: int = 200, **settings) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=terminal, color_system="truecolor" if terminal else None)
    show_instances(batch, tokenizer, console, **settings)
    return file.getvalue()


def pair(label: int = 1) -> RaggedBatch:
    the, man, went, shop = PIECES.encode("the man went shop")
    cls, sep, mask = (PIECES.special_tokens[name] for name in ("[CLS]", "[SEP]", "[MASK]"))
    return RaggedBatch(
        tokens=np.array([cls, the, mask, sep, shop, went, the, sep]),
        starts=np.array([0, 8]),
        places=np.array([2, 4, 5]),
        targets=np.array([man, the, went]),
        types=np.array([0, 0, 0, 0, 1, 1, 1, 1]),
        labels=np.array([label]),
    )


def test_a_pair_with_masks():
    lines = [line.rstrip() for line in printed(pair()).splitlines()]
    assert lines == [
        "sequence 1  8 tokens  3 to predict  label 1: B comes from another document",
        "A [CLS] the {[MASK]→man} [SEP]",
        "B {shop→the} {went} the [SEP]",
        "",
        "{[MASK]→word} hidden  {other→word} a random token stands there  {word} to predict, though it is there",
        "1 sequences, 8 tokens, 3 to predict (33% hidden, 33% kept, 33% random); 100% of the pairs have label 1",
    ]


def test_labels_in_words():
    assert "label 0: B follows A" in printed(pair(0))
    assert "label 1: swapped: A follows B" in printed(pair(), kind="sentence_order")


def test_colours_tell_marks_apart():
    shown = printed(pair(), terminal=True)
    assert "\x1b[30;48;2;224;168;63m{[MASK]→man}" in shown
    assert "\x1b[37;48;2;179;38;30m{shop→the}" in shown
    assert "\x1b[30;48;2;143;181;115m{went}" in shown
    assert "\x1b[36mthe" in shown  # of B
    assert "\x1b[2m[SEP]" in shown


def test_sequences_without_pairs_and_the_limit():
    one = RaggedBatch(
        tokens=np.array(PIECES.encode("the man went the shop")),
        starts=np.array([0, 3, 5]),
        places=np.zeros(0, np.int64),
        targets=np.zeros(0, np.int64),
    )
    shown = printed(one, limit=1)
    assert "the man went" in shown
    assert "sequence 2" not in shown
    assert shown.splitlines()[-1] == "2 sequences, 5 tokens, 0 to predict"
    assert "sequence 2  2 tokens  0 to predict" in printed(one)


def test_where_every_token_is_a_place_only_replaced_ones_are_marked():
    ids = PIECES.encode("the man went to the shop")
    seen = [*ids[:5], ids[1]]
    batch = RaggedBatch(tokens=np.array(seen), starts=np.array([0, 6]), places=np.arange(6), targets=np.array(ids))
    assert "the man went to the {man→shop}" in printed(batch)


def test_a_batch_of_next_tokens():
    ids = BYTES.encode("the man")
    end = BYTES.end_of_text_id
    assert end is not None
    inputs = np.array([[end, *ids, end]])
    batch = Batch(tokens=inputs, targets=np.array([[*ids, end, IGNORED]]))
    lines = printed(batch, BYTES).splitlines()
    assert lines[0] == "sequence 1"
    assert lines[1].strip() == "⟨<|endoftext|>⟩ ‖ the man <|endoftext|>"
    assert lines[-2] == "⟨word⟩ counts for nothing"
    ignored = printed(Batch(tokens=inputs, targets=np.full_like(inputs, IGNORED)), BYTES)
    assert ignored.count("⟨") == inputs.size + 1


@pytest.mark.parametrize("text", ["[red]x[/red] \x1b[2J", "a\u202eb\tc\n", "猫", "  "])
def test_nothing_takes_over_the_terminal(text):
    ids = BYTES.encode(text)
    targets = np.array([[*ids[1:], IGNORED]])
    shown = printed(Batch(tokens=np.array([ids]), targets=targets), BYTES)
    assert not set(shown) & set("\x1b\u202e\t")
    assert "x[/red]" in shown or "[/red]" not in text
    row = RaggedBatch(
        tokens=np.array(ids), starts=np.array([0, len(ids)]), places=np.arange(len(ids)), targets=np.array(ids[::-1])
    )
    assert not set(printed(row, BYTES)) & set("\x1b\u202e\t")


def test_ids_without_a_token_and_an_empty_batch():
    batch = Batch(tokens=np.array([[10_000]]), targets=np.array([[10_001]]))
    assert "⟨#10000⟩ #10001" in printed(batch, BYTES)
    empty = RaggedBatch(
        tokens=np.zeros(0, np.int64),
        starts=np.array([0]),
        places=np.zeros(0, np.int64),
        targets=np.zeros(0, np.int64),
        labels=np.zeros(0, np.int64),
    )
    assert printed(empty) == "0 sequences, 0 tokens, 0 to predict\n"
