"""Finding added tokens in a text, with what `tokenizers` 0.23 does about what stands beside them."""

from collections.abc import Sequence

from textmill.ops.find import StringFinder
from textmill.tokenizers import peer_classes
from textmill.tokenizers.pipeline import TEXT, AddedToken, Buffer, Part

_BLANKS = frozenset(
    character.encode() for character in "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000"
) | frozenset(chr(code).encode() for code in range(0x2000, 0x200B))
"""The white space of Unicode."""
_MOST_BLANK_BYTES = 3
_MOST_CHARACTER_BYTES = 4


class AddedTokenFinder:
    """Cuts a text at its added tokens: the leftmost first, of those the longest.

    A token that takes white space along does not keep others from being found in it, and a token that is passed over,
    because a word goes on beside it or because it is special, still hides what begins inside it. Both as in
    `tokenizers`.
    """

    def __init__(self, tokens: Sequence[AddedToken]) -> None:
        """Of tokens with the same content, the last one counts.

        Raises:
            ConfigError: 2 GiB or more of tokens.
        """
        self._tokens = list({token.content: token for token in tokens}.values())
        self._all_special = all(token.special for token in self._tokens)
        contents = [token.content.encode() for token in self._tokens]
        self._finder = StringFinder(contents)
        self._rows = [
            (len(content), token.id, token.special, token.single_word or token.lstrip or token.rstrip)
            for content, token in zip(contents, self._tokens, strict=True)
        ]

    def cut(self, data: Buffer, start: int, stop: int, *, allow_special: bool = True) -> list[Part]:
        """The parts of `data[start:stop]` in order. They tile it, unless a token was found in another's white space.

        Args:
            allow_special: special tokens are found too; otherwise they are text.
        """
        parts: list[Part] = []
        skipped = not allow_special and self._all_special
        free = blank_end = start
        for begin, number in () if skipped else self._finder.find(data, start, stop):
            length, id, special, has_rules = self._rows[number]
            end = begin + length
            if special and not allow_special:
                continue
            if has_rules:
                token = self._tokens[number]
                if token.single_word and _stands_in_word(data, begin, end, start, stop):
                    continue
                if token.lstrip:
                    begin = _begin_of_blanks(data, begin, free)
                if token.rstrip:
                    # many tokens may be found in the same white space, which is read once
                    if end > blank_end:
                        blank_end = _end_of_blanks(data, end, stop)
                    end = blank_end
                if begin >= end:
                    continue
            if free < begin:
                parts.append((free, begin, TEXT))
            parts.append((begin, end, id))
            free = end
        if free < stop:
            parts.append((free, stop, TEXT))
        return parts


def finders_of(tokens: Sequence[AddedToken]) -> tuple[AddedTokenFinder | None, AddedTokenFinder | None]:
    """What finds tokens where special ones are text, and where they are allowed; None where nothing can be found."""
    finder = AddedTokenFinder(tokens)
    return finder if any(not token.special for token in tokens) else None, finder if tokens else None


def _begin_of_blanks(data: Buffer, at: int, least: int) -> int:
    """Where the white space before a place begins, `least` at least, even if that is behind the place."""
    while at > least:
        for width in range(1, _MOST_BLANK_BYTES + 1):
            if bytes(data[max(at - width, least) : at]) in _BLANKS:
                at -= width
                break
        else:
            return at
    return least


def _end_of_blanks(data: Buffer, at: int, stop: int) -> int:
    """Where the white space that begins at a place ends."""
    while at < stop:
        for width in range(1, _MOST_BLANK_BYTES + 1):
            if bytes(data[at : min(at + width, stop)]) in _BLANKS:
                at += width
                break
        else:
            return at
    return stop


def _stands_in_word(data: Buffer, begin: int, end: int, start: int, stop: int) -> bool:
    """Whether a word character stands directly before or behind `data[begin:end]`, looking no further than the text."""
    before = bytes(data[max(begin - _MOST_CHARACTER_BYTES, start) : begin])
    behind = bytes(data[end : min(end + _MOST_CHARACTER_BYTES, stop)])
    return any(_is_word(before[-width:]) or _is_word(behind[:width]) for width in range(1, _MOST_CHARACTER_BYTES + 1))


def _is_word(data: bytes) -> bool:
    """Whether the bytes are one character, and one of a word. What is not UTF-8 is no character."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return False
    return len(text) == 1 and bool(peer_classes.flags()[ord(text)] & peer_classes.WORD)
