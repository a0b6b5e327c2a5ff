"""Batches for masked language models."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from textmill.data.masked import MaskedBatches, MaskingSpec, MaskingVocabulary
from textmill.data.masking_vocabulary import kinds_of, word_matcher
from textmill.data.shards import TokenShards
from textmill.data.writer import writing_shards
from textmill.errors import ConfigError, DataError, NotSupportedError
from textmill.ops.masking import BEGINS, CONTINUES, SPECIAL, WordMatcher
from textmill.tokenizers import Tokenizer, TokenizerSpec

VOCAB = 5000
FIRST = 10
CLS, SEP, MASK = 1, 2, 3
MARKED = MaskingVocabulary(
    kinds=np.where(np.arange(VOCAB) < FIRST, SPECIAL, BEGINS).astype(np.uint8), mask_id=MASK, cls_id=CLS, sep_id=SEP
)
PLAIN = MaskingVocabulary(kinds=MARKED.kinds, mask_id=MASK)


def shards_of(folder: Path, lengths: list[int], max_tokens: int = 1 << 28) -> TokenShards:
    """Ids 10, 11, 12, ...: each says its own position."""
    about = {"tokenizer_fingerprint": "x", "vocab_size": VOCAB, "end_of_text_id": None}
    begin = FIRST
    with writing_shards(folder / "s", max_tokens_per_file=max_tokens, **about) as writer:
        for length in lengths:
            writer.add(np.arange(begin, begin + length), split="train")
            begin += length
    return TokenShards.open(folder / "s")


def batches_of(shards: TokenShards, vocabulary: MaskingVocabulary = MARKED, **settings) -> MaskedBatches:
    sizes = {"batch_size": settings.pop("batch_size", 3), "context_length": settings.pop("context_length", 12)}
    seed, words = settings.pop("seed", 0), settings.pop("words", None)
    return MaskedBatches(
        shards, **sizes, masking=MaskingSpec(**settings), vocabulary=vocabulary, seed=seed, words=words
    )


def unmasked(batch) -> np.ndarray:
    tokens = batch.tokens.copy()
    tokens[batch.places] = batch.targets
    return tokens


def sequences(batch) -> list[list[int]]:
    """The text of each row, without masks."""
    tokens = unmasked(batch)
    return [tokens[a:b].tolist() for a, b in zip(batch.starts[:-1], batch.starts[1:], strict=True)]


LENGTHS = [1, 25, 0, 7, 30, 10, 11, 100, 3]


@pytest.mark.parametrize("max_tokens", [1 << 28, 40])
@pytest.mark.parametrize("vocabulary", [MARKED, PLAIN], ids=["marked", "plain"])
@pytest.mark.parametrize("kind", ["documents", "full"])
def test_every_token_once_in_every_epoch(tmp_path, kind, vocabulary, max_tokens):
    shards = shards_of(tmp_path, LENGTHS, max_tokens)
    batches = batches_of(shards, vocabulary, sequences=kind, batch_size=1)
    size = batches.sequences_per_epoch
    orders = []
    for epoch in range(3):
        rows = [row for step in range(size) for row in sequences(batches.batch(epoch * size + step))]
        if vocabulary is MARKED:
            assert all(row[0] == CLS and row[-1] == SEP for row in rows)
            rows = [row[1:-1] for row in rows]
        assert Counter(id for row in rows for id in row) == Counter(range(FIRST, FIRST + sum(LENGTHS)))
        assert max(map(len, rows)) <= (10 if vocabulary is MARKED else 12)
        for row in rows:
            steps = np.diff(row)
            # around the end of the split, a window goes on at its beginning
            assert ((steps == 1) | (steps == 1 - sum(LENGTHS))).all()
        orders.append([row[0] for row in rows])
    assert orders[0] != orders[1] != orders[2]


def test_pieces_stay_within_documents_and_are_nearly_equal(tmp_path):
    batches = batches_of(shards_of(tmp_path, LENGTHS))
    document = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    pieces: dict[int, list[int]] = {}
    for row in (row for batch in batches.in_order() for row in sequences(batch)):
        own = set(document[np.array(row[1:-1]) - FIRST].tolist())
        assert len(own) == 1
        pieces.setdefault(own.pop(), []).append(len(row) - 2)
    assert pieces[7] == [10] * 10
    assert sorted(pieces[1]) == [8, 8, 9]
    assert [len(pieces.get(number, [])) for number in range(9)] == [1, 3, 0, 1, 3, 1, 2, 10, 1]


@pytest.mark.parametrize("unit", ["token", "whole_word", "ngram", "span", "replaced"])
def test_masks_fit_their_unit(tmp_path, unit):
    batch = batches_of(shards_of(tmp_path, [2000, 2000]), unit=unit, context_length=502, batch_size=8).batch(0)
    assert batch.tokens.dtype == batch.places.dtype == batch.targets.dtype == batch.starts.dtype == np.int64
    text = unmasked(batch)
    assert (np.diff(text)[np.diff(text) > 0] >= 1).all()
    assert (batch.targets >= FIRST).all()
    if unit == "replaced":
        assert batch.num_targets() == 8 * 500
        assert batch.replaced().mean() == pytest.approx(0.15, abs=0.03)
    else:
        assert batch.num_targets() == 8 * 75
        assert (batch.tokens[batch.places] == MASK).mean() == pytest.approx(0.8, abs=0.1)


def test_a_batch_is_its_workers_slices_and_a_function_of_seed_and_step(tmp_path):
    shards = shards_of(tmp_path, LENGTHS)
    for kind in ("documents", "full"):
        batches, again = (batches_of(shards, batch_size=8, sequences=kind) for _ in range(2))
        for step in (11, 0, 5):
            whole = batches.batch(step)
            for rank in range(4):
                part = again.rows(step * 8 + rank * 2, 2)
                cut = whole.cut(rank * 2, rank * 2 + 2)
                for name in ("tokens", "starts", "places", "targets"):
                    assert np.array_equal(getattr(part, name), getattr(cut, name))
        other = batches_of(shards, batch_size=8, sequences=kind, seed=1)
        assert sequences(other.batch(5)) != sequences(batches.batch(5))


def test_resume(tmp_path):
    shards = shards_of(tmp_path, LENGTHS)
    batches, again = batches_of(shards), batches_of(shards)
    stream = iter(batches)
    for _ in range(40):
        next(stream)
    assert batches.state() == {"step": 40}
    again.resume(batches.state())
    assert np.array_equal(next(iter(again)).tokens, next(stream).tokens)


def masks_of_epochs(batches: MaskedBatches, epochs: int) -> list[dict[int, tuple[int, ...]]]:
    """For each epoch, the ids to predict by the first id of their sequence."""
    size = batches.sequences_per_epoch
    found = []
    for epoch in range(epochs):
        rows = batches.rows(epoch * size, size)
        parts = [rows.cut(row, row + 1) for row in range(size)]
        found.append({int(unmasked(part)[1]): (*part.targets.tolist(), *part.tokens.tolist()) for part in parts})
    return found


@pytest.mark.parametrize("kind", ["documents", "full"])
def test_copies_come_back_and_fresh_masks_do_not(tmp_path, kind):
    shards = shards_of(tmp_path, [200, 300])
    static = masks_of_epochs(batches_of(shards, copies=2, sequences=kind), 5)
    assert static[0] == static[2] == static[4]
    assert static[1] == static[3]
    assert static[0] != static[1]
    fresh = masks_of_epochs(batches_of(shards, sequences=kind), 4)
    assert all(fresh[a] != fresh[b] for a in range(4) for b in range(a))


@pytest.mark.parametrize("kind", ["documents", "full"])
def test_in_order_gives_everything_with_the_same_masks(tmp_path, kind):
    batches = batches_of(shards_of(tmp_path, LENGTHS), sequences=kind)
    first, second = list(batches.in_order()), list(batches.in_order())
    rows = [row[1:-1] for batch in first for row in sequences(batch)]
    assert [id for row in rows for id in row] == list(range(FIRST, FIRST + sum(LENGTHS)))
    assert all(np.array_equal(a.tokens, b.tokens) for a, b in zip(first, second, strict=True))
    assert [batch.num_rows() for batch in first[:-1]] == [3] * (len(first) - 1)
    some = [row for batch in batches.in_order(max_tokens=100) for row in sequences(batch)]
    assert 3 < len(some) < len(rows)
    assert all(row[1:-1] in rows for row in some)
    assert len([row for batch in batches.in_order(max_tokens=1) for row in sequences(batch)]) == 1


def test_words_of_several_tokens(tmp_path):
    shards = shards_of(tmp_path, [1000])
    words = WordMatcher([range(begin, begin + 4) for begin in range(FIRST, FIRST + 1000, 4)])
    batch = batches_of(shards, PLAIN, unit="whole_word", context_length=100, words=words).batch(0)
    assert batch.num_targets() > 30
    assert batch.num_targets() % 4 == 0
    runs = batch.targets.reshape(-1, 4)
    assert np.array_equal(runs - runs[:, :1], np.tile(np.arange(4), (len(runs), 1)))
    assert ((runs[:, 0] - FIRST) % 4 == 0).all()


def test_tokenizers_tell_words_by_their_own_signs():
    text = "the masked language model predicts masked tokens of the text " * 20
    marks = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    wordpiece = Tokenizer.train([text], spec=TokenizerSpec(algorithm="wordpiece", vocab_size=60))
    kinds = kinds_of(wordpiece)
    for id in range(wordpiece.vocab_size):
        string = wordpiece.id_to_token(id)
        assert kinds[id] == (SPECIAL if string in marks else CONTINUES if string.startswith("##") else BEGINS)
    vocabulary = MaskingVocabulary.of(wordpiece)
    ids = wordpiece.special_tokens
    assert (vocabulary.mask_id, vocabulary.cls_id, vocabulary.sep_id) == (ids["[MASK]"], ids["[CLS]"], ids["[SEP]"])
    bpe = Tokenizer.train([text], vocab_size=290)
    kinds = kinds_of(bpe)
    ids = bpe.encode("the masked language model\npredicts")
    begins = [bpe.id_to_bytes(id)[:1].isspace() for id in ids]
    assert [kinds[id] == BEGINS for id in ids] == begins
    assert sum(begins) == 4
    unigram = Tokenizer.train([text], spec=TokenizerSpec(algorithm="unigram", vocab_size=30))
    kinds = kinds_of(unigram)
    for id in set(range(unigram.vocab_size)) - set(unigram.special_tokens.values()):
        assert (kinds[id] == BEGINS) == unigram.id_to_token(id).startswith("▁")
    assert MaskingVocabulary.of(bpe).mask_id is None
    with pytest.raises(ConfigError, match=r"has no mask token: none of \[MASK\], .* set mask_share to 0"):
        MaskingVocabulary.of(bpe).rules(MaskingSpec())
    assert MaskingVocabulary.of(bpe).rules(MaskingSpec(mask_share=0)).mask_id == 0
    ends = Tokenizer.train([text], spec=TokenizerSpec(end_of_word="</w>", vocab_size=50))
    with pytest.raises(NotSupportedError, match="these show its end"):
        kinds_of(ends)


def test_chinese_words():
    text = "中国人民银行在北京。研究生命起源。"
    tokenizer = Tokenizer.train([text * 5], spec=TokenizerSpec(algorithm="wordpiece", vocab_size=21))
    matcher = word_matcher(tokenizer, ["中国", "中国人", "人民", "银行", "北京", "研究", "研究生", "生命", "龘龘", ""])
    ids = np.array(tokenizer.encode("中国人民银行在北京。研究生命"))
    assert len(ids) == 14
    # the longest word that begins at each place: 中国人 民 银行 在 北京 。 研究生 命
    expected = [0, 1, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 1, 0]
    assert matcher.continues(ids, np.array([0, 14])).tolist() == [bool(each) for each in expected]


def test_mistakes(tmp_path):
    shards = shards_of(tmp_path, [50])
    for message, settings in {
        "context_length must be at least 3, got 2": {"context_length": 2},
        "batch_size must be at least 1, got 0": {"batch_size": 0},
        "words are for masks of whole words, not for unit=token": {"words": WordMatcher([])},
        "unit must be one of token, whole_word, ngram, span, replaced, got 'word'": {"unit": "word"},
        "sequences must be documents or full, got 'x'": {"sequences": "x"},
        "fraction must be from 0 to 1, got 2": {"fraction": 2},
        "at most 1 together, got 0.8 and 0.5": {"random_share": 0.5},
        "copies must be at least 0, got -1": {"copies": -1},
        "longest_run is of ngram and span, not of unit=token": {"longest_run": 2},
    }.items():
        with pytest.raises(ConfigError, match=message):
            batches_of(shards, **settings)
    with pytest.raises(ConfigError, match="max_tokens must be at least 1, got 0"):
        batches_of(shards).in_order(max_tokens=0)
    with pytest.raises(DataError, match="the shards have 5000 ids, the vocabulary has 7"):
        batches_of(shards, MaskingVocabulary(kinds=np.zeros(7, np.uint8), mask_id=3))
    empty = TokenShards.open(tmp_path / "s", "validation")
    with pytest.raises(DataError, match=r"the validation split of .* holds no tokens. Fix: give more documents"):
        batches_of(empty)
