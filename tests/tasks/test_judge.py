"""Judgements: figures on a text, cells that are the text again, and where two tokenizers differ."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.errors import DataError
from textmill.metrics.tokenizer import tokenizer_figures
from textmill.tasks.describe import describe
from textmill.tasks.judge import NUM_SAMPLES, cells, compare, judge, sample_lines, side_by_side, vocabulary_bytes
from textmill.tokenizers import Tokenizer
from textmill.tokenizers.models import UnigramModel, WordPieceModel
from textmill.tokenizers.pipeline import AddedToken, Pipeline
from textmill.tokenizers.steps import BertNormalizer, BertSplit, Metaspace

TEXTS = [f"paragraph {number}: the naïve list of items\nthat 猫 {number} returns".encode() for number in range(40)]
BPE = Tokenizer.train(TEXTS, vocab_size=300)
WORDS = ["[UNK]", "paragraph", "the", "list", "##s", "item", "of", ":", "naive", *"0123456789"]
WORDPIECE = Tokenizer(
    Pipeline(
        model=WordPieceModel(tokens={word: id for id, word in enumerate(WORDS)}),
        normalizers=(BertNormalizer(),),
        splits=(BertSplit(),),
        added=(AddedToken(content="[UNK]", id=0),),
    )
)
UNIGRAM = Tokenizer(
    Pipeline(
        model=UnigramModel(
            pieces=[("<unk>", 0.0), *((f"▁{c}", -3.0) for c in "abt"), *((c, -4.0) for c in "abcdehlrt")], unknown=0
        ),
        splits=(Metaspace(),),
    )
)
HOSTILE = st.text(alphabet="a the list\n\t猫é😀\u0301\u202e\x1b[UNK]▁", max_size=20)


@pytest.mark.parametrize("tokenizer", [BPE, WORDPIECE, UNIGRAM], ids=["bpe", "wordpiece", "unigram"])
@given(text=HOSTILE)
def test_cells_are_the_text_and_its_ids(tokenizer: Tokenizer, text: str) -> None:
    row = cells(tokenizer, text)
    assert [cell.id for cell in row] == tokenizer.encode(text)
    if row:
        assert "".join(cell.text for cell in row) == text
        assert (row[0].start, row[-1].end) == (0, len(text.encode()))
        assert all(one.end == other.start for one, other in itertools.pairwise(row))


def test_kinds_of_cells() -> None:
    music = cells(BPE, "𝄞")
    assert [(cell.kind, cell.text) for cell in music] == [("part", "𝄞"), ("part", ""), ("part", ""), ("part", "")]
    assert [cell.kind for cell in cells(WORDPIECE, "the 猫")] == ["text", "unknown"]
    end = BPE.special_tokens["<|endoftext|>"]
    (cell,) = cells(BPE, "<|endoftext|>", allow_special=True)
    assert (cell.id, cell.kind, cell.text) == (end, "special", "<|endoftext|>")
    assert cells(BPE, "\ud800")[0].text == "�"
    assert cells(BPE, "") == ()


def test_a_judgement_agrees_with_the_figures_of_plain_ids() -> None:
    text = b"\n".join(TEXTS)
    judged = judge(BPE, [text], name="mine")
    plain = tokenizer_figures(text.decode(), BPE.encode_array(text), BPE.vocab_size)
    figures = judged.figures
    assert (figures.num_tokens, figures.num_bytes) == (plain.num_tokens, plain.num_bytes)
    assert figures.bytes_per_token == plain.bytes_per_token
    assert figures.renyi_efficiency == plain.renyi_efficiency
    assert figures.unused_share == plain.unused_share == judged.never_used / BPE.vocab_size
    assert sum(group.tokens for group in figures.groups.values()) == figures.num_tokens
    assert judged.megabytes_per_second > 0
    assert sum(judged.length_counts) == len(vocabulary_bytes(BPE)) == BPE.vocab_size - 1
    assert sum(judged.vocabulary_groups.values()) == BPE.vocab_size - 1
    counts = np.sort(np.bincount(BPE.encode_array(text)))[::-1]
    assert all(counts[rank - 1] == count for rank, count in judged.rank_counts)


def test_documents_are_judged_one_by_one() -> None:
    together, apart = judge(BPE, TEXTS, name=""), judge(BPE, TEXTS[:20], name="")
    assert together.figures.num_tokens == sum(map(len, BPE.encode_batch([text.decode() for text in TEXTS])))
    assert apart.figures.num_tokens < together.figures.num_tokens


def test_what_a_vocabulary_lacks_is_seen() -> None:
    judged = judge(WORDPIECE, ["the list 猫 Lists".encode()], name="")
    assert judged.figures.unknown_rate == 1 / 5
    assert judged.figures.coverage == 1 - 1 / 13
    assert judged.figures.groups["Han"].unknown_rate == 1
    assert judge(BPE, ["the 𝄞".encode()], name="").figures.byte_rate > 0.5


def test_differences_are_where_only_one_has_the_token() -> None:
    one, other = side_by_side([cells(BPE, "the lists"), cells(WORDPIECE, "the lists")])
    places = [{(cell.start, cell.end) for cell in row} for row in (one, other)]
    for row, there in ((one, places[1]), (other, places[0])):
        assert all(cell.differs == ((cell.start, cell.end) not in there) for cell in row)
    same = side_by_side([cells(BPE, "the lists")] * 2)
    assert not any(cell.differs for row in same for cell in row)
    # with three, the first row is marked wherever any other differs
    three = side_by_side([cells(BPE, "the lists"), cells(BPE, "the lists"), cells(WORDPIECE, "the lists")])
    assert three[0] == one
    assert not any(cell.differs for cell in three[1])


def test_a_comparison_has_them_all() -> None:
    told = []
    result = compare(
        {"a": BPE, "b": WORDPIECE}, TEXTS, text="mine", progress=lambda done, total: told.append((done, total))
    )
    assert told == [(0, 2), (1, 2), (2, 2)]
    assert [one.name for one in result.judgements] == ["a", "b"]
    assert result.num_bytes == sum(map(len, TEXTS))
    assert len(result.samples) == NUM_SAMPLES
    assert all(len(rows) == 2 for rows in result.samples)
    with pytest.raises(DataError, match="there must be a tokenizer to judge, got none"):
        compare({}, TEXTS, text="")


def test_sample_lines() -> None:
    assert sample_lines([b"one\n\n two ", b" "]) == ["one", "two"]
    (long,) = sample_lines([b"word " * 100])
    assert 100 < len(long) <= 150
    assert long.endswith("word")
    assert len(sample_lines([b"x" * 1000])[0]) == 150
    assert sample_lines([]) == []


def test_description() -> None:
    said = describe(BPE)
    assert (said.algorithm, said.vocab_size, said.merges) == ("byte-level BPE", 300, 43)
    assert said.special_tokens == {"<|endoftext|>": BPE.end_of_text_id}
    assert said.unreachable == 0
    assert len(said.longest[0]) >= len(said.longest[-1])
    other = describe(WORDPIECE)
    assert (other.algorithm, other.merges) == ("WordPiece", None)
    assert (other.normalizers, other.splits) == (("BertNormalizer",), ("BertSplit",))
    assert dataclasses.asdict(describe(UNIGRAM))["algorithm"] == "Unigram"
