"""Encoding a text of any length as it comes, in little memory: cut where the ids cannot depend on what follows."""

from collections.abc import Iterable, Iterator

from textmill.errors import NotSupportedError
from textmill.ops.split import PATTERNS, splitter
from textmill.tokenizers.normalizing import normalize
from textmill.tokenizers.pipeline import Buffer, Pipeline
from textmill.tokenizers.steps import BertNormalizer, BertSplit, Form, Lowercase, StripAccents

_LEAST_BYTES = 1 << 16
_LOCAL = (BertNormalizer, Form, Lowercase, StripAccents)
"""Normalisers that do not look across a blank."""
_FIRST_VISIBLE, _LAST_VISIBLE = 0x21, 0x7E
# a Han character before a comma or a full stop; of its block every code point is a letter
_CHINESE_STOPS = "。，"
_FIRST_HAN, _LAST_HAN = "\u4e00".encode(), "\u9fff".encode()


def check_streamable(pipeline: Pipeline, *, allow_special: bool) -> None:
    """Checks that a place to cut can be told from a few characters.

    Raises:
        NotSupportedError: the splitter is not a published one, the model sees a text as one sentence, or an added token
            has white space in it or around it, or a Chinese comma or full stop.
    """
    pattern = pipeline.byte_level_split
    published = pattern is not None and splitter(pattern).name in PATTERNS
    local = all(isinstance(step, _LOCAL) for step in pipeline.normalizers)
    if not (local and (published or pipeline.splits == (BertSplit(),))):
        raise NotSupportedError(
            "encoding a stream with this tokenizer: its tokens may depend on text that is far away",
            fix="encode line by line, or document by document",
        )
    for token in pipeline.added:
        if token.special and not allow_special:
            continue
        # as they stand in the text in which the token is looked for
        steps = pipeline.normalizers if token.normalized else ()
        content, stops = normalize(token.content, steps), normalize(_CHINESE_STOPS, steps)
        spaced = token.lstrip or token.rstrip or token.single_word or any(map(str.isspace, content))
        if spaced or not set(stops).isdisjoint(content):
            what = "takes white space along" if spaced else "has a Chinese comma or full stop in it"
            raise NotSupportedError(
                f"encoding a stream with the added token {token.content!r}, which {what}",
                fix="encode document by document",
            )


def cut_stream(chunks: Iterable[Buffer]) -> Iterator[bytes]:
    """The text of the chunks in parts that can be encoded one by one; see `safe_cut`."""
    waiting = bytearray()
    for chunk in chunks:
        waiting += chunk
        if len(waiting) >= _LEAST_BYTES:
            cut = safe_cut(waiting)
            if cut:
                yield bytes(waiting[:cut])
                del waiting[:cut]
    if waiting:
        yield bytes(waiting)


def safe_cut(data: bytes | bytearray) -> int:
    """The last place at which a text may be cut in two that give the ids of the whole; 0 if there is none.

    That is a blank after a visible ASCII character: no token of a published splitter has a blank behind anything else,
    and a piece that ends there ends there whatever follows. In Chinese, it is a comma or a full stop after a Han
    character. (Line ends won't do: punctuation takes them along.)

    >>> safe_cut(b"one two  three")
    7
    """
    place = len(data)
    while (place := data.rfind(b" ", 0, place)) > 0:
        if _FIRST_VISIBLE <= data[place - 1] <= _LAST_VISIBLE:
            return place
    found = 0
    for stop in _CHINESE_STOPS:
        place = len(data)
        while (place := data.rfind(stop.encode(), 0, place)) > 2:
            if _is_han(data[place - 3 : place]):
                found = max(found, place)
                break
    return found


def _is_han(three: bytes | bytearray) -> bool:
    """Whether the bytes are a character from U+4E00 to U+9FFF; what stands before them are symbols.

    >>> [_is_han(character.encode()) for character in "\\u4dff一\\u9fff\\ua000"]
    [False, True, True, False]
    """
    return _FIRST_HAN <= three <= _LAST_HAN and three[1] & 0xC0 == three[2] & 0xC0 == 0x80
