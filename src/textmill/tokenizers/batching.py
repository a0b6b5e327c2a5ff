"""Rows of ids for a model: templates around them, cut and padded to one length."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from textmill.errors import ConfigError, NotSupportedError
from textmill.tokenizers.pipeline import Pipeline
from textmill.tokenizers.steps import Padding, Truncation
from textmill.tokenizers.templates import Row, finished, padded_rows

if TYPE_CHECKING:
    import torch

PadTo = Literal["longest", "max_length"] | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenBatch:
    """Rows of one length: int32 arrays [rows, tokens]."""

    ids: np.ndarray
    attention: np.ndarray
    """1 for a token, 0 for padding."""
    type_ids: np.ndarray
    """0 for the first text of a pair and what belongs to it, 1 for the second one."""
    special: np.ndarray
    """1 for special tokens and padding, 0 for text."""

    def __len__(self) -> int:
        return len(self.ids)

    def torch(self) -> "dict[str, torch.Tensor]":
        """int64 tensors under the names that models of the ecosystem take."""
        import torch

        named = {"input_ids": self.ids, "attention_mask": self.attention, "token_type_ids": self.type_ids}
        return {name: torch.from_numpy(array.astype(np.int64)) for name, array in named.items()}

    def lists(self) -> dict[str, list[list[int]]]:
        """The same as Python lists, without padding."""
        lengths = self.attention.sum(axis=1).tolist()
        named = {"input_ids": self.ids, "token_type_ids": self.type_ids}
        kept = self.attention.astype(bool)
        return {name: [array[i][kept[i]].tolist() for i in range(len(lengths))] for name, array in named.items()}


def batch_rows(
    firsts: Sequence[np.ndarray],
    seconds: Sequence[np.ndarray] | None,
    pipeline: Pipeline,
    *,
    truncation: Truncation | None,
    padding: Padding | None,
    template: bool,
) -> list[Row]:
    """The row of each text, or of each pair.

    Raises:
        ConfigError: not as many second texts as first ones, or no room for the special tokens.
        DataError: a text is too short for what truncation must cut off.
    """
    if seconds is not None and len(seconds) != len(firsts):
        raise ConfigError(f"pairs need two texts each, got {len(firsts)} and {len(seconds)}", fix="give as many pairs")
    rows = [
        finished(
            first,
            None if seconds is None else seconds[index],
            finish=pipeline.finish,
            truncation=truncation,
            add_special=template,
            overflow=False,
        )
        for index, first in enumerate(firsts)
    ]
    return rows if padding is None else padded_rows(rows, padding)


def padding_of(pipeline: Pipeline, to: PadTo, max_length: int | None, multiple_of: int | None) -> Padding | None:
    """How rows are filled up, by the tokenizer's own padding or its customary pad token; None: not at all.

    Raises:
        ConfigError: `max_length` is asked for and not given, or a setting has no meaning.
        NotSupportedError: there is no token to pad with.
    """
    if to not in ("longest", "max_length", None):
        raise ConfigError(f"pad_to must be 'longest', 'max_length' or None, got {to!r}", fix="use 'longest'")
    if multiple_of is not None and multiple_of < 1:
        raise ConfigError(f"multiple_of must be >= 1, got {multiple_of}", fix="use 8, or leave it out")
    if to is None:
        if multiple_of is not None:
            raise ConfigError(
                f"multiple_of has no meaning without padding, got {multiple_of}", fix="pad: pad_to='longest'"
            )
        return None
    own = pipeline.padding
    if own is None:
        named = [name for name in ("[PAD]", "<pad>", "<|pad|>", pipeline.end_of_text) if name in pipeline.ids]
        if not named:
            raise NotSupportedError(
                "padding with a tokenizer that has no pad token and no end of text", fix="give one row at a time"
            )
        own = Padding(pad_id=pipeline.ids[str(named[0])], pad_token=str(named[0]))
    if to == "max_length" and max_length is None:
        raise ConfigError("padding to max_length needs max_length", fix="say max_length=128, for example")
    return dataclasses.replace(
        own,
        length=max_length if to == "max_length" else None,
        multiple_of=multiple_of if multiple_of is not None else own.multiple_of,
    )


def token_batch(rows: Sequence[Row]) -> TokenBatch:
    """Rows of one length, one below the other.

    Raises:
        ConfigError: their lengths differ.
    """
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        raise ConfigError(
            f"rows of {min(lengths)} to {max(lengths)} tokens make no array", fix="pad them: pad_to='longest'"
        )
    shape = (len(rows), max(lengths, default=0))

    def stacked(column: str) -> np.ndarray:
        return np.array([getattr(row, column) for row in rows], dtype=np.int32).reshape(shape)

    return TokenBatch(
        ids=stacked("ids"), attention=stacked("attention"), type_ids=stacked("type_ids"), special=stacked("special")
    )
