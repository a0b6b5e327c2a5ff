"""The parts of a tokenizer as plain data: what the file formats read and write, and what `Tokenizer` runs.

text -> added tokens cut out -> normalised -> normalised added tokens cut out -> split into pieces -> model -> ids
"""

import dataclasses
import functools
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Literal, cast

from textmill.errors import FormatError
from textmill.tokenizers.byte_level import to_bytes, to_characters

MOST_IDS = 1 << 24
"""An id this large is a damaged file: the tables are as long as the largest id."""

Buffer = bytes | memoryview
Part = tuple[int, int, int]
"""(start, stop, id) in bytes: an added token, or `TEXT` between added tokens."""
TEXT = -1

KNOWN_END_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>")
NORMAL_FORMS = ("NFC", "NFD", "NFKC", "NFKD")
_Form = Literal["NFC", "NFD", "NFKC", "NFKD"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AddedToken:
    """A string with an id of its own, found in the text before the text is split."""

    content: str
    id: int
    special: bool = True
    """Special tokens are found only on request: in untrusted text they are text."""
    normalized: bool = False
    """Looked for in the normalised text, after those that are looked for in the text as it is."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BpeModel:
    """Byte-level BPE: a vocabulary and the order in which pairs merge."""

    tokens: Mapping[bytes, int]
    """Id of each token, special and added ones apart."""
    merges: Sequence[tuple[bytes, bytes]] | None
    """Pairs, the first to be merged first. None: tiktoken's rule, the pair whose union has the lowest id."""
    whole_pieces: bool = False
    """A piece that is a token is that token, whatever its merges would give (`ignore_merges`)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pipeline:
    """All there is to know about a tokenizer."""

    model: BpeModel
    split: str
    """A name in `textmill.ops.split.PATTERNS`, or a regular expression."""
    added: tuple[AddedToken, ...] = ()
    normal_forms: tuple[str, ...] = ()
    """Of NFC, NFD, NFKC, NFKD, applied in this order."""
    trim_offsets: bool = False
    """Spans leave out a token's blanks at both ends."""
    end_of_text: str | None = None
    """The special token that ends a text."""

    @functools.cached_property
    def token_bytes(self) -> list[bytes | None]:
        """The bytes of each id; None where the ids have a hole.

        Raises:
            FormatError: two tokens share an id, an id is out of range, or an added token is named like another one.
        """
        strings: dict[str, int] = {}
        for token in self.added:
            # in files a token is known by its string, so that string must have one id
            same = self.model.tokens.get(to_bytes(token.content) or b"", token.id)
            if not token.id == same == strings.setdefault(token.content, token.id):
                raise FormatError(f"the added token {token.content!r} with id {token.id} stands there with another id")
        named = [*self.model.tokens.items(), *((token.content.encode(), token.id) for token in self.added)]
        largest = max((id for _, id in named), default=-1)
        if largest >= MOST_IDS or min((id for _, id in named), default=0) < 0:
            wrong = largest if largest >= MOST_IDS else min(id for _, id in named)
            raise FormatError(f"ids must be from 0 to {MOST_IDS - 1}, the vocabulary has {wrong}")
        table: list[bytes | None] = [None] * (largest + 1)
        for content, id in named:
            if table[id] not in (None, content):
                raise FormatError(f"the tokens {table[id]!r} and {content!r} have the same id {id}")
            table[id] = content
        return table

    @functools.cached_property
    def ids(self) -> dict[str, int]:
        """Id of each token by its string, as in the Hugging Face vocabulary: byte-level, added tokens as they are."""
        named = {to_characters(token): id for token, id in self.model.tokens.items()}
        return named | {token.content: token.id for token in self.added}

    @property
    def special_tokens(self) -> dict[str, int]:
        return {token.content: token.id for token in self.added if token.special}

    def find_end_of_text(self) -> "Pipeline":
        """The same with `end_of_text` set, if it was not and a special token has one of the customary names."""
        known = [name for name in KNOWN_END_OF_TEXT if name in self.special_tokens]
        return dataclasses.replace(self, end_of_text=known[0]) if known and self.end_of_text is None else self

    def normalized(self, text: str) -> str:
        for form in self.normal_forms:
            text = unicodedata.normalize(cast(_Form, form), text)
        return text


class AddedTokenFinder:
    """Cuts a text at its added tokens: the leftmost first, of those the longest."""

    def __init__(self, tokens: Sequence[AddedToken]) -> None:
        self._ids = {token.content.encode(): token.id for token in tokens}
        longest_first = sorted(self._ids, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, longest_first)))

    def cut(self, data: Buffer, start: int, stop: int) -> list[Part]:
        """The parts of `data[start:stop]` in order."""
        found = []
        for match in self._pattern.finditer(data, start, stop) if self._ids else ():
            if match.start() > start:
                found.append((start, match.start(), TEXT))
            start = match.end()
            found.append((match.start(), start, self._ids[match.group()]))
        if start < stop:
            found.append((start, stop, TEXT))
        return found


def utf8(text: str) -> bytes:
    r"""The text as UTF-8. Surrogates that pair up become their character, the others U+FFFD, as in tiktoken.

    >>> utf8("a\ud83d\ude00\ud83d").decode()
    'a😀�'
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
