r"""Documents into sentences: one to a line, as BERT's data has them, or found in running text.

What ends a sentence in running text (`text_sentences`):

1. A blank line, and the end of the document.
2. `。` `！` `？` `｡` (and `!` `?` between Chinese or Japanese characters), with all marks, closing quotes and brackets
   that follow at once: `“你好！”` is one sentence.
3. `.` `!` `?` `…`, with all marks, closing quotes and brackets that follow at once, where white space or the end
   comes next and the next word does not begin with a small letter: `"What?" he said.` is one sentence.

A full stop of rule 3 ends nothing after
- an abbreviation that a name or a number follows (`Mr.`, `vs.`, `Fig.`: see `ABBREVIATIONS`),
- a single capital letter or letters with dots between (`J. Austen`, `4 A. M.`, `U.S. Army`, `e.g.`), but for `I`,
- a number that begins the sentence (`1. Open the lid.`).

A decimal (`3.14`), an address (`textmill.org`) and an abbreviation inside a sentence (`etc. and`) need no rule of their
own: no white space or a small letter follows. Rules are rules: `I met him in the U.S. He left.` stays in one piece.
"""

import re
from collections.abc import Callable
from itertools import chain
from typing import Literal

SentenceForm = Literal["lines", "text"]

# fmt: off
ABBREVIATIONS = frozenset([
    "mr", "mrs", "ms", "dr", "prof", "rev", "hon", "gen", "col", "capt", "lt", "sgt", "maj", "gov", "sen", "rep", "st",
    "mt", "messrs", "mme", "mlle", "fr", "jr", "sr", "vs", "cf", "viz", "al", "approx", "fig", "figs", "eq", "eqs",
    "sec", "ch", "chap", "vol", "vols", "no", "nos", "pp", "ed", "eds", "art", "jan", "feb", "mar", "apr", "jun",
    "jul", "aug", "sep", "sept", "oct", "nov", "dec",
])
# fmt: on
"""Words, in small letters, whose full stop ends no sentence. `etc`, `inc` and `am` are not here: a sentence often ends
with them, and where it doesn't, a small letter follows mostly."""

_CLOSING = "\"'”’»›」』）〕】》〉)\\]}"
_FULL = "。！？｡"
_CHINESE = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_MARK = re.compile(rf"[{_FULL}.!?…]++[{_CLOSING}]*+")
_BLANK_LINE = re.compile(r"\n[^\S\n]*+\n")
_BETWEEN_CHINESE = re.compile(rf"(?<=[{_CHINESE}])[!?]++[{_CLOSING}]*+(?=[{_CHINESE}])")
_SPACE = re.compile(r"\s*")
_NEXT_WORD = re.compile(r"\s*[\"'“‘«‹「『（(\[{]*(.?)", re.DOTALL)
_LAST_WORD = re.compile(r"(?:[^\W\d_]\.)*[^\W_]+\Z")
_LONGEST_WORD = 24


def line_sentences(document: bytes) -> list[bytes]:
    r"""The lines that hold something, without the white space around them: the form of BERT's pre-training data.

    >>> line_sentences(b"One.\r\n\n  Two. Still two.\n")
    [b'One.', b'Two. Still two.']
    """
    return [line for line in map(bytes.strip, document.splitlines()) if line]


def text_sentences(document: bytes) -> list[bytes]:
    """The sentences of running text by the rules above; joined they are the document again.

    White space belongs to the sentence after it, as in the pieces of most tokenizers; only what ends the document
    belongs to the last one. Invalid UTF-8 stays as it is.

    >>> text_sentences(b'Mr. Lee paid 3.50. "Why?" he asked.')
    [b'Mr. Lee paid 3.50.', b' "Why?" he asked.']
    >>> [sentence.decode() for sentence in text_sentences("他说：“你好！”我走了。".encode())]
    ['他说：“你好！”', '我走了。']
    """
    text = document.decode(errors="surrogateescape")
    sentences, begin, ink, last = [], 0, _ink(text, 0), len(text.rstrip())
    for stop in chain((line.start() for line in _BLANK_LINE.finditer(text, 0, last)), [last]):
        for mark in _MARK.finditer(text, begin, stop):
            end = mark.end()
            if ink < end < stop and _ends(text, ink, mark):
                sentences.append(text[begin:end])
                begin, ink = end, _ink(text, end)
        if ink < stop < last:
            sentences.append(text[begin:stop])
            begin, ink = stop, _ink(text, stop)
    if begin < len(text):
        sentences.append(text[begin:])
    return [sentence.encode(errors="surrogateescape") for sentence in sentences]


def _ink(text: str, place: int) -> int:
    """The place of the first character from `place` on that is no white space."""
    return _SPACE.match(text, place).end()  # type: ignore[union-attr]


def _ends(text: str, begin: int, mark: re.Match[str]) -> bool:
    """Whether a sentence whose first character stands at `begin` ends with this mark, inside a paragraph."""
    marks, start, end = mark.group(), mark.start(), mark.end()
    if marks[0] in _FULL:
        return True
    if not text[end].isspace():
        return _BETWEEN_CHINESE.match(text, start) is not None
    after = _NEXT_WORD.match(text, end)
    assert after is not None
    if after.group(1).islower():
        return False
    if marks != ".":
        return True
    word = _LAST_WORD.search(text[max(begin, start - _LONGEST_WORD) : start])
    return word is None or not _abbreviated(word.group(), start - len(word.group()) == begin)


def _abbreviated(word: str, begins_sentence: bool) -> bool:
    if word.isdecimal():
        return begins_sentence
    if len(word) == 1 or "." in word:
        return word != "I" and (word.isupper() or "." in word)
    return word.lower() in ABBREVIATIONS


SENTENCES: dict[SentenceForm, Callable[[bytes], list[bytes]]] = {"lines": line_sentences, "text": text_sentences}
"""The way to find a document's sentences, by the form of the text."""
