"""Decoders at work: ids to text.

Nearly every sequence of steps treats a token by itself, apart from the first or the last one. Such a sequence is worked
out once for every id, so that decoding is copying bytes:

    text = finish(first(id) + middle(id) + ... + middle(id) + last(id))

`finish` stands for the steps that come when all tokens are one string. The definition is `decode_tokens`; that of
`DecodeSentencePiece` is sentencepiece 0.2.3.
"""

import codecs
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from textmill.errors import DataError
from textmill.ops.bpe import TokenBytes
from textmill.tokenizers import steps
from textmill.tokenizers.byte_level import to_bytes
from textmill.tokenizers.decoder_steps import ACTIONS, BYTE_TOKEN, decode_tokens
from textmill.tokenizers.models import Kind

_BLANK = "▁"
_BY_TOKEN = (
    steps.DecodeWordPiece,
    steps.DecodeMetaspace,
    steps.DecodeSuffix,
    steps.DecodeStrip,
    steps.DecodeReplace,
)
"""Steps that look at one token, and whether it is the first or the last one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How a sequence of steps is worked out token by token."""

    by_token: tuple[steps.Decoder, ...]
    kind: str
    """What makes bytes of the tokens then: "text", "byte_level", "byte_fallback", "sentencepiece"."""
    finish: tuple[steps.Decoder, ...]
    """The steps on the whole text."""


def plan_of(decoders: Sequence[steps.Decoder]) -> Plan | None:
    """The plan for the steps; None if a token's text depends on its neighbours in other ways.

    >>> plan = plan_of([steps.DecodeReplace(pattern="▁", content=" "), steps.DecodeByteFallback(), steps.DecodeFuse()])
    >>> plan.kind, len(plan.by_token), plan.finish
    ('byte_fallback', 1, ())
    """
    count = 0
    while count < len(decoders) and isinstance(decoders[count], _BY_TOKEN):
        count += 1
    by_token, rest = tuple(decoders[:count]), tuple(decoders[count:])
    if not rest:
        return Plan(by_token=by_token, kind="text", finish=())
    match rest[0]:
        case steps.DecodeFuse():
            return Plan(by_token=by_token, kind="text", finish=rest[1:])
        case steps.DecodeByteLevel():
            return Plan(by_token=by_token, kind="byte_level", finish=rest[1:])
        case steps.DecodeByteFallback():
            if len(rest) == 1 or isinstance(rest[1], steps.DecodeFuse):
                return Plan(by_token=by_token, kind="byte_fallback", finish=rest[2:])
        case steps.DecodeSentencePiece():
            if len(decoders) == 1:
                return Plan(by_token=(), kind="sentencepiece", finish=())
    return None


class Decoder:
    """Ids to text and bytes, for one vocabulary and its steps. Immutable, so threads may share it.

    >>> decoder = Decoder(["[UNK]", "un", "##able", "!"], [steps.DecodeWordPiece()])
    >>> decoder.decode([1, 2, 3, 1])
    'unable! un'
    """

    def __init__(
        self,
        tokens: Sequence[str | None],
        decoders: Sequence[steps.Decoder],
        *,
        added: Mapping[int, str] | None = None,
        kinds: Mapping[int, Kind] | None = None,
    ) -> None:
        """Args:
        tokens: the spelling of each id; None where there is no such id.
        added: the added tokens among them, which stand for their own text in a byte-level vocabulary, too.
        kinds: of a sentencepiece model's ids that are not normal ones.
        """
        self._tokens = tokens
        self._decoders = tuple(decoders)
        self._added = added or {}
        self._kinds = kinds or {}
        self.plan = plan_of(self._decoders)
        middle = self._all_middle() if self.plan else []
        self._middle = TokenBytes([data or None for data in middle])
        empty = np.array([data == b"" for data in middle], dtype=bool)
        self._empty = empty if empty.any() else None

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of the ids.

        Raises:
            DataError: an id is not in the vocabulary, or none at all.
        """
        array = self._checked(ids)
        if self.plan is None:
            return decode_tokens([str(self._tokens[id]) for id in array.tolist()], self._decoders)
        data = self._joined(array)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            if self.plan.kind == "byte_level":
                text = data.decode("utf-8", "replace")
            else:
                return self._decode_damaged(array)
        return decode_tokens([text], self.plan.finish) if self.plan.finish else text

    def decode_bytes(self, ids: Sequence[int] | np.ndarray) -> bytes:
        """The bytes of the ids: what `decode` gives, with bytes that are not UTF-8 as they are.

        Raises:
            DataError: as `decode`.
        """
        if self.plan is None:
            return self.decode(ids).encode()
        data = self._joined(self._checked(ids))
        if not self.plan.finish:
            return data
        # a byte that is no text goes through the steps as a surrogate
        text = data.decode("utf-8", "surrogateescape")
        return decode_tokens([text], self.plan.finish).encode("utf-8", "surrogateescape")

    def bytes_of(self, id: int, *, first: bool = False, last: bool = False) -> bytes | None:
        """What the id adds to the bytes, before the steps on the whole text; None: there is no such id."""
        assert self.plan is not None
        token = self._tokens[id]
        if token is None:
            return None
        if self.plan.kind == "sentencepiece":
            return self._sentencepiece_bytes(id, token, first)
        if not self._decoders:
            return (token if first else " " + token).encode("utf-8", "replace")
        # its neighbours, which the steps only count
        before, after = [""] * (not first), [""] * (not last)
        for step in self.plan.by_token:
            token = ACTIONS[type(step)]([*before, token, *after], step)[len(before)]
        return self._as_bytes(id, token)

    def _all_middle(self) -> list[bytes | None]:
        """`bytes_of` every id, the steps run over all of them at once."""
        assert self.plan is not None
        if not self._decoders:
            return [self.bytes_of(id) for id in range(len(self._tokens))]
        strings = [token or "" for token in self._tokens]
        if self.plan.kind == "sentencepiece":
            # nearly all are normal ones
            made = [string.replace(_BLANK, " ").encode("utf-8", "replace") for string in strings]
            for id in self._kinds:
                if id < len(made) and self._tokens[id] is not None:
                    made[id] = self._sentencepiece_bytes(id, strings[id], first=False)
        else:
            for step in self.plan.by_token:
                strings = ACTIONS[type(step)](["", *strings, ""], step)[1:-1]
            if self.plan.kind == "text":
                made = [string.encode("utf-8", "replace") for string in strings]
            else:
                made = [self._as_bytes(id, string) for id, string in enumerate(strings)]
        return [None if token is None else data for token, data in zip(self._tokens, made, strict=True)]

    def _as_bytes(self, id: int, string: str) -> bytes:
        """What makes bytes of a token after the steps that look at tokens."""
        assert self.plan is not None
        if self.plan.kind == "byte_level" and id not in self._added:
            found = to_bytes(string)
            return string.encode("utf-8", "replace") if found is None else found
        if self.plan.kind == "byte_fallback" and string[:1] == "<" and (match := BYTE_TOKEN.fullmatch(string)):
            return bytes([int(match.group(1), 16)])
        return string.encode("utf-8", "replace")

    def is_byte(self, id: int) -> bool:
        """Whether the id stands for one byte of a character, rather than for text."""
        assert self.plan is not None
        if self.plan.kind == "byte_fallback":
            token = str(self._tokens[id])
            for step in self.plan.by_token:
                token = ACTIONS[type(step)](["", token, ""], step)[1]
            return BYTE_TOKEN.fullmatch(token) is not None
        return self.plan.kind == "sentencepiece" and self._kinds.get(id) == "byte"

    def _sentencepiece_bytes(self, id: int, token: str, first: bool) -> bytes:
        step = self._decoders[0]
        assert isinstance(step, steps.DecodeSentencePiece)
        kind = self._kinds.get(id, "normal")
        if kind == "control":
            return b""
        if kind == "unknown":
            return step.unknown_surface.encode()
        if kind == "byte":
            return bytes([int(token[3:5], 16)])
        if first and (step.dummy_prefix or step.squeeze_blanks):
            token = token.removeprefix(_BLANK)
        return token.replace(_BLANK, " ").encode("utf-8", "replace")

    def _checked(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        array = np.asarray(ids)
        if array.size == 0:
            return np.empty(0, dtype=np.int64)
        if array.dtype.kind not in "iu" or array.ndim != 1:
            raise DataError(f"ids must be whole numbers in one row, got {array.dtype} of {array.ndim} dimensions")
        wrong = np.flatnonzero((array < 0) | (array >= len(self._tokens)))
        if not len(wrong) and self.plan is None:
            wrong = np.flatnonzero([self._tokens[id] is None for id in array.tolist()])
        if len(wrong):
            raise DataError(
                f"token id {array[wrong[0]]} is not in the vocabulary",
                fix=f"ids of this vocabulary are below {len(self._tokens)}",
            )
        return array.astype(np.int64, copy=False)

    def _joined(self, ids: np.ndarray) -> bytes:
        """The bytes of checked ids."""
        assert self.plan is not None
        if self.plan.kind == "byte_level" and not self.plan.by_token:
            return self._middle.decode(ids if self._empty is None else ids[~self._empty[ids]])
        head, start = self._head(ids)
        tail, stop = b"", len(ids)
        if any(isinstance(step, steps.DecodeSuffix) for step in self.plan.by_token) and stop > start:
            stop -= 1
            tail = self.known(int(ids[stop]), last=True)
        rest = ids[start:stop]
        if self._empty is not None and self._empty[rest].any():
            rest = rest[~self._empty[rest]]
        return head + self._middle.decode(rest) + tail

    def _head(self, ids: np.ndarray) -> tuple[bytes, int]:
        """(the bytes of the first ids, how many those are): of those that know that they stand first."""
        for i, id in enumerate(ids.tolist()):
            data, more = self.opening(id, last=len(ids) == 1)
            if not more:
                return data, i + 1
        return b"", len(ids)

    def opening(self, id: int, *, last: bool = False) -> tuple[bytes, bool]:
        """(the id's bytes at the beginning of a text, whether the next id stands there still).

        sentencepiece's dummy blank goes with the first blank before any text; with squeezed blanks, with all of them.
        """
        data = self.known(id, first=True, last=last)
        step = self._decoders[0] if self._decoders else None
        if not isinstance(step, steps.DecodeSentencePiece):
            return data, False
        lost_blank = step.squeeze_blanks or self._kinds.get(id, "normal") == "control" or data == self.known(id)
        return data, not data and lost_blank

    def known(self, id: int, *, first: bool = False, last: bool = False) -> bytes:
        """`bytes_of` an id that must exist; b"" if it isn't worked out token by token.

        Raises:
            DataError: there is no such id.
        """
        if not 0 <= id < len(self._tokens) or self._tokens[id] is None:
            raise DataError(f"token id {id} is not in the vocabulary", fix="use the tokenizer that gave the ids")
        if self.plan is None:
            return b""
        found = self.bytes_of(id, first=first, last=last)
        assert found is not None
        return found

    def _decode_damaged(self, ids: np.ndarray) -> str:
        """The text of ids among which byte tokens make no characters."""
        assert self.plan is not None
        parts, run = [], bytearray()
        opening = True
        for i, id in enumerate(ids.tolist()):
            data, opening = self.opening(id) if opening else (self.known(id, last=i == len(ids) - 1), False)
            if self.is_byte(id):
                run += data
            else:
                parts += [self.run_text(run), data.decode("utf-8", "replace")]
                run.clear()
        return decode_tokens(["".join([*parts, self.run_text(run)])], [steps.DecodeFuse(), *self.plan.finish])

    def run_text(self, run: bytes | bytearray) -> str:
        """The text of neighbouring byte tokens, where they may be no UTF-8."""
        assert self.plan is not None
        text = run.decode("utf-8", "surrogateescape")
        damaged = any("\udc80" <= character <= "\udcff" for character in text)
        if damaged and self.plan.kind == "byte_fallback":
            # one byte that is wrong spoils the run
            return "\ufffd" * len(run)
        return "".join("\ufffd" if "\udc80" <= c <= "\udcff" else c for c in text) if damaged else text

    def stream(self) -> "Stream":
        """A decoder that takes ids one at a time."""
        return Stream(self)


class Stream:
    """Text as it becomes certain. All that `push` and `finish` return, joined, is the `decode` of all the ids.

    Byte tokens wait until their neighbours show what they are. Where a step needs the whole text, or its last token,
    what it may change waits for `finish`.
    """

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        plan = decoder.plan
        self._waits = plan is None or not all(_strips_start(step) for step in plan.finish)
        self._holds_last = plan is not None and any(isinstance(step, steps.DecodeSuffix) for step in plan.by_token)
        self._strips = [step for step in plan.finish if isinstance(step, steps.DecodeStrip)] if plan else []
        self._reset()

    def _reset(self) -> None:
        self._ids: list[int] = []
        self._opening = True
        self._run = bytearray()
        self._characters = codecs.getincrementaldecoder("utf-8")("replace")
        self._start = ""
        self._started = not self._strips

    def push(self, id: int) -> str:
        """The text that this id makes certain.

        Raises:
            DataError: the id is not in the vocabulary.
        """
        self._decoder.known(id)
        if self._waits:
            self._ids.append(id)
            return ""
        if self._holds_last:
            self._ids.append(id)
            return self._pushed(self._ids.pop(0), last=False) if len(self._ids) > 1 else ""
        return self._pushed(id, last=False)

    def finish(self) -> str:
        """What the end of the text makes certain. The decoder starts anew."""
        if self._waits:
            text = self._decoder.decode(self._ids)
        else:
            text = "".join(self._pushed(id, last=True) for id in self._ids)
            text += self._certain(self._decoder.run_text(self._run) + self._characters.decode(b"", final=True))
            text += "" if self._started else self._stripped()
        self._reset()
        return text

    def _pushed(self, id: int, *, last: bool) -> str:
        decoder = self._decoder
        if self._opening:
            data, self._opening = decoder.opening(id, last=last)
        else:
            data = decoder.known(id, last=last)
        if decoder.is_byte(id):
            self._run += data
            return ""
        if decoder.plan and decoder.plan.kind == "byte_level":
            return self._certain(self._characters.decode(data))
        text = decoder.run_text(self._run) + data.decode("utf-8", "replace")
        self._run.clear()
        return self._certain(text)

    def _certain(self, text: str) -> str:
        """The text without what is stripped at the start of all."""
        if self._started:
            return text
        self._start += text
        if len(self._start) <= sum(step.start for step in self._strips):
            return ""
        self._started = True
        return self._stripped()

    def _stripped(self) -> str:
        return decode_tokens([self._start], self._strips) if self._strips else self._start


def _strips_start(step: steps.Decoder) -> bool:
    return isinstance(step, steps.DecodeStrip) and step.stop == 0
