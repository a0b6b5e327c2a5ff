"""Foreign names of weights as a table that reads in both directions.

A row says: our weight, theirs, and how the numbers are laid out. `{i}` stands for the layer, `{e}` in their names for
each expert. A fused weight of ours has several of theirs.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from textmill.errors import FormatError
from textmill.layers.attention import pack_qkv, unpack_qkv
from textmill.layers.config import TransformerConfig

State = dict[str, Tensor]


@dataclass(frozen=True)
class Layout:
    """How foreign tensors become ours, and back."""

    read: Callable[[Sequence[Tensor], TransformerConfig], Tensor]
    write: Callable[[Tensor, TransformerConfig], tuple[Tensor, ...]]


def _fused_thirds(theirs: Sequence[Tensor], config: TransformerConfig) -> Tensor:
    q, k, v = theirs[0].t().chunk(3) if theirs[0].dim() == 2 else theirs[0].chunk(3)
    return pack_qkv(q, k, v, config.num_kv_heads)


def _thirds(ours: Tensor, config: TransformerConfig) -> tuple[Tensor, ...]:
    rows = torch.cat(unpack_qkv(ours, config.num_heads, config.num_kv_heads))
    return (rows.t() if rows.dim() == 2 else rows,)


def _stacked_thirds(theirs: Sequence[Tensor], config: TransformerConfig) -> Tensor:
    q, k, v = theirs[0].chunk(3)
    return pack_qkv(q, k, v, config.num_kv_heads)


SAME = Layout(lambda theirs, _: theirs[0], lambda ours, _: (ours,))
TRANSPOSED = Layout(lambda theirs, _: theirs[0].t(), lambda ours, _: (ours.t(),))
"""transformers' Conv1D keeps [inputs, outputs]."""
SEPARATE_QKV = Layout(
    lambda theirs, config: pack_qkv(theirs[0], theirs[1], theirs[2], config.num_kv_heads),
    lambda ours, config: unpack_qkv(ours, config.num_heads, config.num_kv_heads),
)
CONV1D_QKV = Layout(_fused_thirds, _thirds)
"""GPT's c_attn: all queries, then all keys, then all values, as a Conv1D."""
FUSED_QKV = Layout(
    _stacked_thirds, lambda ours, config: (torch.cat(unpack_qkv(ours, config.num_heads, config.num_kv_heads)),)
)
"""ModernBERT's Wqkv: all queries, then all keys, then all values."""
STACKED = Layout(lambda theirs, _: torch.stack(tuple(theirs)), lambda ours, _: ours.unbind())
"""One tensor an expert; ours is their stack."""


@dataclass(frozen=True)
class Row:
    """One line of a table of names."""

    ours: str
    theirs: str | tuple[str, ...]
    layout: Layout = SAME

    def foreign_names(self, layer: int, config: TransformerConfig) -> tuple[str, ...]:
        names = (self.theirs,) if isinstance(self.theirs, str) else self.theirs
        if config.experts is not None:
            # a name without the mark stands once
            each = [[name.replace("{e}", str(e)) for e in range(config.experts.num_experts)] for name in names]
            names = tuple(dict.fromkeys(name for group in each for name in group))
        return tuple(name.replace("{i}", str(layer)) for name in names)


def own_names(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The table of a model that nobody else has: each weight is saved under the name it has here."""
    return tuple(Row(row.ours, row.ours) for row in rows)


def rows_by_layer(rows: Sequence[Row], num_layers: int) -> list[tuple[Row, int]]:
    """Each row once a layer, or once where it names no layer."""
    return [(row, i) for row in rows for i in (range(num_layers) if "{i}" in row.ours else (0,))]


def write_foreign(state: Mapping[str, Tensor], rows: Sequence[Row], config: TransformerConfig) -> State:
    """Our weights under foreign names. Rows whose weight the model doesn't have are left out."""
    foreign: State = {}
    left = dict(state)
    for row, layer in rows_by_layer(rows, config.num_layers):
        ours = left.pop(row.ours.replace("{i}", str(layer)), None)
        if ours is not None:
            foreign |= zip(row.foreign_names(layer, config), row.layout.write(ours, config), strict=True)
    assert not left, f"weights without a foreign name: {sorted(left)}"
    return foreign


def read_foreign(
    foreign: Mapping[str, Tensor], rows: Sequence[Row], shapes: Mapping[str, torch.Size], config: TransformerConfig
) -> State:
    """Foreign weights under our names, for a model whose weights have `shapes`.

    Raises:
        FormatError: a weight is missing, left over, or of the wrong shape; names the weight.
    """
    state: State = {}
    left = dict(foreign)
    for row, layer in rows_by_layer(rows, config.num_layers):
        ours = row.ours.replace("{i}", str(layer))
        if ours not in shapes:
            continue
        names = row.foreign_names(layer, config)
        missing = [name for name in names if name not in left]
        if missing:
            raise FormatError(f"the weights lack {missing[0]}", fix="the file may be of another model; fetch it again")
        shown = ", ".join(f"{name} {list(left[name].shape)}" for name in names)
        try:
            tensor = row.layout.read([left.pop(name) for name in names], config)
        except (RuntimeError, ValueError, IndexError):
            raise FormatError(f"the weights {shown} don't fit config.json", fix="fetch both files again") from None
        if tensor.shape != shapes[ours]:
            raise FormatError(
                f"the weights {shown} don't fit config.json, which asks for {list(shapes[ours])} in {ours}",
                fix="fetch both files again",
            )
        state[ours] = tensor.contiguous()
    if left:
        raise FormatError(f"the weights hold {sorted(left)[0]}, which this model has no place for ({len(left)} in all)")
    return state


def without(foreign: Mapping[str, Tensor], pattern: str) -> State:
    """The weights whose names the regular expression doesn't match at their end."""
    return {name: tensor for name, tensor in foreign.items() if not re.search(f"(?:{pattern})$", name)}


def with_prefix(foreign: Mapping[str, Tensor], prefix: str, *, others: tuple[str, ...]) -> State:
    """Names of a bare trunk's file get the prefix that files of the whole model have."""
    if any(name.startswith(prefix) for name in foreign):
        return dict(foreign)
    return {name if name in others else prefix + name: tensor for name, tensor in foreign.items()}
