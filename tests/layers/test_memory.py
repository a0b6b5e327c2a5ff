"""Nested memories: rows out and in, names and back, parts of any cut."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from textmill.errors import FormatError
from textmill.layers.memory import (
    Memory,
    MemoryCache,
    RowMemory,
    detached,
    from_named,
    joined,
    map_memory,
    named_tensors,
    rows_of,
)


def memory(*rows: int) -> Memory:
    """Every number tells its row; tensors of two shapes, and a nesting of all kinds."""
    flat = torch.tensor(rows, dtype=torch.float32)
    return [{"h": flat[:, None].expand(-1, 2), "c": flat}, (flat + 0.5,)]


def assert_same(one: Memory, other: Memory) -> None:
    names, others = dict(named_tensors(one)), dict(named_tensors(other))
    assert names.keys() == others.keys()
    assert all(torch.equal(names[name], others[name]) for name in names)


def test_rows_out_and_in() -> None:
    assert_same(rows_of(memory(1, 2, 3, 4), 1, 3), memory(2, 3))
    assert_same(joined([memory(1), memory(2, 3), memory()]), memory(1, 2, 3))
    assert type(rows_of(memory(1), 0, 1)[1]) is tuple


def test_detached() -> None:
    x = torch.ones(2, requires_grad=True)
    result = detached({"a": (x * 2,)})
    assert not result["a"][0].requires_grad
    assert torch.equal(result["a"][0], torch.full((2,), 2.0))


def test_names_and_back() -> None:
    zeros = torch.zeros(2)
    # the form may hold one tensor twice
    form = [{"h": zeros, "c": zeros}, (zeros,)]
    named = dict(named_tensors(memory(5, 6)))
    assert list(named) == ["memory.0.h", "memory.0.c", "memory.1.0"]
    assert_same(from_named(named, form), memory(5, 6))
    del named["memory.1.0"]
    with pytest.raises(FormatError, match=r"lacks memory\.1\.0.*--fresh"):
        from_named(named, form)


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(1, 8)), max_size=12), st.integers(0, 7), st.integers(1, 8))
def test_row_memory_equals_a_list_of_rows(writes: list[tuple[int, int]], first: int, count: int) -> None:
    kept, rows = RowMemory(), dict[int, int]()
    for number, (begin, size) in enumerate(writes):
        values = [100 * number + row for row in range(begin, begin + size)]
        kept.put(begin, begin + size, memory(*values))
        rows |= dict(zip(range(begin, begin + size), values, strict=True))
    wanted = [rows.get(row) for row in range(first, first + count)]
    found = kept.take(first, first + count)
    if None in wanted:
        assert found is None
    else:
        assert_same(found, memory(*(value for value in wanted if value is not None)))


def test_row_memory_as_it_was_put_is_not_copied() -> None:
    kept, put = RowMemory(), torch.ones(4, 3)
    assert kept.all() is None
    kept.put(0, 4, put)
    taken: Tensor = kept.take(0, 4)
    assert taken.data_ptr() == put.data_ptr()
    assert torch.equal(kept.all(), put)


def test_cache() -> None:
    cache = MemoryCache(memory(1, 2, 3), 3)
    cache.advance([2, 5, 1], map_memory(lambda part: part + 10, cache.memory))
    assert (cache.length, cache.row_lengths) == (5, [2, 5, 1])
    cache.keep_rows([2, 0])
    assert_same(cache.memory, memory(13, 11))
    assert (cache.length, cache.row_lengths) == (2, [1, 2])
