"""The steps that only textmill has, in a schema that has none of them.

`SentencePiece` and `DecodeSentencePiece` are written as sequences of the schema's own steps, which do the same, and
beside the sequence's steps stands an entry `textmill`, which other readers skip: from it the exact step is read.

What the schema's steps do otherwise than sentencepiece: `Precompiled` replaces clusters of characters of less than six
bytes, not the longest sequence that has a rule, so that some decomposed characters stay decomposed; and a `▁` that
stands in the text itself, at one of its ends, may stay or go.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from textmill.tokenizers import normalizing, steps
from textmill.tokenizers.tokenizer_json.checks import not_supported, typed

_KEY = "textmill"
_BLANK, _ESCAPED = " ", "▁"
_FLAGS = ("dummy_prefix", "squeeze_blanks", "escape_blanks", "blank_as_suffix")
_DECODER_FLAGS = ("dummy_prefix", "squeeze_blanks", "blank_as_suffix")
# the first and the last place of a text, in a way that all libraries read alike
_START, _END = r"(?<![\s\S])", r"(?![\s\S])"


def write_normalizer(step: steps.SentencePiece, write: Callable[[steps.Normalizer], dict[str, Any]]) -> dict[str, Any]:
    """The sequence for a sentencepiece model's normaliser.

    Raises:
        NotSupportedError: the rules would change a user-defined string.
    """
    own = {flag: getattr(step, flag) for flag in _FLAGS} | {"name": step.name, "user_defined": list(step.user_defined)}
    if step.charsmap:
        rules = steps.Precompiled(charsmap=step.charsmap)
        for string in step.user_defined:
            if normalizing.normalize(string, [rules]) != string:
                raise not_supported("tokenizer.json", "normalizer", f"the user-defined piece {string!r} stays as it is")
    return {
        "type": "Sequence",
        "normalizers": [write(part) for part in equivalent(step)],
        _KEY: {"type": "SentencePiece", **own},
    }


def equivalent(step: steps.SentencePiece) -> list[steps.Normalizer]:
    """The schema's steps that do what the normaliser does."""
    parts: list[steps.Normalizer] = []
    if step.charsmap:
        parts.append(steps.Precompiled(charsmap=step.charsmap))
    if step.squeeze_blanks:
        parts.append(steps.Replace(pattern=_START + " +", content="", is_regex=True))
        parts.append(steps.Replace(pattern=" {2,}", content=_BLANK, is_regex=True))
    if step.dummy_prefix and not step.blank_as_suffix:
        parts.append(steps.Prepend(text=_BLANK))
    blank = _ESCAPED if step.escape_blanks else _BLANK
    if step.escape_blanks:
        parts.append(steps.Replace(pattern=_BLANK, content=_ESCAPED))
    if step.squeeze_blanks:
        parts.append(steps.Replace(pattern=f"{blank}+{_END}", content="", is_regex=True))
    if step.dummy_prefix and step.blank_as_suffix:
        parts.append(steps.Replace(pattern=rf"(?<=[\s\S]){_END}", content=blank, is_regex=True))
    return parts


def read_normalizer(part: Mapping[str, Any], where: str) -> steps.SentencePiece:
    """The step of a sequence that `write_normalizer` wrote.

    Raises:
        FormatError: malformed.
        NotSupportedError: of a kind that is not known here.
    """
    from textmill.tokenizers.tokenizer_json.step_tables import read_normalizer as read_step

    own = _own(part, "SentencePiece", where)
    inner = [step for step in typed(part, "normalizers", list, where) if isinstance(step, dict)]
    tables = [read_step(step, where) for step in inner if step.get("type") == "Precompiled"]
    strings = typed(own, "user_defined", list, where, [])
    user_defined = tuple(typed({"user_defined": string}, "user_defined", str, where) for string in strings)
    return steps.SentencePiece(
        charsmap=tables[0].charsmap if tables and isinstance(tables[0], steps.Precompiled) else b"",
        name=typed(own, "name", str, where, ""),
        user_defined=user_defined,
        **{flag: typed(own, flag, bool, where) for flag in _FLAGS},
    )


def write_decoder(step: steps.DecodeSentencePiece, write: Callable[[steps.Decoder], dict[str, Any]]) -> dict[str, Any]:
    """The sequence for a sentencepiece model's decoder."""
    parts: list[steps.Decoder] = [
        steps.DecodeReplace(pattern=_ESCAPED, content=_BLANK),
        steps.DecodeByteFallback(),
        steps.DecodeFuse(),
    ]
    if step.dummy_prefix or step.squeeze_blanks:
        parts.append(steps.DecodeStrip(content=_BLANK, start=1))
    return {
        "type": "Sequence",
        "decoders": [write(part) for part in parts],
        _KEY: {"type": "SentencePiece", **dataclasses.asdict(step)},
    }


def read_decoder(part: Mapping[str, Any], where: str) -> steps.DecodeSentencePiece:
    """The step of a sequence that `write_decoder` wrote."""
    own = _own(part, "SentencePiece", where)
    return steps.DecodeSentencePiece(
        unknown_surface=typed(own, "unknown_surface", str, where),
        **{flag: typed(own, flag, bool, where) for flag in _DECODER_FLAGS},
    )


def _own(part: Mapping[str, Any], kind: str, where: str) -> dict[str, Any]:
    own = typed(part, _KEY, dict, where)
    if own.get("type") != kind:
        raise not_supported(where, _KEY, str(own.get("type")), "install a newer textmill")
    return own
