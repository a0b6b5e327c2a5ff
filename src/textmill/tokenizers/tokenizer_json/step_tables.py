"""Normalisers, splitters and decoders as JSON objects: which type is which step, and how its options are spelled."""

import base64
import binascii
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from textmill.errors import FormatError
from textmill.tokenizers import normalizing, steps
from textmill.tokenizers.tokenizer_json import own_steps
from textmill.tokenizers.tokenizer_json.checks import not_supported, optional, typed

Step = TypeVar("Step")
Schema = dict[str, Any]

BEHAVIORS: dict[str, str] = {
    "removed": "Removed",
    "isolated": "Isolated",
    "merged_with_previous": "MergedWithPrevious",
    "merged_with_next": "MergedWithNext",
    "contiguous": "Contiguous",
}
_PREPEND = {name: name for name in ("always", "first", "never")}


@dataclasses.dataclass(frozen=True)
class _Option:
    """How a step's field is spelled."""

    key: str
    kind: type = bool
    nullable: bool = False
    choices: Mapping[str, str] | None = None
    """The spelling of each value."""
    one_character: bool = False


@dataclasses.dataclass(frozen=True)
class _Kind:
    """A step, and the options of its fields. A field `pattern` goes with `is_regex`, in one object."""

    step: type
    options: Mapping[str, _Option] = dataclasses.field(default_factory=dict)
    has_pattern: bool = False
    fixed: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What is written besides."""


_BEHAVIOR = _Option("behavior", str, choices=BEHAVIORS)
_BYTE_LEVEL = {name: _Option(name) for name in ("add_prefix_space", "trim_offsets", "use_regex")}
_METASPACE = {
    "replacement": _Option("replacement", str, one_character=True),
    "prepend": _Option("prepend_scheme", str, choices=_PREPEND),
    "split": _Option("split"),
}
_BERT = {
    "clean_text": _Option("clean_text"),
    "isolate_chinese": _Option("handle_chinese_chars"),
    "strip_accents": _Option("strip_accents", nullable=True),
    "lowercase": _Option("lowercase"),
}

NORMALIZERS = {
    "Lowercase": _Kind(steps.Lowercase),
    "StripAccents": _Kind(steps.StripAccents),
    "Nmt": _Kind(steps.Nmt),
    "ByteLevel": _Kind(steps.ByteLevelCharacters),
    "Strip": _Kind(steps.Strip, {"left": _Option("strip_left"), "right": _Option("strip_right")}),
    "Replace": _Kind(steps.Replace, {"content": _Option("content", str)}, has_pattern=True),
    "Prepend": _Kind(steps.Prepend, {"text": _Option("prepend", str)}),
    "BertNormalizer": _Kind(steps.BertNormalizer, _BERT),
}
SPLITTERS = {
    "Split": _Kind(steps.Pattern, {"behavior": _BEHAVIOR, "invert": _Option("invert")}, has_pattern=True),
    "ByteLevel": _Kind(steps.ByteLevel, _BYTE_LEVEL),
    "Metaspace": _Kind(steps.Metaspace, _METASPACE),
    "BertPreTokenizer": _Kind(steps.BertSplit),
    "Whitespace": _Kind(steps.Whitespace),
    "WhitespaceSplit": _Kind(steps.WhitespaceSplit),
    "Punctuation": _Kind(steps.Punctuation, {"behavior": _BEHAVIOR}),
    "Digits": _Kind(steps.Digits, {"individual": _Option("individual_digits")}),
    "CharDelimiterSplit": _Kind(steps.Delimiter, {"character": _Option("delimiter", str, one_character=True)}),
    "UnicodeScripts": _Kind(steps.UnicodeScripts),
    "FixedLength": _Kind(steps.FixedLength, {"length": _Option("length", int)}),
}
DECODERS = {
    "ByteLevel": _Kind(
        steps.DecodeByteLevel, fixed={"add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    ),
    "WordPiece": _Kind(steps.DecodeWordPiece, {"prefix": _Option("prefix", str), "cleanup": _Option("cleanup")}),
    "Metaspace": _Kind(steps.DecodeMetaspace, _METASPACE),
    "BPEDecoder": _Kind(steps.DecodeSuffix, {"suffix": _Option("suffix", str)}),
    "ByteFallback": _Kind(steps.DecodeByteFallback),
    "Fuse": _Kind(steps.DecodeFuse),
    "Strip": _Kind(
        steps.DecodeStrip,
        {
            "content": _Option("content", str, one_character=True),
            "start": _Option("start", int),
            "stop": _Option("stop", int),
        },
    ),
    "Replace": _Kind(steps.DecodeReplace, {"content": _Option("content", str)}, has_pattern=True),
    "CTC": _Kind(
        steps.DecodeCtc,
        {
            "pad_token": _Option("pad_token", str),
            "word_delimiter": _Option("word_delimiter_token", str),
            "cleanup": _Option("cleanup"),
        },
    ),
}
_FORMS = ("NFC", "NFD", "NFKC", "NFKD")


def read_normalizer(part: Mapping[str, Any], where: str) -> steps.Normalizer:
    """The step of a JSON object.

    Raises:
        FormatError: malformed.
        NotSupportedError: of an unknown type, or with an expression that libraries read differently.
    """
    kind = part.get("type")
    if kind in _FORMS:
        return steps.Form(name=kind)
    if kind == "Precompiled":
        return steps.Precompiled(charsmap=_charsmap(part, where))
    if kind == "Sequence":
        return own_steps.read_normalizer(part, where)
    found: steps.Normalizer = _read(part, NORMALIZERS, where, "normalizer")
    if isinstance(found, steps.Replace) and found.is_regex:
        normalizing.expression(found.pattern)
    return found


def read_splitter(part: Mapping[str, Any], where: str) -> steps.Split:
    """The same for a splitter."""
    if part.get("type") == "Metaspace":
        part = _modern_metaspace(part, where)
    found: steps.Split = _read(part, SPLITTERS, where, "pre_tokenizer")
    if isinstance(found, steps.FixedLength) and found.length <= 0:
        raise FormatError(f"{where}: pieces must have a length of 1 or more, got {found.length}")
    if isinstance(found, steps.Pattern) and found.is_regex:
        from textmill.ops.split import PATTERNS, splitter

        name = splitter(found.pattern).name
        return dataclasses.replace(found, pattern=name) if name in PATTERNS else found
    return found


def read_decoder(part: Mapping[str, Any], where: str) -> steps.Decoder:
    """The same for a decoder."""
    kind = part.get("type")
    if kind == "Sequence":
        return own_steps.read_decoder(part, where)
    found: steps.Decoder = _read(
        _modern_metaspace(part, where) if kind == "Metaspace" else part, DECODERS, where, "decoder"
    )
    if isinstance(found, steps.DecodeStrip) and min(found.start, found.stop) < 0:
        raise FormatError(f"{where}: the decoder Strip cannot take {found.start} and {found.stop} characters away")
    if isinstance(found, steps.DecodeReplace) and found.is_regex:
        normalizing.expression(found.pattern)
    return found


def write_normalizer(step: steps.Normalizer) -> Schema:
    """The JSON object of a step.

    Raises:
        NotSupportedError: the schema has no such step.
    """
    if isinstance(step, steps.Form):
        return {"type": step.name}
    if isinstance(step, steps.Precompiled):
        return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(step.charsmap).decode()}
    if isinstance(step, steps.SentencePiece):
        return own_steps.write_normalizer(step, write_normalizer)
    return _written(step, NORMALIZERS)


def write_splitters(splits: Sequence[steps.Split]) -> list[Schema]:
    """The JSON objects of the steps; one step may take several."""
    from textmill.ops.split.reference import DEEPSEEK_STEPS

    written = []
    for step in splits:
        if isinstance(step, steps.Pattern) and step == steps.Pattern(pattern="deepseek"):
            written += [_written(steps.Pattern(pattern=pattern), SPLITTERS) for pattern in DEEPSEEK_STEPS]
        elif isinstance(step, steps.Pattern) and step.is_regex:
            written.append(_written(dataclasses.replace(step, pattern=_oniguruma(step.pattern)), SPLITTERS))
        else:
            written.append(_written(step, SPLITTERS))
    return written


def write_decoder(step: steps.Decoder) -> Schema:
    """The JSON object of a decoder."""
    if isinstance(step, steps.DecodeSentencePiece):
        return own_steps.write_decoder(step, write_decoder)
    return _written(step, DECODERS)


_ONIGURUMA_PATTERNS = {
    # the end of the text is \z there, and {1,3}+ would repeat the group instead of being possessive
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "cl100k": (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*+"
        r"|\s++\z|\s*[\r\n]|\s+(?!\S)|\s"
    ),
}


def _oniguruma(pattern: str) -> str:
    """The expression that `tokenizers` can run, of a name or an expression."""
    from textmill.ops.split import PATTERNS, splitter

    name = splitter(pattern).name
    return _ONIGURUMA_PATTERNS.get(name) or PATTERNS.get(name, pattern)


def _read(part: Mapping[str, Any], kinds: Mapping[str, _Kind], where: str, name: str) -> Any:
    type_ = part.get("type")
    if not isinstance(type_, str) or type_ not in kinds:
        raise not_supported(where, name, str(type_))
    kind = kinds[type_]
    where = f"{where}: {name}.{type_}"
    values: dict[str, Any] = {}
    if kind.has_pattern:
        values["pattern"], values["is_regex"] = _pattern(part.get("pattern"), where)
    for field, option in kind.options.items():
        value = optional(part, option.key, option.kind, where)
        if option.choices is not None and value is not None:
            value = next((name for name, spelling in option.choices.items() if value in (spelling, name)), None)
            if value is None:
                raise FormatError(f"{where}: {option.key!r} cannot be {part[option.key]!r:.60}")
        if option.one_character and value is not None and len(value) != 1:
            raise FormatError(f"{where}: {option.key!r} must be one character, got {value!r:.60}")
        if value is not None or (option.nullable and option.key in part):
            values[field] = value
    try:
        return kind.step(**values)
    except TypeError:
        raise FormatError(
            f"{where} lacks an option: it needs {', '.join(o.key for o in kind.options.values())}"
        ) from None


def _pattern(pattern: Any, where: str) -> tuple[str, bool]:
    if isinstance(pattern, dict) and len(pattern) == 1:
        ((spelling, string),) = pattern.items()
        if spelling in ("String", "Regex") and isinstance(string, str):
            return typed(pattern, spelling, str, where), spelling == "Regex"
    raise FormatError(f"{where}: a pattern must be a String or a Regex, got {pattern!r:.60}")


def _written(step: Any, kinds: Mapping[str, _Kind]) -> Schema:
    type_, kind = next((name, kind) for name, kind in kinds.items() if kind.step is type(step))
    schema: Schema = {"type": type_}
    if kind.has_pattern:
        schema["pattern"] = {"Regex" if step.is_regex else "String": step.pattern}
    for field, option in kind.options.items():
        value = getattr(step, field)
        schema[option.key] = value if option.choices is None else option.choices[value]
    return {**schema, **kind.fixed}


def _modern_metaspace(part: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """The object with `prepend_scheme` instead of `add_prefix_space`, which older files have."""
    old = optional(part, "add_prefix_space", bool, where)
    if old is None or "prepend_scheme" in part:
        return part
    return {**part, "prepend_scheme": "always" if old else "never"}


def _charsmap(part: Mapping[str, Any], where: str) -> bytes:
    try:
        data = base64.b64decode(typed(part, "precompiled_charsmap", str, where), validate=True)
    except (binascii.Error, ValueError) as error:
        raise FormatError(f"{where}: the charsmap of Precompiled is not base64: {error}") from None
    normalizing.precompiled(data)
    return data
