"""The keys and values of tokens already read, in memory set aside once.

Legend: B rows, K key/value heads, S capacity in tokens, D head width.

Rows start at column 0. While all rows have the same number of tokens the cache is uniform and steps need no mask;
after `set_lengths` each row has its own, and what stands behind a row's end is never seen.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


class KVCache:
    """Keys and values of every layer, [B, K, S, D] each."""

    def __init__(
        self,
        num_layers: int,
        shape: tuple[int, int, int, int],
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.keys = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(num_layers)]
        self.values = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(num_layers)]
        self.capacity = shape[2]
        self.length = 0
        """Columns in use: the longest row's number of tokens."""
        self.row_lengths = [0] * shape[0]
        """Tokens of each row."""
        self.lengths: Tensor | None = None
        """The same as a tensor, or None while all rows have `length` tokens."""

    def extend(
        self, layer: int, keys: Float[Tensor, "B K T D"], values: Float[Tensor, "B K T D"]
    ) -> tuple[Float[Tensor, "B K S D"], Float[Tensor, "B K S D"]]:
        """All keys and values of `layer` up to and with the new ones, which are now kept. `advance` ends the pass."""
        all_keys, all_values = self.keys[layer], self.values[layer]
        end = self.length + keys.shape[2]
        if self.lengths is None:
            all_keys[:, :, self.length : end] = keys
            all_values[:, :, self.length : end] = values
        else:
            assert keys.shape[2] == 1, "rows of different lengths are extended one token at a time"
            rows = torch.arange(len(self.row_lengths), device=keys.device)
            all_keys[rows, :, self.lengths] = keys[:, :, 0]
            all_values[rows, :, self.lengths] = values[:, :, 0]
        return all_keys[:, :, :end], all_values[:, :, :end]

    def advance(self, num_tokens: int) -> None:
        """Counts the tokens of a pass, once every layer has kept them."""
        self.length += num_tokens
        self.row_lengths = [length + num_tokens for length in self.row_lengths]
        if self.lengths is not None:
            self.lengths = self.lengths + num_tokens

    def set_lengths(self, lengths: Sequence[int]) -> None:
        """Gives each row its own end; columns behind it are free again."""
        self.row_lengths = list(lengths)
        self.length = max(self.row_lengths)
        uniform = min(self.row_lengths) == self.length
        self.lengths = None if uniform else torch.tensor(self.row_lengths, device=self.keys[0].device)

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Drops all other rows, and orders the kept ones as given."""
        index = torch.tensor(rows, device=self.keys[0].device)
        self.keys = [keys[index] for keys in self.keys]
        self.values = [values[index] for values in self.values]
        self.set_lengths([self.row_lengths[row] for row in rows])

    def replace_row(self, row: int, other: "KVCache") -> None:
        """Puts the only row of `other` in the place of `row`."""
        for mine, theirs in zip(self.keys + self.values, other.keys + other.values, strict=True):
            mine[row, :, : other.length] = theirs[0, :, : other.length]
        self.set_lengths([other.length if i == row else length for i, length in enumerate(self.row_lengths)])
