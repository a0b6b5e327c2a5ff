"""Frozen dataclasses <-> JSON <-> `a.b=c` assignments, with strict keys and types.

A configuration is a frozen, keyword-only dataclass beside the class it configures. Its fields are numbers, strings,
booleans, `Literal`s, optionals, tuples, and other configurations. Where a field may hold one of several kinds of them,
each kind's class has its name as the class variable `KIND`, and JSON has it under "kind".
"""

import dataclasses
import difflib
import hashlib
import json
import math
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from textmill.errors import ConfigError

C = TypeVar("C")


def to_json(config: Any) -> dict[str, Any]:
    """The configuration as plain JSON values, nested like the dataclasses."""
    kind = getattr(config, "KIND", None)
    named = {} if kind is None else {"kind": kind}
    return named | {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def from_json(cls: type[C], values: Mapping[str, Any], *, where: str = "the configuration") -> C:
    """The configuration that `values` describe.

    Raises:
        ConfigError: an unknown or missing key, or a value of the wrong type; names the key and what was expected.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where} must be an object, got {_shown(values)}", fix='write {"setting": value}')
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    kind = getattr(cls, "KIND", None)
    if kind is not None and values.get("kind", kind) != kind:
        raise ConfigError(f"{where} must be of the kind {kind!r}, got {_shown(values['kind'])}", fix=f"write {kind}")
    values = {key: value for key, value in values.items() if kind is None or key != "kind"}
    for key in values:
        if key not in fields:
            raise ConfigError(f"{where} has no setting {key!r}", fix=_suggestion(str(key), list(fields)))
    arguments = {key: _checked(hints[key], value, f"{where}: {key}") for key, value in values.items()}
    for name, field in fields.items():
        no_default = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if no_default and name not in arguments:
            raise ConfigError(f"{where} lacks the setting {name!r}", fix=f"add {name}")
    return cls(**arguments)


def override(config: C, assignments: Sequence[str]) -> C:
    """A copy with `path.to.field=value` applied; values are read as JSON when they parse as it, else as text.

    Raises:
        ConfigError: no `=`, an unknown field, or a value of the wrong type.
    """
    split = []
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not path:
            raise ConfigError(
                f"a setting is written a.b=value, got {assignment!r}", fix="for example training.steps=100"
            )
        split.append((path.split("."), text, path))
    return _assigned(config, split) if split else config


def fingerprint(value: Any) -> str:
    """A SHA-256 of the value's canonical JSON: equal for equal settings on every machine."""
    plain = to_json(value) if dataclasses.is_dataclass(value) else _plain(value)
    return hashlib.sha256(json.dumps(plain, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


_Assignment = tuple[list[str], str, str]
"""(names from here down, the value's text, the whole path)"""


def _assigned(config: C, assignments: Sequence[_Assignment]) -> C:
    """A copy with all the assignments made at once, so that the order of settings that must agree doesn't matter."""
    hints = typing.get_type_hints(type(config))
    names = [field.name for field in dataclasses.fields(config)]  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    inner: dict[str, list[_Assignment]] = {}
    for (name, *rest), text, where in assignments:
        if name not in names:
            raise ConfigError(f"there is no setting {where!r}", fix=_suggestion(name, names))
        if rest:
            inner.setdefault(name, []).append((rest, text, where))
            continue
        values[name] = _parsed(hints[name], text, where)
        # what was said of its parts before is overruled
        inner.pop(name, None)
    for name, parts in inner.items():
        current = values.get(name, getattr(config, name))
        if not dataclasses.is_dataclass(current):
            raise ConfigError(f"{parts[0][2]!r}: {name} is a single value, it has no parts", fix=f"write {name}=value")
        values[name] = _assigned(current, parts)
    return dataclasses.replace(config, **values)  # type: ignore[type-var]


def _parsed(hint: Any, text: str, where: str) -> Any:
    """The value of a setting written as text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        # no JSON, or more digits or brackets than Python reads
        value = text
    try:
        return _checked(hint, value, where)
    except ConfigError as refused:
        if isinstance(value, str):
            raise
        try:
            return _checked(hint, text, where)  # a name made of digits, say
        except ConfigError:
            if isinstance(value, list | dict):
                # it was meant as JSON; what is wrong inside it says more
                raise refused from None
            raise


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_json(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    assert value is None or isinstance(value, str | int | float | bool), f"not a configuration value: {value!r}"
    return value


def _checked(hint: Any, value: Any, where: str) -> Any:
    """`value` as the type `hint`, or a ConfigError."""
    origin = get_origin(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        options = get_args(hint)
        if value is None and type(None) in options:
            return None
        if isinstance(value, Mapping) and "kind" in value:
            kinds = {option.KIND: option for option in options if hasattr(option, "KIND")}
            if kinds and value["kind"] not in kinds:
                known = [str(kind) for kind in kinds]
                raise ConfigError(
                    f"{where}: kind must be one of {', '.join(known)}, got {_shown(value['kind'])}",
                    fix=_suggestion(str(value["kind"]), known),
                )
            if kinds:
                return _checked(kinds[value["kind"]], value, where)
        refused: list[tuple[int, ConfigError]] = []
        for option in options:
            if option is not type(None):
                try:
                    return _checked(option, value, where)
                except ConfigError as error:
                    refused.append((_shared_keys(option, value), error))
        # settings that are nearly those of one option: what is wrong with them says more than what they might be
        most, nearest = max(refused, key=lambda pair: pair[0])
        if most:
            raise nearest
        raise ConfigError(f"{where} must be {_name(hint)}, got {_shown(value)}", fix="give a value of that kind")
    if origin is Literal:
        if value not in get_args(hint) or isinstance(value, bool) != isinstance(get_args(hint)[0], bool):
            raise ConfigError(
                f"{where} must be {_name(hint)}, got {_shown(value)}",
                fix=_suggestion(str(value), [str(a) for a in get_args(hint)]),
            )
        return value
    if origin in (tuple, list):
        if not isinstance(value, list | tuple):
            raise ConfigError(
                f"{where} must be a list, got {_shown(value)}", fix='write it as JSON, for example ["a","b"]'
            )
        item = get_args(hint)[0] if get_args(hint) else Any
        return origin(_checked(item, entry, f"{where}[{index}]") for index, entry in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} must be an object, got {_shown(value)}", fix='write {"setting": value}')
        item = get_args(hint)[1]
        return {str(key): _checked(item, entry, f"{where}.{key}") for key, entry in value.items()}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return value if isinstance(value, hint) else from_json(hint, value, where=where)
    if hint is Path and isinstance(value, str | Path):
        return Path(value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        # a whole number that no float holds is out of any range as well
        return float(value) if isinstance(value, float) or abs(value) <= sys.float_info.max else math.inf
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(hint, type) and isinstance(value, hint) and isinstance(value, bool) == (hint is bool):
        return value
    raise ConfigError(f"{where} must be {_name(hint)}, got {_shown(value)}", fix="give a value of that kind")


def _shared_keys(hint: Any, value: Any) -> int:
    """How many of the value's keys are settings of the dataclass."""
    if not (dataclasses.is_dataclass(hint) and isinstance(value, Mapping)):
        return 0
    return len({field.name for field in dataclasses.fields(hint)} & set(value))


def _name(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(str(argument) for argument in get_args(hint))
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(_name(option) for option in get_args(hint))
    if get_origin(hint) in (tuple, list):
        return "a list"
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}
    return names.get(hint, getattr(hint, "__name__", str(hint)))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _suggestion(name: str, options: list[str]) -> str:
    close = difflib.get_close_matches(name, options, n=1)
    return f"did you mean {close[0]!r}?" if close else "choose from " + ", ".join(options)
