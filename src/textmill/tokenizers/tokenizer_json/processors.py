"""What comes after the model, as JSON: post-processors, truncation, padding."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from textmill.errors import FormatError
from textmill.tokenizers.steps import ByteLevelOffsets, Finish, Padding, Slot, Template, Truncation
from textmill.tokenizers.tokenizer_json.checks import not_supported, optional, steps_of, typed

_STRATEGIES = {"longest_first": "LongestFirst", "only_first": "OnlyFirst", "only_second": "OnlySecond"}
_DIRECTIONS = {"right": "Right", "left": "Left"}
_MOST = 1 << 40
"""`transformers` writes lengths like this for "no limit"."""


def read_finish(part: Any, where: str) -> tuple[Finish, ...]:
    """The steps of a post-processor.

    Raises:
        FormatError: malformed.
        NotSupportedError: of an unknown type, or two templates.
    """
    found = tuple(_read(step, where) for step in steps_of(part, "processors", where, "post_processor"))
    if sum(isinstance(step, Template) for step in found) > 1:
        raise not_supported(where, "post_processor", "two templates")
    return found


def write_finish(finish: Sequence[Finish], strings: Sequence[str | None]) -> dict[str, Any] | None:
    """The JSON object of the steps.

    Args:
        strings: the spelling of each id.
    """
    written = [_written(step, strings) for step in finish]
    if len(written) < 2:
        return written[0] if written else None
    return {"type": "Sequence", "processors": written}


def _read(part: Mapping[str, Any], where: str) -> Finish:
    kind = part.get("type")
    where_part = f"{where}: post_processor"
    if kind == "ByteLevel":
        return ByteLevelOffsets(
            **{
                key: typed(part, key, bool, where_part, True)
                for key in ("trim_offsets", "add_prefix_space", "use_regex")
            }
        )
    if kind == "TemplateProcessing":
        return _template(part, where_part)
    if kind in ("BertProcessing", "RobertaProcessing"):
        cls, sep = (_special(part, key, where_part) for key in ("cls", "sep"))
        if kind == "BertProcessing":
            return bert(cls, sep)
        flags = {key: typed(part, key, bool, where_part, True) for key in ("trim_offsets", "add_prefix_space")}
        return roberta(cls, sep, **flags)
    raise not_supported(where, "post_processor", str(kind))


def bert(cls: tuple[str, int], sep: tuple[str, int]) -> Template:
    """[CLS] A [SEP] B [SEP], B being of type 1."""
    first, last = Slot(content=cls[0], special=True), Slot(content=sep[0], special=True)
    return Template(
        single=(first, Slot(content="A"), last),
        pair=(
            first,
            Slot(content="A"),
            last,
            Slot(content="B", type_id=1),
            Slot(content=sep[0], special=True, type_id=1),
        ),
        special_tokens=_named(cls, sep),
        form="BertProcessing",
    )


def roberta(cls: tuple[str, int], sep: tuple[str, int], *, trim_offsets: bool, add_prefix_space: bool) -> Template:
    """<s> A </s></s> B </s>, all of type 0."""
    first, last = Slot(content=cls[0], special=True), Slot(content=sep[0], special=True)
    return Template(
        single=(first, Slot(content="A"), last),
        pair=(first, Slot(content="A"), last, last, Slot(content="B"), last),
        special_tokens=_named(cls, sep),
        form="RobertaProcessing",
        trim_offsets=trim_offsets,
        add_prefix_space=add_prefix_space,
    )


def _named(cls: tuple[str, int], sep: tuple[str, int]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return (cls[0], (cls[1],)), (sep[0], (sep[1],))


def _special(part: Mapping[str, Any], key: str, where: str) -> tuple[str, int]:
    pair = typed(part, key, list, where)
    if len(pair) != 2:
        raise FormatError(f"{where}: {key!r} must be a token and its id, got {pair!r:.60}")
    entry = {"token": pair[0], "id": pair[1]}
    return typed(entry, "token", str, where), _whole(entry, "id", where)


def _whole(part: Mapping[str, Any], key: str, where: str, default: int | None = None) -> int:
    number = typed(part, key, int, where, default)
    if not 0 <= number < 1 << 64:
        raise FormatError(f"{where}: {key!r} must be from 0 to 18446744073709551615, got {number}")
    return number


def _id(part: Mapping[str, Any], key: str, where: str, default: int | None = None) -> int:
    number = _whole(part, key, where, default)
    if number >= 1 << 31:
        raise FormatError(f"{where}: {key!r} must be below {1 << 31}, got {number}")
    return number


def _template(part: Mapping[str, Any], where: str) -> Template:
    specials: list[tuple[str, tuple[int, ...]]] = []
    for name, entry in typed(part, "special_tokens", dict, where, {}).items():
        if not isinstance(entry, dict):
            raise FormatError(f"{where}: the special token {name!r} must be an object, got {entry!r:.60}")
        ids = [_id({"ids": id}, "ids", where) for id in typed(entry, "ids", list, where)]
        specials.append((typed({"id": name}, "id", str, where), tuple(ids)))
    rows = []
    for key in ("single", "pair"):
        slots = tuple(_slot(entry, where) for entry in typed(part, key, list, where))
        known = {name for name, _ in specials}
        for slot in slots:
            if slot.special and slot.content not in known:
                raise FormatError(f"{where}: the template has {slot.content!r}, of which the file does not say the id")
        rows.append(slots)
    if any(slot.content == "B" and not slot.special for slot in rows[0]):
        raise FormatError(f"{where}: the template of a single text has a place for a second one")
    return Template(single=rows[0], pair=rows[1], special_tokens=tuple(specials))


def _slot(entry: Any, where: str) -> Slot:
    if not isinstance(entry, dict) or len(entry) != 1 or not isinstance(next(iter(entry.values())), dict):
        raise FormatError(f"{where}: a place in a template must be an object, got {entry!r:.60}")
    ((kind, place),) = entry.items()
    name, type_id = typed(place, "id", str, where), _id(place, "type_id", where, 0)
    if kind == "SpecialToken" or (kind == "Sequence" and name in ("A", "B")):
        return Slot(content=name, special=kind == "SpecialToken", type_id=type_id)
    raise FormatError(f"{where}: a place in a template must be a SpecialToken or a Sequence A or B, got {entry!r:.60}")


def _written(step: Finish, strings: Sequence[str | None]) -> dict[str, Any]:
    if isinstance(step, ByteLevelOffsets):
        flags = {key: getattr(step, key) for key in ("add_prefix_space", "trim_offsets", "use_regex")}
        return {"type": "ByteLevel", **flags}
    if step.form != "TemplateProcessing":
        (cls, cls_ids), (sep, sep_ids) = step.special_tokens
        flags = {key: getattr(step, key) for key in ("trim_offsets", "add_prefix_space")}
        ends = {"type": step.form, "sep": [sep, sep_ids[0]], "cls": [cls, cls_ids[0]]}
        return ends | (flags if step.form == "RobertaProcessing" else {})
    tokens = {
        name: {"id": name, "ids": list(ids), "tokens": [_string(strings, id, name) for id in ids]}
        for name, ids in step.special_tokens
    }
    rows = {key: [_written_slot(slot) for slot in getattr(step, key)] for key in ("single", "pair")}
    return {"type": "TemplateProcessing", **rows, "special_tokens": tokens}


def _string(strings: Sequence[str | None], id: int, name: str) -> str:
    return (strings[id] if id < len(strings) else None) or name


def _written_slot(slot: Slot) -> dict[str, Any]:
    return {"SpecialToken" if slot.special else "Sequence": {"id": slot.content, "type_id": slot.type_id}}


# truncation and padding


def read_truncation(part: Any, where: str) -> Truncation | None:
    """The limit of length that is set in the file.

    Raises:
        FormatError: malformed.
    """
    if part is None:
        return None
    where = f"{where}: truncation"
    if not isinstance(part, dict):
        raise FormatError(f"{where} must be an object, got {part!r:.60}")
    return Truncation(
        max_length=min(_whole(part, "max_length", where), _MOST),
        stride=min(_whole(part, "stride", where, 0), _MOST),
        strategy=cast(Any, _choice(part, "strategy", _STRATEGIES, "LongestFirst", where)),
        direction=_direction(part, where),
    )


def read_padding(part: Any, where: str) -> Padding | None:
    """The padding that is set in the file.

    Raises:
        FormatError: malformed.
    """
    if part is None:
        return None
    where = f"{where}: padding"
    if not isinstance(part, dict):
        raise FormatError(f"{where} must be an object, got {part!r:.60}")
    strategy = part.get("strategy")
    if strategy == "BatchLongest":
        length = None
    elif isinstance(strategy, dict) and set(strategy) == {"Fixed"}:
        length = _id(strategy, "Fixed", where)
    else:
        raise FormatError(f"{where}: the strategy must be BatchLongest or Fixed, got {strategy!r:.60}")
    multiple = optional(part, "pad_to_multiple_of", int, where)
    if multiple is not None and not 0 <= multiple < 1 << 31:
        raise FormatError(f"{where}: 'pad_to_multiple_of' must be from 0 to {(1 << 31) - 1}, got {multiple}")
    return Padding(
        length=length,
        direction=_direction(part, where),
        multiple_of=multiple,
        pad_id=_id(part, "pad_id", where, 0),
        pad_type_id=_id(part, "pad_type_id", where, 0),
        pad_token=typed(part, "pad_token", str, where, "[PAD]"),
    )


def _direction(part: Mapping[str, Any], where: str) -> Literal["right", "left"]:
    return cast(Any, _choice(part, "direction", _DIRECTIONS, "Right", where))


def _choice(part: Mapping[str, Any], key: str, choices: Mapping[str, str], default: str, where: str) -> str:
    spelling = part.get(key, default)
    for value, known in choices.items():
        if spelling == known:
            return value
    raise FormatError(f"{where}: {key!r} must be one of {', '.join(choices.values())}, got {spelling!r:.60}")


def write_truncation(rule: Truncation | None) -> dict[str, Any] | None:
    """The JSON object of the limit."""
    if rule is None:
        return None
    return {
        "direction": _DIRECTIONS[rule.direction],
        "max_length": rule.max_length,
        "strategy": _STRATEGIES[rule.strategy],
        "stride": rule.stride,
    }


def write_padding(rule: Padding | None) -> dict[str, Any] | None:
    """The JSON object of the padding."""
    if rule is None:
        return None
    return {
        "strategy": "BatchLongest" if rule.length is None else {"Fixed": rule.length},
        "direction": _DIRECTIONS[rule.direction],
        "pad_to_multiple_of": rule.multiple_of,
        "pad_id": rule.pad_id,
        "pad_type_id": rule.pad_type_id,
        "pad_token": rule.pad_token,
    }
