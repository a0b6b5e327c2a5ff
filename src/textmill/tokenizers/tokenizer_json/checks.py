"""Looking into a JSON value that may hold anything."""

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from textmill.errors import FormatError, NotSupportedError

T = TypeVar("T")
_DEEPEST = 20
"""Sequences inside sequences; real files have one level."""


def typed(value: Mapping[str, Any], key: str, kind: type[T], where: str, default: T | None = None) -> T:
    """The entry of that name and type.

    Raises:
        FormatError: it is missing and has no default, or is of another type.
    """
    found = value.get(key, default)
    # True is an int to Python, and 1 a whole number to JSON
    if kind is float and isinstance(found, int) and not isinstance(found, bool):
        return cast(T, float(found))
    if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
        raise FormatError(f"{where}: {key!r} must be of type {kind.__name__}, got {found!r:.60}")
    if isinstance(found, str) and not is_text(found):
        raise FormatError(f"{where}: {key!r} is not text, got {found!r:.60}")
    return found


def optional(value: Mapping[str, Any], key: str, kind: type[T], where: str) -> T | None:
    """The same, or None where it is missing or null."""
    return None if value.get(key) is None else typed(value, key, kind, where)


def steps_of(part: Any, key: str, where: str, name: str, depth: int = 0) -> list[dict[str, Any]]:
    """The steps of a part that is null, one step, or a sequence, in which further ones may stand.

    A sequence that textmill wrote for a step of its own is one step.

    Raises:
        FormatError: a step is no object, or they are nested too deep.
    """
    if part is None:
        return []
    if not isinstance(part, dict):
        what = f"{name} must be" if depth == 0 else f"every step of {name} must be"
        raise FormatError(f"{where}: {what} an object, got {part!r:.60}")
    if part.get("type") != "Sequence" or "textmill" in part:
        return [part]
    if depth == _DEEPEST:
        raise FormatError(f"{where}: {name} is nested too deep")
    inner = typed(part, key, list, where)
    return [step for one in inner for step in steps_of(_present(one), key, where, name, depth + 1)]


def _present(step: Any) -> Any:
    # null is no step, but a sequence must not hold it
    return "null" if step is None else step


def is_text(string: str) -> bool:
    """Whether it has no lone surrogate, which JSON can smuggle in and UTF-8 cannot hold."""
    return string.encode("utf-8", "replace").decode() == string


def not_supported(where: str, part: str, what: str, fix: str = "") -> NotSupportedError:
    """The error that names a part of the file."""
    return NotSupportedError(f"{where} has a part that is not supported: {part}: {what}", fix=fix)
