"""Documents kept apart: in windows, and in rows of whole documents."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from textmill.data.batches import IGNORED, Batch, PackedBatches, evaluation_batches
from textmill.data.packing import PackedDocuments, window_report
from textmill.data.shards import TokenShards
from textmill.data.writer import writing_shards
from textmill.errors import ConfigError, DataError
from textmill.training.placement import split_rows

END = 0
LENGTHS = [5, 1, 0, 33, 10, 9, 11, 2, 100, 1, 7]


def shards_of(folder: Path, lengths: list[int], *, marked: bool = True, max_tokens: int = 1 << 28) -> TokenShards:
    """Ids 1, 2, 3, ...: each says where it stands among those that are no marks."""
    about = {"tokenizer_fingerprint": "x", "vocab_size": 70_000, "end_of_text_id": END if marked else None}
    begin = 1
    with writing_shards(folder / "s", max_tokens_per_file=max_tokens, **about) as writer:
        for length in lengths:
            writer.add(np.append(np.arange(begin, begin + length), [END] * marked), split="train")
            begin += length
    return TokenShards.open(folder / "s")


def check_stretches(batch: Batch, lengths: list[int]) -> list[int]:
    """The targets that count, after checking that each stretch holds ids of one document alone."""
    document = np.repeat(np.arange(len(lengths)), lengths)
    time = batch.tokens.shape[1]
    assert batch.starts is not None
    assert batch.starts.dtype == batch.tokens.dtype == batch.targets.dtype == np.int64
    assert batch.starts[0] == 0
    assert batch.starts[-1] == batch.tokens.size
    assert (np.diff(batch.starts) > 0).all()
    assert set(range(0, batch.tokens.size, time)) <= set(batch.starts.tolist())
    tokens, targets = batch.tokens.reshape(-1), batch.targets.reshape(-1)
    for first, stop in zip(batch.starts[:-1], batch.starts[1:], strict=True):
        counted = np.flatnonzero(targets[first:stop] != IGNORED) + first
        if len(counted):
            # a mark may begin a stretch and be its last target; nothing else joins ids of two documents
            seen = tokens[first : counted[-1] + 1]
            assert (seen[1:] != END).all()
            ids = np.concatenate([seen, targets[counted]])
            assert len(set(document[ids[ids != END] - 1].tolist())) <= 1
            pairs = (tokens[counted] != END) & (targets[counted] != END)
            assert np.array_equal(targets[counted][pairs], tokens[counted][pairs] + 1)
    return targets[targets != IGNORED].tolist()


def expected(lengths: list[int], marked: bool) -> Counter:
    """Every id, and a mark for each document; without marks, all but the first id of each document."""
    ids = np.split(np.arange(1, sum(lengths) + 1), np.cumsum(lengths)[:-1])
    if marked:
        return Counter([*np.concatenate(ids).tolist(), *([END] * len(lengths))])
    return Counter(np.concatenate([part[1:] for part in ids]).tolist())


@pytest.mark.parametrize("max_tokens", [1 << 28, 40])
@pytest.mark.parametrize("marked", [True, False], ids=["marked", "unmarked"])
@pytest.mark.parametrize("kind", ["windows", "documents"])
@pytest.mark.parametrize("context_length", [1, 8, 10, 64])
def test_every_token_is_trained_once_in_every_epoch(tmp_path, kind, marked, max_tokens, context_length):
    shards = shards_of(tmp_path, LENGTHS, marked=marked, max_tokens=max_tokens)
    sizes = {"batch_size": 1, "context_length": context_length, "seed": 4}
    if kind == "windows":
        batches: PackedBatches | PackedDocuments = PackedBatches(shards, **sizes, separate=True)
        size, report = batches.windows_per_epoch, window_report(batches)
    else:
        batches = PackedDocuments(shards, **sizes)
        size, report = batches.rows_per_epoch, batches.report()
    orders = []
    for epoch in range(2):
        seen = [check_stretches(batches.batch(step), LENGTHS) for step in range(epoch * size, (epoch + 1) * size)]
        assert Counter(id for ids in seen for id in ids) == expected(LENGTHS, marked)
        orders.append(seen)
    assert orders[0] != orders[1]
    assert report.tokens == shards.num_tokens == report.trained + report.dropped
    assert report.dropped == (0 if marked else 10)
    assert report.trained == sum(map(len, orders[0]))
    assert report.places == size * context_length


def test_a_document_that_fits_is_never_cut(tmp_path):
    batch = PackedDocuments(shards_of(tmp_path, [5, 9, 3, 40]), batch_size=4, context_length=20).batch(0)
    assert batch.tokens.shape == (4, 20)
    stretches = np.split(batch.targets.reshape(-1), batch.starts[1:-1])
    sizes = sorted(len(each) for each in stretches if each[0] != IGNORED)
    # 41 targets are 20, 20 and 1; with 6, 10 and 4 they take 4 rows
    assert sizes == [1, 4, 6, 10, 20, 20]


def test_nearly_every_place_is_filled(tmp_path):
    lengths = np.random.default_rng(0).lognormal(4, 1, 500).astype(int).clip(1, 2000).tolist()
    shards = shards_of(tmp_path, lengths)
    packed = PackedDocuments(shards, batch_size=8, context_length=256)
    assert packed.report().dropped == 0
    assert packed.report().fill > 0.99
    assert window_report(PackedBatches(shards, batch_size=8, context_length=256, separate=True)).fill > 0.99


@pytest.mark.parametrize("kind", ["windows", "documents"])
def test_a_batch_is_its_workers_slices_and_its_parts(tmp_path, kind):
    shards = shards_of(tmp_path, LENGTHS)
    sizes = {"batch_size": 8, "context_length": 10}
    batches = PackedBatches(shards, **sizes, separate=True) if kind == "windows" else PackedDocuments(shards, **sizes)
    for step in (7, 0, 3):
        whole = batches.batch(step)
        parts = split_rows(whole, 3)
        assert [part.num_rows() for part in parts] == [3, 3, 2]
        for first, part in zip((0, 3, 6), parts, strict=True):
            own = batches.rows(step * 8 + first, part.num_rows())
            for name in ("tokens", "targets", "starts"):
                assert np.array_equal(getattr(part, name), getattr(own, name))
        again = np.concatenate([part.starts[:-1] + 10 * first for first, part in zip((0, 3, 6), parts, strict=True)])
        assert np.array_equal(np.append(again, 80), whole.starts)


def test_resume_and_seeds(tmp_path):
    shards = shards_of(tmp_path, LENGTHS)
    batches, again, other = (PackedDocuments(shards, batch_size=2, context_length=10, seed=seed) for seed in (1, 1, 2))
    stream = iter(batches)
    for _ in range(25):
        next(stream)
    again.resume(batches.state())
    assert batches.state() == {"step": 25}
    assert np.array_equal(next(iter(again)).tokens, next(stream).tokens)
    assert any(not np.array_equal(other.batch(step).tokens, batches.batch(step).tokens) for step in range(5))


@pytest.mark.parametrize("marked", [True, False])
def test_evaluation(tmp_path, marked):
    shards = shards_of(tmp_path, LENGTHS, marked=marked)
    windows = list(evaluation_batches(shards, 4, 10, separate=True))
    rows = list(PackedDocuments(shards, batch_size=4, context_length=10).in_order())
    for batches in (windows, rows):
        assert all(batch.tokens.shape == (4, 10) for batch in batches)
        assert Counter(id for batch in batches for id in check_stretches(batch, LENGTHS)) == expected(LENGTHS, marked)
    assert evaluation_batches(shards, 4, 10).__next__().starts is None


def test_mistakes(tmp_path):
    shards = shards_of(tmp_path, [1, 1], marked=False)
    with pytest.raises(DataError, match=r"the train split of .* holds nothing to predict"):
        PackedDocuments(shards, batch_size=1, context_length=4)
    with pytest.raises(ConfigError, match="context_length must be at least 1, got 0"):
        PackedDocuments(shards, batch_size=1, context_length=0)
    with pytest.raises(DataError, match="holds nothing to predict"):
        PackedDocuments(TokenShards.open(tmp_path / "s", "validation"), batch_size=1, context_length=4)
