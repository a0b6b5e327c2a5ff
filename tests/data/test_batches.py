from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from textmill.data.batches import IGNORED, PackedBatches, evaluation_batches
from textmill.data.shards import TokenShards
from textmill.data.writer import writing_shards
from textmill.errors import ConfigError, DataError


def shards_of(folder: Path, num_tokens: int, max_tokens: int = 1 << 28) -> TokenShards:
    """Ids 0, 1, 2, ...: each says its own position."""
    about = {"tokenizer_fingerprint": "x", "vocab_size": 100_000, "end_of_text_id": None}
    with writing_shards(folder / "s", max_tokens_per_file=max_tokens, **about) as writer:
        for start in range(0, num_tokens, 10):
            writer.add(np.arange(start, min(start + 10, num_tokens)), split="train")
    return TokenShards.open(folder / "s")


def check_pairs(batch, num_tokens: int) -> list[int]:
    """The targets that count, each of which must follow its input around the circle."""
    counted = batch.targets != IGNORED
    assert np.array_equal(batch.targets[counted], (batch.tokens[counted] + 1) % num_tokens)
    assert batch.tokens.dtype == batch.targets.dtype == np.int64
    assert batch.num_targets() == counted.sum()
    return batch.targets[counted].tolist()


@pytest.mark.parametrize("max_tokens", [1 << 28, 25])
@pytest.mark.parametrize(
    ("num_tokens", "context_length"), [(100, 10), (101, 10), (109, 10), (11, 10), (100, 1), (97, 33)]
)
def test_every_token_is_a_target_exactly_once_in_every_epoch(tmp_path, num_tokens, context_length, max_tokens):
    batches = PackedBatches(
        shards_of(tmp_path, num_tokens, max_tokens), batch_size=1, context_length=context_length, seed=3
    )
    for epoch in range(4):
        steps = range(epoch * batches.windows_per_epoch, (epoch + 1) * batches.windows_per_epoch)
        seen = [target for step in steps for target in check_pairs(batches.batch(step), num_tokens)]
        assert Counter(seen) == Counter(range(num_tokens))


def test_a_window_is_a_run_of_the_stream(tmp_path):
    batch = PackedBatches(shards_of(tmp_path, 1000), batch_size=8, context_length=16).batch(0)
    assert batch.tokens.shape == batch.targets.shape == (8, 16)
    assert np.array_equal((batch.tokens[:, :1] + np.arange(16)) % 1000, batch.tokens)


def test_a_batch_is_a_function_of_seed_and_step(tmp_path):
    shards = shards_of(tmp_path, 1000)
    first, second = (PackedBatches(shards, batch_size=7, context_length=16, seed=1) for _ in range(2))
    late = first.batch(100)
    for step in (3, 0, 100):
        second.batch(step)
    assert np.array_equal(second.batch(100).tokens, late.tokens)
    other = PackedBatches(shards, batch_size=7, context_length=16, seed=2)
    assert not np.array_equal(other.batch(100).tokens, late.tokens)


def test_epochs_differ_in_order_and_in_borders(tmp_path):
    batches = PackedBatches(shards_of(tmp_path, 1000), batch_size=1, context_length=10)
    epochs = [[int(batches.batch(epoch * 100 + step).tokens[0, 0]) for step in range(100)] for epoch in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    assert len({min(epoch) % 10 for epoch in epochs}) > 1


def test_a_batch_is_its_workers_slices(tmp_path):
    batches = PackedBatches(shards_of(tmp_path, 105), batch_size=8, context_length=10)
    for step in range(5):
        whole = batches.batch(step)
        parts = [batches.rows(step * 8 + rank * 2, 2) for rank in range(4)]
        assert np.array_equal(np.concatenate([part.tokens for part in parts]), whole.tokens)
        assert np.array_equal(np.concatenate([part.targets for part in parts]), whole.targets)


def test_resume(tmp_path):
    shards = shards_of(tmp_path, 500)
    batches = PackedBatches(shards, batch_size=3, context_length=10)
    stream = iter(batches)
    for _ in range(40):
        next(stream)
    state = batches.state()
    expected = next(stream)
    again = PackedBatches(shards, batch_size=3, context_length=10)
    again.resume(state)
    assert state == {"step": 40}
    assert np.array_equal(next(iter(again)).tokens, expected.tokens)


def test_a_split_shorter_than_one_sequence(tmp_path):
    shards = shards_of(tmp_path, 10)
    with pytest.raises(DataError) as error:
        PackedBatches(shards, batch_size=1, context_length=10)
    assert str(error.value) == (
        "the train split holds 10 tokens, fewer than one sequence of 11."
        " Fix: give more text, or set context_length to at most 9"
    )
    PackedBatches(shards, batch_size=1, context_length=9)


@pytest.mark.parametrize(
    ("num_tokens", "length", "batch"), [(100, 10, 4), (101, 10, 4), (5, 10, 2), (1, 3, 1), (64, 8, 8)]
)
@pytest.mark.parametrize("stride", [None, 1, 3])
def test_evaluation_covers_every_token_once_in_order(tmp_path, num_tokens, length, batch, stride):
    found = list(evaluation_batches(shards_of(tmp_path, num_tokens), batch, length, stride=stride))
    assert [target for each in found for target in check_pairs(each, num_tokens)] == list(range(num_tokens))
    assert all(each.tokens.shape == (batch, length) for each in found)


def test_a_stride_gives_longer_contexts(tmp_path):
    rows = np.concatenate([batch.targets for batch in evaluation_batches(shards_of(tmp_path, 100), 4, 10, stride=2)])
    columns = [np.flatnonzero(row != IGNORED) for row in rows if (row != IGNORED).any()]
    assert columns[0].tolist() == list(range(10))
    assert all(column.tolist() == [8, 9] for column in columns[1:])


def test_a_part_of_the_split_is_taken_from_all_over_it(tmp_path):
    found = list(evaluation_batches(shards_of(tmp_path, 1000), 4, 10, max_tokens=50))
    targets = [target for batch in found for target in check_pairs(batch, 1000)]
    assert len(targets) == len(set(targets)) == 50
    assert targets[::10] == [0, 200, 400, 600, 800]
    # as many as there are: no window is left out for not being full
    for most in (10_000, 36):
        everything = list(evaluation_batches(shards_of(tmp_path, 36), 4, 10, max_tokens=most))
        assert sum(batch.num_targets() for batch in everything) == 36


def test_mistakes(tmp_path):
    shards = shards_of(tmp_path, 100)
    with pytest.raises(DataError, match=r"the validation split of .* holds no tokens. Fix: give more documents"):
        evaluation_batches(TokenShards.open(tmp_path / "s", "validation"), 1, 10)
    with pytest.raises(ConfigError, match=r"stride must be from 1 to context_length .10., got 11"):
        evaluation_batches(shards, 1, 10, stride=11)
    with pytest.raises(ConfigError, match=r"max_tokens must be at least 1, got 0"):
        evaluation_batches(shards, 1, 10, max_tokens=0)
    with pytest.raises(ConfigError, match=r"batch_size must be at least 1, got 0"):
        PackedBatches(shards, batch_size=0, context_length=10)
    with pytest.raises(ConfigError, match=r"context_length must be at least 1, got -1"):
        evaluation_batches(shards, 1, -1)
