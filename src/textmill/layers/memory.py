"""What a model remembers of the tokens it has read: any nesting of tuples, lists and dicts of tensors.

The first axis of every tensor is the row: the sequence that it belongs to. So one set of functions can cut out rows,
put them together, detach and store the memory of an LSTM (two vectors a layer) and of Transformer-XL (a matrix a
layer).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from textmill.errors import FormatError

Memory = Any
"""A tensor, or a tuple, list or dict of memories."""


def map_memory(function: Callable[..., Tensor], *memories: Memory) -> Memory:
    """`function` of the tensors that stand at the same place in all memories, in a memory of the same form.

    >>> map_memory(torch.add, {"h": torch.ones(1)}, {"h": torch.ones(1)})
    {'h': tensor([2.])}
    """
    first = memories[0]
    if isinstance(first, dict):
        return {key: map_memory(function, *(memory[key] for memory in memories)) for key in first}
    if isinstance(first, tuple | list):
        return type(first)(map_memory(function, *parts) for parts in zip(*memories, strict=True))
    return function(*memories)


def detached(memory: Memory) -> Memory:
    """The same numbers, through which no gradient flows."""
    return map_memory(Tensor.detach, memory)


def rows_of(memory: Memory, first: int, stop: int) -> Memory:
    """Rows [first, stop), as views."""
    return map_memory(lambda tensor: tensor[first:stop], memory)


def joined(memories: Sequence[Memory]) -> Memory:
    """The rows of all memories, one after the other."""
    return memories[0] if len(memories) == 1 else map_memory(lambda *parts: torch.cat(parts), *memories)


def named_tensors(memory: Memory, name: str = "memory") -> Iterator[tuple[str, Tensor]]:
    """Each tensor with its place in the memory.

    >>> [name for name, _ in named_tensors(({"h": torch.ones(1)}, torch.ones(1)))]
    ['memory.0.h', 'memory.1']
    """
    if isinstance(memory, dict | tuple | list):
        items = memory.items() if isinstance(memory, dict) else enumerate(memory)
        for key, part in items:
            yield from named_tensors(part, f"{name}.{key}")
    else:
        yield name, memory


def from_named(tensors: Mapping[str, Tensor], form: Memory, name: str = "memory") -> Memory:
    """The inverse of `named_tensors`: a memory of the same form as `form`, on the same device.

    Raises:
        FormatError: a tensor is missing.
    """
    if isinstance(form, dict):
        return {key: from_named(tensors, part, f"{name}.{key}") for key, part in form.items()}
    if isinstance(form, tuple | list):
        return type(form)(from_named(tensors, part, f"{name}.{place}") for place, part in enumerate(form))
    if name not in tensors:
        raise FormatError(f"the stored memory lacks {name}", fix="begin the run again with --fresh")
    return tensors[name].to(form.device)


class RowMemory:
    """The memory of numbered rows, written and read in ranges that need not be the same."""

    def __init__(self) -> None:
        self._parts: dict[tuple[int, int], Memory] = {}

    def put(self, first: int, stop: int, memory: Memory) -> None:
        """Rows [first, stop) are now these; the others stay."""
        kept: dict[tuple[int, int], Memory] = {}
        for (start, end), part in self._parts.items():
            if start < first:
                kept[start, min(end, first)] = rows_of(part, 0, min(end, first) - start)
            if end > stop:
                kept[max(start, stop), end] = rows_of(part, max(start, stop) - start, end - start)
        kept[first, stop] = memory
        self._parts = kept

    def take(self, first: int, stop: int) -> Memory | None:
        """Rows [first, stop); None where one of them was never put."""
        parts, reached = [], first
        for (start, end), part in sorted(self._parts.items(), key=lambda item: item[0]):
            if start <= reached < min(end, stop):
                parts.append(rows_of(part, reached - start, min(end, stop) - start))
                reached = min(end, stop)
        return joined(parts) if reached == stop and parts else None

    def all(self) -> Memory | None:
        """All rows from 0 on; None while there are none."""
        return self.take(0, max((end for _, end in self._parts), default=0))


class MemoryCache:
    """A carried memory in the place of `KVCache`: what generation keeps of the tokens read so far."""

    def __init__(self, memory: Memory, num_rows: int) -> None:
        self.memory = memory
        self.length = 0
        """The longest row's number of tokens."""
        self.row_lengths = [0] * num_rows
        """Tokens of each row."""

    def advance(self, lengths: Sequence[int], memory: Memory) -> None:
        """Takes the memory after a pass that read so many tokens of each row."""
        self.memory = memory
        self.row_lengths = [before + new for before, new in zip(self.row_lengths, lengths, strict=True)]
        self.length = max(self.row_lengths)

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Drops all other rows, and orders the kept ones as given."""
        self.memory = map_memory(lambda tensor: tensor[list(rows)], self.memory)
        self.row_lengths = [self.row_lengths[row] for row in rows]
        self.length = max(self.row_lengths)
