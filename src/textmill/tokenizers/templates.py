"""What is put around ids: special tokens by a template, a limit of length, padding.

The definition is the `Encoding` of `tokenizers` 0.23. A `Row` also says which token of which text each id is, so that
spans and words can be looked up.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from textmill.errors import ConfigError, DataError
from textmill.tokenizers.steps import Finish, Padding, Template, Truncation

NO_TEXT = -1
# Unicode's white space, and the character that stands for a blank in the byte-level alphabet
_BLANKS = "Ġ\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a batch: arrays of int32, all of one length."""

    ids: np.ndarray
    type_ids: np.ndarray
    special: np.ndarray
    """1 for what is not text: special tokens and padding."""
    attention: np.ndarray
    """0 for padding."""
    texts: np.ndarray
    """Which text the token belongs to: 0, 1, or `NO_TEXT`."""
    places: np.ndarray
    """Which token of that text it is, or `NO_TEXT`."""
    overflow: tuple["Row", ...] = ()
    """What truncation cut off, row by row."""

    def __len__(self) -> int:
        return len(self.ids)


_COLUMNS = ("ids", "type_ids", "special", "attention", "texts", "places")


def finished(
    first: np.ndarray | Sequence[int],
    second: np.ndarray | Sequence[int] | None = None,
    *,
    finish: Iterable[Finish] = (),
    truncation: Truncation | None = None,
    padding: Padding | None = None,
    add_special: bool = True,
    overflow: bool = True,
) -> Row:
    """The row of a text, or of two: truncated, put into the template, padded.

    Args:
        first, second: ids without special tokens.
        overflow: whether what truncation cuts off is wanted; a long text has many rows of it.

    >>> from textmill.tokenizers.steps import Slot
    >>> cls = Template(
    ...     single=(Slot(content="[CLS]", special=True), Slot(content="A")), pair=(), special_tokens=(("[CLS]", (7,)),))
    >>> finished([1, 2, 3], finish=[cls], truncation=Truncation(max_length=3)).ids.tolist()
    [7, 1, 2]

    Raises:
        ConfigError: the stride leaves no progress, or the special tokens have no room.
        DataError: the text that may be shortened is too short for it.
    """
    template = template_of(finish)
    rows = [text_row(ids, text) for text, ids in enumerate((first, second)) if ids is not None]
    if truncation is not None:
        taken = num_special(template, pair=second is not None) if add_special else 0
        if taken > truncation.max_length:
            # `tokenizers` then truncates nothing
            raise ConfigError(
                f"max_length {truncation.max_length} has no room for {taken} special tokens", fix="allow more tokens"
            )
        room = dataclasses.replace(truncation, max_length=truncation.max_length - taken)
        rows = truncated(rows, room, overflow=overflow)
    row = merged(rows) if template is None else filled(template, rows, add_special=add_special)
    return row if padding is None else padded_rows([row], padding)[0]


def template_of(finish: Iterable[Finish]) -> Template | None:
    """The template among the steps, if there is one."""
    return next((step for step in finish if isinstance(step, Template)), None)


def num_special(template: Template | None, *, pair: bool) -> int:
    """How many special tokens the template adds."""
    if template is None:
        return 0
    ids = dict(template.special_tokens)
    slots = template.pair if pair else template.single
    return sum(len(ids[slot.content]) for slot in slots if slot.special)


def text_row(ids: np.ndarray | Sequence[int], text: int) -> Row:
    """The ids of the first (0) or second (1) text alone."""
    array = np.asarray(ids, dtype=np.int32)
    return Row(
        ids=array,
        type_ids=np.full(len(array), text, dtype=np.int32),
        special=np.zeros(len(array), dtype=np.int32),
        attention=np.ones(len(array), dtype=np.int32),
        texts=np.full(len(array), text, dtype=np.int32),
        places=np.arange(len(array), dtype=np.int32),
    )


# truncation


def truncated(rows: Sequence[Row], rule: Truncation, *, overflow: bool = True) -> list[Row]:
    """One row or two, with no more tokens together than the rule allows; what is cut off overflows, if that is wanted.

    Raises:
        ConfigError: the stride leaves no progress.
        DataError: the row that may be shortened is missing, or too short.
    """
    lengths = [len(row) for row in rows]
    excess = sum(lengths) - rule.max_length
    if rule.max_length == 0:
        wanted = [0] * len(rows)
    elif excess <= 0:
        return list(rows)
    elif rule.strategy == "longest_first":
        wanted = _longest_first(lengths, rule.max_length)
    else:
        wanted = _only_one(lengths, excess, rule.strategy)
    return [cut(row, length, rule, overflow=overflow) for row, length in zip(rows, wanted, strict=True)]


def _longest_first(lengths: Sequence[int], most: int) -> list[int]:
    """The longer text gives way until both are equal, then both do; an odd token goes to the longer one."""
    if len(lengths) == 1:
        return [most]
    short, long = sorted(lengths)
    long = short if short > most else max(short, most - short)
    if short + long > most:
        short = most // 2
        long = short + most % 2
    return [long, short] if lengths[0] > lengths[1] else [short, long]


def _only_one(lengths: Sequence[int], excess: int, strategy: str) -> list[int]:
    which = 0 if strategy == "only_first" else 1
    if which >= len(lengths):
        raise DataError("only the second text may be truncated, and there is none", fix="give a pair")
    if lengths[which] <= excess:
        raise DataError(
            f"{excess} tokens too many, and the text that may be truncated has {lengths[which]}",
            fix="allow more tokens, or truncate longest_first",
        )
    return [length - excess if text == which else length for text, length in enumerate(lengths)]


def cut(row: Row, most: int, rule: Truncation, *, overflow: bool = True) -> Row:
    """At most so many tokens of the row; windows of the same length over the rest overflow, the nearest first.

    Neighbouring windows share `rule.stride` tokens.

    Raises:
        ConfigError: the stride is not smaller than the windows.
    """
    length = len(row)
    if most >= length:
        return row
    if most == 0:
        return dataclasses.replace(_part(row, 0, 0), overflow=(row,) if overflow else ())
    if rule.stride >= most:
        raise ConfigError(
            f"the stride {rule.stride} must be smaller than the {most} tokens that are left of a text",
            fix="choose a smaller stride",
        )
    windows: list[tuple[int, int]] = []
    for done in range(0, length, most - rule.stride):
        if rule.direction == "right":
            windows.append((done, min(done + most, length)))
        else:
            windows.append((max(length - done - most, 0), length - done))
        if windows[-1][0] == 0 if rule.direction == "left" else windows[-1][1] == length:
            break
        if not overflow:
            break
    first, *others = [_part(row, start, stop) for start, stop in windows]
    return dataclasses.replace(first, overflow=tuple(others))


def _part(row: Row, start: int, stop: int) -> Row:
    return Row(**{column: getattr(row, column)[start:stop] for column in _COLUMNS})


# templates


def filled(template: Template, rows: Sequence[Row], *, add_special: bool = True) -> Row:
    """The template with the rows in it; without its special tokens if not `add_special`."""
    special_ids = dict(template.special_tokens)
    parts: list[Row] = []
    zeroed = template.form == "RobertaProcessing" and add_special
    for slot in template.pair if len(rows) > 1 else template.single:
        if not slot.special:
            row = rows[0 if slot.content == "A" else 1]
            # RobertaProcessing changes what overflows, too
            overflow = [_typed(part, slot.type_id) for part in row.overflow] if zeroed else row.overflow
            parts.append(dataclasses.replace(_typed(row, slot.type_id), overflow=tuple(overflow)))
        elif add_special:
            parts.append(_special_row(special_ids[slot.content], slot.type_id))
    return merged(parts)


def _typed(row: Row, type_id: int) -> Row:
    return dataclasses.replace(row, type_ids=np.full(len(row), type_id, dtype=np.int32))


def _special_row(ids: Sequence[int], type_id: int) -> Row:
    count = len(ids)
    return Row(
        ids=np.array(ids, dtype=np.int32),
        type_ids=np.full(count, type_id, dtype=np.int32),
        special=np.ones(count, dtype=np.int32),
        attention=np.ones(count, dtype=np.int32),
        texts=np.full(count, NO_TEXT, dtype=np.int32),
        places=np.full(count, NO_TEXT, dtype=np.int32),
    )


def merged(rows: Sequence[Row]) -> Row:
    """The rows one after the other. What overflows is merged with the rest in every combination."""
    whole = _special_row((), 0)
    for row in rows:
        overflow = [_joined(mine, theirs) for mine in whole.overflow for theirs in (row, *row.overflow)]
        overflow += [_joined(whole, theirs) for theirs in row.overflow]
        whole = dataclasses.replace(_joined(whole, row), overflow=tuple(overflow))
    return whole


def _joined(first: Row, second: Row) -> Row:
    pairs = {column: (getattr(first, column), getattr(second, column)) for column in _COLUMNS}
    return Row(**{column: np.concatenate(pair) for column, pair in pairs.items()})


# padding


def padded_rows(rows: Sequence[Row], rule: Padding) -> list[Row]:
    """The rows, filled up to one length; rows that are longer stay as they are."""
    length = max(map(len, rows), default=0) if rule.length is None else rule.length
    if rule.multiple_of:
        length += -length % rule.multiple_of
    return [_filled_up(row, length, rule) for row in rows]


def _filled_up(row: Row, length: int, rule: Padding) -> Row:
    missing = length - len(row)
    overflow = tuple(_filled_up(part, length, rule) for part in row.overflow)
    if missing <= 0:
        return dataclasses.replace(row, overflow=overflow)
    values = dict(zip(_COLUMNS, (rule.pad_id, rule.pad_type_id, 1, 0, NO_TEXT, NO_TEXT), strict=True))
    columns = {}
    for column in _COLUMNS:
        own, fill = getattr(row, column), np.full(missing, values[column], dtype=np.int32)
        columns[column] = np.concatenate([fill, own] if rule.direction == "left" else [own, fill])
    return Row(**columns, overflow=overflow)


# spans


def trimmed(
    strings: Sequence[str], spans: Sequence[tuple[int, int]], *, add_prefix_space: bool
) -> list[tuple[int, int]]:
    """The spans without the blanks at both ends of their tokens, as `ByteLevelOffsets` and RoBERTa's template ask for.

    Args:
        strings: the spelling of each token, in the byte-level alphabet.
        add_prefix_space: a single blank that the first token begins with was put there, and is no part of the text.

    >>> trimmed(["Ġa", "Ġb"], [(0, 1), (1, 3)], add_prefix_space=True)
    [(0, 1), (2, 3)]
    """
    found = []
    for i, (string, (start, end)) in enumerate(zip(strings, spans, strict=True)):
        left = len(string) - len(string.lstrip(_BLANKS))
        right = len(string) - len(string.rstrip(_BLANKS))
        if left == 1 and add_prefix_space and (i == 0 or start == 0):
            left = 0
        start = min(start + left, end)
        # as in `tokenizers`, a span too near to the text's beginning keeps what it has
        found.append((start, max(end - right, start) if end >= right else end))
    return found
