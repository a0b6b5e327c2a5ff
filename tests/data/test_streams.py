"""Streams: every id once an epoch, rows that go on, and a batch that is a function of its number."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.data.batches import IGNORED
from textmill.data.shards import TokenShards
from textmill.data.streams import StreamBatch, StreamBatches, evaluation_stream
from textmill.data.writer import writing_shards
from textmill.errors import ConfigError, DataError
from textmill.training.placement import split_rows


def shards_of(folder: Path, num_tokens: int, max_tokens: int = 1 << 28) -> TokenShards:
    """Ids 0, 1, 2, ...: each says its own position."""
    about = {"tokenizer_fingerprint": "x", "vocab_size": 100_000, "end_of_text_id": None}
    with writing_shards(folder / "s", max_tokens_per_file=max_tokens, **about) as writer:
        for start in range(0, num_tokens, 10):
            writer.add(np.arange(start, min(start + 10, num_tokens)), split="train")
    return TokenShards.open(folder / "s")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> dict[int, TokenShards]:
    return {size: shards_of(tmp_path_factory.mktemp("shards"), size, max_tokens=40) for size in (7, 60, 97, 120)}


def check_rows(batches: list[StreamBatch], num_tokens: int) -> None:
    """Each row is a run of the circle, through all batches; targets are the next ids, or ignored from some place on."""
    for batch in batches:
        counted = batch.targets != IGNORED
        assert np.array_equal(batch.targets[counted], (batch.tokens[counted] + 1) % num_tokens)
        assert batch.tokens.dtype == batch.targets.dtype == np.int64
    tokens = np.concatenate([batch.tokens for batch in batches], 1)
    assert np.array_equal(tokens, (tokens[:, :1] + np.arange(tokens.shape[1])) % num_tokens)
    counted = np.concatenate([batch.targets for batch in batches], 1) != IGNORED
    assert not (counted[:, 1:] & ~counted[:, :-1]).any()


@given(
    size=st.sampled_from([7, 60, 97, 120]), rows=st.integers(1, 7), length=st.integers(1, 40), seed=st.integers(0, 9)
)
def test_every_id_is_a_target_once_an_epoch_and_rows_go_on(
    many: dict[int, TokenShards], size: int, rows: int, length: int, seed: int
) -> None:
    batches = StreamBatches(many[size], batch_size=rows, context_length=length, seed=seed)
    firsts = set()
    for epoch in range(3):
        numbers = range(epoch * batches.batches_per_epoch, (epoch + 1) * batches.batches_per_epoch)
        read = [batches.batch(number) for number in numbers]
        assert [batch.continues for batch in read] == [False] + [True] * (len(read) - 1)
        check_rows(read, size)
        seen = [target for batch in read for target in batch.targets.flat if target != IGNORED]
        assert Counter(seen) == Counter(range(size))
        firsts.add(int(read[0].tokens[0, 0]))
    assert len(firsts) > 1 or size == 7


def test_rows_share_the_split_evenly(tmp_path: Path) -> None:
    batches = StreamBatches(shards_of(tmp_path, 103), batch_size=4, context_length=10)
    targets = np.concatenate([batches.batch(number).targets for number in range(batches.batches_per_epoch)], 1)
    assert sorted((targets != IGNORED).sum(1)) == [25, 26, 26, 26]


def test_a_batch_is_a_function_of_seed_and_number(tmp_path: Path) -> None:
    shards = shards_of(tmp_path, 1000)
    first, second = (StreamBatches(shards, batch_size=7, context_length=16, seed=1) for _ in range(2))
    late = first.batch(100)
    for number in (3, 0, 100):
        second.batch(number)
    assert np.array_equal(second.batch(100).tokens, late.tokens)
    other = StreamBatches(shards, batch_size=7, context_length=16, seed=2)
    assert not np.array_equal(other.batch(100).tokens, late.tokens)
    stream = iter(first)
    assert np.array_equal(next(stream).tokens, first.batch(0).tokens)
    second.resume(first.state())
    assert np.array_equal(next(iter(second)).tokens, first.batch(1).tokens)


def test_parts_of_a_batch_know_their_streams(tmp_path: Path) -> None:
    batch = StreamBatches(shards_of(tmp_path, 100), batch_size=5, context_length=4).batch(1)
    parts = split_rows(batch, 2)
    assert [part.first_row for part in parts] == [0, 2, 4]
    assert all(part.continues for part in parts)
    assert np.array_equal(np.concatenate([part.targets for part in parts]), batch.targets)
    assert parts[1].cut(1, 2).first_row == 3


@given(size=st.sampled_from([7, 60, 97, 120]), rows=st.integers(1, 7), length=st.integers(1, 40))
def test_evaluation_holds_every_id_once_in_order(
    many: dict[int, TokenShards], size: int, rows: int, length: int
) -> None:
    read = list(evaluation_stream(many[size], rows, length))
    check_rows(read, size)
    targets = np.concatenate([batch.targets for batch in read], 1)
    assert targets[targets != IGNORED].tolist() == list(range(size))
    assert [batch.continues for batch in read] == [False] + [True] * (len(read) - 1)


def test_evaluation_of_a_part(tmp_path: Path) -> None:
    shards = shards_of(tmp_path, 100)
    targets = np.concatenate([batch.targets for batch in evaluation_stream(shards, 4, 3, max_tokens=20)], 1)
    assert [row[row != IGNORED].tolist() for row in targets] == [list(range(b, b + 5)) for b in (0, 25, 50, 75)]
    # as many as there are: rows that can't be cut evenly are not cut at all
    whole = np.concatenate([batch.targets for batch in evaluation_stream(shards, 7, 3, max_tokens=100)], 1)
    assert (whole != IGNORED).sum() == 100


def test_refusals(tmp_path: Path) -> None:
    shards = shards_of(tmp_path, 5)
    with pytest.raises(DataError, match=r"5 tokens, fewer than one for each of 6 rows.*at most 5"):
        StreamBatches(shards, batch_size=6, context_length=2)
    with pytest.raises(DataError, match="fewer than one for each"):
        evaluation_stream(shards, 6, 2)
    with pytest.raises(ConfigError, match="context_length must be at least 1"):
        StreamBatches(shards, batch_size=1, context_length=0)
    with pytest.raises(ConfigError, match="max_tokens must be at least 1"):
        evaluation_stream(shards, 1, 2, max_tokens=0)
