import random
from collections import Counter

import numpy as np
import pytest

from benchmarks import sentence_pairs as plain
from textmill import Tokenizer
from textmill.corpus.documents import cut_documents
from textmill.data.build import build_shards
from textmill.data.masking_spec import MaskingSpec
from textmill.data.masking_vocabulary import MaskingVocabulary
from textmill.data.pairs import PairBatches, PairSpec
from textmill.data.ragged import RaggedBatch
from textmill.data.shards import TokenShards
from textmill.data.spec import ShardSpec
from textmill.errors import ConfigError, DataError
from textmill.ops.masking import SPECIAL, WordMatcher

FIELDS = ("tokens", "starts", "places", "targets", "types", "labels")
KINDS = np.where(np.arange(plain.VOCAB_SIZE) < plain.FIRST_WORD, SPECIAL, 0).astype(np.uint8)
VOCABULARY = MaskingVocabulary(kinds=KINDS, mask_id=plain.MASK, cls_id=plain.CLS, sep_id=plain.SEP)
NO_MASKS = MaskingSpec(fraction=0)


def numbered(folder, lengths: list[list[int]]) -> TokenShards:
    """Documents whose every id says its own position: 1000 * (document + 1) + place."""
    documents = []
    for number, sentences in enumerate(lengths):
        ids = iter(range(1000 * (number + 1), 1000 * (number + 2)))
        documents.append([[next(ids) for _ in range(size)] for size in sentences])
    plain.write(documents, folder / "s")
    return TokenShards.open(folder / "s")


def pairs_of(shards: TokenShards, **changes) -> PairBatches:
    settings = {"batch_size": 4, "context_length": 32, "masking": NO_MASKS, "vocabulary": VOCABULARY, "seed": 1}
    return PairBatches(shards, **{**settings, "spec": PairSpec(), **changes})


def rows(batch: RaggedBatch) -> list[tuple[list[int], list[int], int]]:
    """A, B and label of each row, after checking what stands around them."""
    assert batch.types is not None
    assert batch.labels is not None
    found = []
    for row in range(batch.num_rows()):
        here = slice(int(batch.starts[row]), int(batch.starts[row + 1]))
        tokens, types = batch.tokens[here].tolist(), batch.types[here].tolist()
        first = tokens.index(plain.SEP)
        assert tokens[0] == plain.CLS
        assert tokens[-1] == plain.SEP
        assert types == [0] * (first + 1) + [1] * (len(tokens) - first - 1)
        found.append((tokens[1:first], tokens[first + 1 : -1], int(batch.labels[row])))
    return found


def equal(one: RaggedBatch, other: RaggedBatch) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in FIELDS)


@pytest.fixture
def shards(tmp_path) -> TokenShards:
    draws = np.random.default_rng(0)
    return numbered(tmp_path, [draws.integers(1, 20, size).tolist() for size in draws.integers(1, 9, 20)])


def test_labels_say_what_b_is(shards):
    batches = pairs_of(shards)
    seen = Counter()
    for a, b, label in rows(batches.rows(0, batches.pairs_in(0) + batches.pairs_in(1))):
        assert len(a) + len(b) <= 29
        assert len({token // 1000 for token in a}) == len({token // 1000 for token in b}) == 1
        assert a == list(range(a[0], a[-1] + 1))
        assert b == list(range(b[0], b[-1] + 1))
        same = a[0] // 1000 == b[0] // 1000
        assert same == (label == 0)
        assert not same or b[0] > a[-1]
        seen[label] += 1
    assert min(seen[0], seen[1]) > 20


def test_sentence_order_keeps_to_the_document(shards):
    batches = pairs_of(shards, spec=PairSpec(kind="sentence_order"))
    seen = Counter()
    for a, b, label in rows(batches.rows(0, batches.pairs_in(0) + batches.pairs_in(1))):
        assert a[0] // 1000 == b[0] // 1000
        assert (b[0] > a[-1]) == (label == 0)
        seen[label] += 1
    assert min(seen[0], seen[1]) > 20


def test_sentence_order_uses_every_token_of_a_document_once(tmp_path):
    lengths = [[5, 3, 8, 9, 2], [4], [10, 10, 10]]
    spec = PairSpec(kind="sentence_order", short_probability=0)
    batches = pairs_of(numbered(tmp_path, lengths), spec=spec, context_length=64)
    used = sorted(token for a, b, _ in rows(batches.rows(0, batches.pairs_in(0))) for token in [*a, *b])
    assert used == [1000 * (d + 1) + place for d, sizes in enumerate(lengths) for place in range(sum(sizes))]


def test_an_epoch_has_every_pair_of_its_copy_once_in_an_order_of_its_own(shards):
    batches = pairs_of(shards, spec=PairSpec(dupe_factor=2))
    sizes = [batches.pairs_in(epoch) for epoch in range(4)]
    assert sizes[:2] == sizes[2:]
    ends = np.cumsum([0, *sizes])
    epochs = [rows(batches.rows(int(begin), size)) for begin, size in zip(ends, sizes, strict=False)]
    in_order = [row for batch in batches.in_order() for row in rows(batch)]
    assert sorted(epochs[0]) == sorted(epochs[2]) == sorted(in_order)
    assert sorted(epochs[0]) != sorted(epochs[1])
    assert epochs[0] != epochs[2]
    assert [row[0][0] // 1000 for row in in_order] == sorted(row[0][0] // 1000 for row in in_order)


def test_a_batch_is_a_function_of_seed_and_step_and_made_of_its_workers_slices(shards):
    masking = MaskingSpec()
    batches, again = (pairs_of(shards, masking=masking) for _ in range(2))
    total = sum(batches.pairs_in(epoch) for epoch in range(3))
    for step in (0, batches.pairs_in(0) // 4, total // 4 + 1, 100_003):
        whole = again.batch(step)
        assert equal(whole, batches.batch(step))
        parts = [batches.rows(4 * step + rank, 1) for rank in range(4)]
        assert all(equal(part, whole.cut(rank, rank + 1)) for rank, part in enumerate(parts))
    assert not equal(again.batch(3), pairs_of(shards, masking=masking, seed=2).batch(3))


def test_resume(shards):
    batches = pairs_of(shards)
    stream = iter(batches)
    for _ in range(40):
        next(stream)
    state = batches.state()
    again = pairs_of(shards)
    again.resume(state)
    assert state == {"step": 40}
    assert equal(next(iter(again)), next(stream))


def test_masks(shards):
    masking = MaskingSpec(fraction=0.2, max_predictions=3)
    batches = pairs_of(shards, masking=masking, spec=PairSpec(dupe_factor=1))
    bare = pairs_of(shards, spec=PairSpec(dupe_factor=1))
    size = batches.pairs_in(0)
    one, two, text = batches.rows(0, size), batches.rows(size, size), bare.rows(0, size)
    restored = one.tokens.copy()
    restored[one.places] = one.targets
    assert np.array_equal(restored, text.tokens)
    per_row = np.bincount(np.searchsorted(one.starts, one.places, side="right") - 1, minlength=size)
    assert per_row.min() >= 1
    assert per_row.max() == 3
    assert not np.isin(one.targets, [plain.CLS, plain.SEP]).any()
    # the same pairs with other masks in the next epoch, unless they are to be the same
    row = int(np.argmax(np.diff(one.starts)))
    a, b, _ = rows(text)[row]
    other = [again for again, pair in enumerate(rows(bare.rows(size, size))) if pair[:2] == (a, b)]
    assert len(other) == 1
    masked, later = one.cut(row, row + 1), two.cut(other[0], other[0] + 1)
    assert not np.array_equal(masked.tokens, later.tokens)
    fixed = pairs_of(
        shards, masking=MaskingSpec(fraction=0.2, max_predictions=3, copies=1), spec=PairSpec(dupe_factor=1)
    )
    assert np.array_equal(
        fixed.rows(0, size).cut(row, row + 1).tokens, fixed.rows(size, size).cut(other[0], other[0] + 1).tokens
    )


def test_words_are_masked_whole(shards):
    words = WordMatcher([[1000 + place, 1001 + place] for place in range(0, 100, 2)])
    masking = MaskingSpec(unit="whole_word", fraction=0.3, mask_share=1, random_share=0)
    batch = pairs_of(shards, masking=masking, words=words).rows(0, 200)
    chosen = {int(target) for target in batch.targets if target < 1100}
    assert chosen
    text = batch.tokens.copy()
    text[batch.places] = batch.targets
    for place in batch.places[(batch.targets < 1100) & (batch.targets % 2 == 0)].tolist():
        assert text[place + 1] != text[place] + 1 or place + 1 in batch.places


def test_evaluation_takes_a_part_from_all_over_the_split(shards):
    batches = pairs_of(shards, masking=MaskingSpec())
    whole = list(batches.in_order())
    assert all(equal(one, other) for one, other in zip(whole, batches.in_order(), strict=True))
    assert sum(batch.num_rows() for batch in whole) == batches.pairs_in(0)
    part = [row for batch in pairs_of(shards).in_order(max_tokens=shards.num_tokens // 3) for row in rows(batch)]
    assert len(part) == batches.pairs_in(0) // 3
    assert part[0][0][0] // 1000 < 5
    assert part[-1][0][0] // 1000 > 15


def test_the_statistics_of_the_original_program(tmp_path):
    """Ours against the algorithm in plain Python with Python's random numbers, on 600 documents."""
    documents = plain.corpus(600)
    plain.write(documents, tmp_path / "s")
    ours = plain.batches_of(TokenShards.open(tmp_path / "s"))
    plain.check(ours, documents)
    batch = ours.rows(0, ours.pairs_in(0))
    theirs = plain.plain_copy(documents, random.Random(5))
    bins = np.arange(0, 136, 8)
    lengths = np.histogram(np.diff(batch.starts), bins)[0] / batch.num_rows()
    expected = np.histogram([len(tokens) for tokens, *_ in theirs], bins)[0] / len(theirs)
    assert np.abs(lengths - expected).max() < 0.02
    a_lengths = np.histogram([row[0].__len__() for row in rows(_unmasked(batch))], bins)[0] / batch.num_rows()
    expected = np.histogram([types.index(1) - 2 for _, types, *_ in theirs], bins)[0] / len(theirs)
    assert np.abs(a_lengths - expected).max() < 0.03


def _unmasked(batch: RaggedBatch) -> RaggedBatch:
    tokens = batch.tokens.copy()
    tokens[batch.places] = batch.targets
    return RaggedBatch(**{**{name: getattr(batch, name) for name in FIELDS}, "tokens": tokens})


@pytest.mark.slow
def test_the_sample_text_of_the_original_program(tmp_path, shared_data):
    """30 documents' worth of copies of sample_text.txt, against the algorithm in plain Python on the same ids."""
    path = shared_data / "bert-fixtures" / "sample_text.txt"
    if not path.is_file():
        pytest.skip("needs sample_text.txt of google-research/bert")
    texts = [text for _, text in cut_documents([path.read_bytes()], "paragraph")]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer.train(
        [text.decode() for text in texts], algorithm="wordpiece", vocab_size=600, special_tokens=special
    )
    build_shards(texts, tokenizer, tmp_path / "s", ShardSpec(validation_fraction=0, sentences="lines"))
    shards = TokenShards.open(tmp_path / "s")
    lines = [[line.strip() for line in text.splitlines()] for text in texts]
    documents = [[tokenizer.encode(line.decode()) for line in document if line] for document in lines]
    assert shards.sentences.counts.tolist() == [len(document) for document in documents]
    vocabulary = MaskingVocabulary.of(tokenizer)
    batches = pairs_of(shards, vocabulary=vocabulary, context_length=128, spec=PairSpec(dupe_factor=400))
    size = sum(batches.pairs_in(epoch) for epoch in range(400))
    ours = batches.rows(0, size)
    theirs = [
        pair
        for copy in range(400)
        for number in range(len(documents))
        for pair in plain.plain_pairs(documents, number, 125, random.Random(f"{copy} {number}"))
    ]
    assert size == pytest.approx(len(theirs), rel=0.03)
    assert ours.labels.mean() == pytest.approx(np.mean([label for *_, label in theirs]), rel=0.05)
    assert np.diff(ours.starts).mean() == pytest.approx(np.mean([len(a) + len(b) + 3 for a, b, _ in theirs]), rel=0.03)


def test_documents_of_one_sentence_are_followed_by_others(tmp_path):
    batches = pairs_of(numbered(tmp_path, [[5], [7], [3]]))
    found = rows(batches.rows(0, 3 * 50))
    assert {label for _, _, label in found} == {1}
    assert {(a[0] // 1000, b[0] // 1000) for a, b, _ in found} == {
        (a, b) for a in (1, 2, 3) for b in (1, 2, 3) if a != b
    }


def test_mistakes(tmp_path, shards):
    with pytest.raises(ConfigError, match=r"context_length must be at least 5, got 4"):
        pairs_of(shards, context_length=4)
    with pytest.raises(ConfigError, match=r"batch_size must be at least 1, got 0"):
        pairs_of(shards, batch_size=0)
    with pytest.raises(ConfigError, match=r"max_tokens must be at least 1, got 0"):
        pairs_of(shards).in_order(0)
    with pytest.raises(ConfigError, match=r"stay within documents, got sequences=full"):
        pairs_of(shards, masking=MaskingSpec(sequences="full"))
    with pytest.raises(ConfigError, match=r"words are for masks of whole words"):
        pairs_of(shards, words=WordMatcher([]))
    with pytest.raises(ConfigError, match=r"between \[CLS\] and \[SEP\], the tokenizer has no \[SEP\]"):
        pairs_of(shards, vocabulary=MaskingVocabulary(kinds=KINDS, mask_id=4, cls_id=2))
    with pytest.raises(DataError, match=r"the shards have 30000 ids, the vocabulary has 9"):
        pairs_of(shards, vocabulary=MaskingVocabulary(kinds=KINDS[:9], mask_id=4, cls_id=2, sep_id=3))
    one = numbered(tmp_path / "one", [[5, 6]])
    with pytest.raises(DataError, match=r"at least two documents, the train split of .* has 1: there is no other"):
        pairs_of(one)
    assert pairs_of(one, spec=PairSpec(kind="sentence_order")).pairs_in(0) >= 1
    with pytest.raises(DataError, match=r"gives no sentence pair. Fix: give more documents, and longer ones"):
        pairs_of(numbered(tmp_path / "short", [[1], [1]]), spec=PairSpec(kind="sentence_order"))
    with pytest.raises(ConfigError, match=r"short_probability must be from 0 to 1, got 2"):
        PairSpec(short_probability=2)
    with pytest.raises(ConfigError, match=r"dupe_factor must be at least 1, got 0"):
        PairSpec(dupe_factor=0)
    with pytest.raises(ConfigError, match=r"kind must be one of next_sentence, sentence_order, got 'nsp'"):
        PairSpec(kind="nsp")
