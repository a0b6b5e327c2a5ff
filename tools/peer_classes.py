"""Writes `textmill/tokenizers/peer_data.py`: `python -m tools.peer_classes`. By hand, seldom; needs the peers.

Source of truth: what the steps of tokenizers 0.23 do to every code point. Its parts pin several versions of Unicode, so
no one version gives the same text: lower case follows a new one, normal forms and marks one from 2019, BERT's controls
one from 2015. What agrees with `textmill.ops.split.classes` is not written again: white space, punctuation, words.
"""

import base64
import textwrap
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import regex
from tokenizers import normalizers, pre_tokenizers

from textmill.tokenizers import peer_classes as classes

PATH = Path(__file__).resolve().parents[1] / "src" / "textmill" / "tokenizers" / "peer_data.py"
SURROGATES = range(0xD800, 0xE000)
_BLOCK = 20_000
_HEAD = '''"""Character properties as tokenizers 0.23 has them; written by `tools/peer_classes.py`.

FLAGS and SCRIPTS are base64 of zlib of n 16-bit values, each of a run, and the n lengths as 32-bit numbers, lowest
bytes first.
"""
'''
# blocks whose characters compose in newer Unicode versions only
_NEW_BLOCKS = ((0x105C0, 0x10600), (0x11380, 0x11400), (0x11900, 0x11960), (0x16100, 0x16140), (0x16D40, 0x16D80))


def _characters() -> list[str]:
    return [chr(code) for code in range(classes.NUM_CODE_POINTS) if code not in SURROGATES]


def _blocks() -> Iterator[str]:
    characters = _characters()
    return ("".join(characters[at : at + _BLOCK]) for at in range(0, len(characters), _BLOCK))


def _removed(step: Callable[[str], str]) -> set[int]:
    """The code points that the step drops where they stand."""
    found: set[int] = set()
    for text in _blocks():
        found.update(map(ord, set(text) - set(step(text))))
    return found


def _cut_out(splitter: pre_tokenizers.PreTokenizer) -> set[int]:
    return _removed(lambda text: "".join(piece for piece, _ in splitter.pre_tokenize_str(text)))


def _nonspacing() -> set[int]:
    strip = normalizers.BertNormalizer(
        clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False
    )
    # a decomposed character of its own stays, wherever it is reordered to
    return {ord(c) for c in _characters() if not strip.normalize_str(c)}


def _new() -> set[int]:
    """The code points that newer Unicode versions give a normal form, a combining class, or a composition."""
    nfd, nfkd = normalizers.NFD(), normalizers.NFKD()
    found: set[int] = set()
    # U+0334 has the lowest class but 0, so that any other class is moved behind it; U+0323 has 220
    low, middle = "\u0334", "\u0323"
    for text in _blocks():
        for character in regex.findall(r"[\P{dt=None}\P{ccc=0}]", text):
            plain = nfkd.normalize_str(character) == character
            if regex.match(r"\P{ccc=0}", character) and plain:
                moved = nfd.normalize_str(f"a{character}{low}") == f"a{low}{character}"
                plain = not moved and nfd.normalize_str(f"a{middle}{character}") == f"a{middle}{character}"
            elif regex.match(r"[\uAC00-\uD7A3]", character):
                plain = False
            if plain:
                found.add(ord(character))
    for first, after in _NEW_BLOCKS:
        found.update(range(first, after))
    return found


def _scripts() -> np.ndarray:
    splitter = pre_tokenizers.UnicodeScripts()
    scripts = np.zeros(classes.NUM_CODE_POINTS, dtype=np.uint16)
    known = ["a"]
    last, last_script = "a", 0
    for character in _characters():
        # what goes with every script opens no piece, so alone it is dropped
        if not splitter.pre_tokenize_str(character):
            scripts[ord(character)] = classes.ANY_SCRIPT
            continue
        if len(splitter.pre_tokenize_str(last + character)) == 1:
            script = last_script
        else:
            same = [len(splitter.pre_tokenize_str(other + character)) == 1 for other in known]
            script = same.index(True) if True in same else len(known)
            if script == len(known):
                known.append(character)
        scripts[ord(character)] = script
        last, last_script = character, script
    return scripts


def _lowered() -> dict[str, str]:
    lower = normalizers.Lowercase()
    return {c: lower.normalize_str(c) for c in _characters() if lower.normalize_str(c) != c.lower()}


def _packed(values: np.ndarray) -> str:
    starts = np.flatnonzero(np.diff(values.astype(np.int64), prepend=-1))
    lengths = np.diff(np.append(starts, len(values))).astype("<u4")
    raw = values[starts].astype("<u2").tobytes() + lengths.tobytes()
    return "\n".join(textwrap.wrap(base64.b64encode(zlib.compress(raw, 9)).decode(), 110))


def main() -> None:
    clean = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False
    )
    spaces = _cut_out(pre_tokenizers.WhitespaceSplit())
    properties = {
        classes.MARK: _removed(normalizers.StripAccents().normalize_str),
        classes.NONSPACING: _nonspacing(),
        classes.CONTROL: _removed(clean.normalize_str) - spaces,
        classes.NEW: _new(),
    }
    flags = np.zeros(classes.NUM_CODE_POINTS, dtype=np.uint16)
    for flag, codes in properties.items():
        flags[sorted(codes)] |= flag
        print(flag, len(codes))
    lowered = ",\n    ".join(f"{c!a}: {to!a}" for c, to in sorted(_lowered().items())).replace("'", '"')
    PATH.write_text(
        f'{_HEAD}\nFLAGS = """\n{_packed(flags)}\n"""\nSCRIPTS = """\n{_packed(_scripts())}\n"""\n'
        f"LOWERED = {{\n    {lowered},\n}}\n"
        '"""Lower case where Python 3.11 knows none."""\n'
    )


if __name__ == "__main__":
    main()
