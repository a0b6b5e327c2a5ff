"""The cache alone: what goes in comes out, rows keep apart."""

import torch

from textmill.layers.cache import KVCache


def test_uniform_and_ragged() -> None:
    cache = KVCache(1, (2, 1, 6, 1))
    first = torch.arange(6.0).view(2, 1, 3, 1)
    keys, values = cache.extend(0, first, -first)
    cache.advance(3)
    assert torch.equal(keys, first)
    assert torch.equal(values, -first)
    assert cache.lengths is None
    cache.set_lengths([3, 1])
    keys, _ = cache.extend(0, torch.full((2, 1, 1, 1), 9.0), torch.zeros(2, 1, 1, 1))
    cache.advance(1)
    assert keys[0, 0, :, 0].tolist() == [0, 1, 2, 9]
    assert keys[1, 0, :2, 0].tolist() == [3, 9]
    assert cache.row_lengths == [4, 2]
    assert cache.length == 4


def test_rows_are_kept_and_replaced() -> None:
    cache = KVCache(1, (3, 1, 4, 1))
    cache.extend(0, torch.arange(6.0).view(3, 1, 2, 1), torch.zeros(3, 1, 2, 1))
    cache.advance(2)
    cache.set_lengths([2, 1, 2])
    cache.keep_rows([2, 1])
    assert cache.row_lengths == [2, 1]
    assert cache.keys[0][0, 0, :2, 0].tolist() == [4, 5]
    other = KVCache(1, (1, 1, 2, 1))
    other.extend(0, torch.full((1, 1, 2, 1), 7.0), torch.zeros(1, 1, 2, 1))
    other.advance(2)
    cache.replace_row(1, other)
    assert cache.keys[0][1, 0, :2, 0].tolist() == [7, 7]
    # all of one length again: no masks needed
    assert cache.lengths is None
    assert cache.row_lengths == [2, 2]
