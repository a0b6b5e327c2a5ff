"""Writes `textmill/ops/wordpiece/character_data.py`: `python -m tools.bert_characters`. By hand, seldom.

Source of truth: what the normaliser and the splitter of `tokenizers` 0.23 do to each code point. Their tables come from
three versions of Unicode (categories 8, decompositions and combining classes 9, lower case 17), so no one version of
`unicodedata` has them. Combining classes never change once given: `unicodedata` knows them, and the order in which
`tokenizers` puts two marks tells which code points it gives one.
"""

import textwrap
import unicodedata
import zlib
from base64 import b64encode
from pathlib import Path

import numpy as np
from tokenizers import normalizers, pre_tokenizers

from textmill.ops.wordpiece.characters import (
    CHINESE,
    CONTROL,
    MARK,
    NUM_CODE_POINTS,
    PUNCTUATION,
    SPACE,
    WHITE,
    is_hangul,
)

PATH = Path(__file__).resolve().parents[1] / "src" / "textmill" / "ops" / "wordpiece" / "character_data.py"
_LINE = 110
_HEAD = '''"""What BERT's normaliser knows about code points; written by `tools/bert_characters.py`.

RUNS: n bytes, the row of KINDS of each run of code points, then n lengths as 32-bit numbers, all lowest bytes first.
DECOMPOSED, LOWER: a line for each code point, the character and what it becomes. All are base64 of zlib.
"""

KINDS = {kinds}
"""(flags, combining class)."""
'''
_OVERLAY, _IOTA_BELOW = "\u0334", "\u0345"
"""The lowest combining class, 1, and the highest, 240."""


def bert(**settings: bool) -> normalizers.Normalizer:
    """BERT's normaliser with the named steps alone."""
    steps = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}
    return normalizers.BertNormalizer(**(steps | settings))


def properties(code_points: list[int], decomposed: dict[int, str]) -> list[tuple[int, int]]:
    """(flags, combining class) of each code point below `NUM_CODE_POINTS`."""
    clean, chinese = bert(clean_text=True).normalize_str, bert(handle_chinese_chars=True).normalize_str
    strip, split = bert(strip_accents=True).normalize_str, pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    order = normalizers.NFD().normalize_str
    found = [(0, 0)] * NUM_CODE_POINTS
    for code in code_points:
        char = chr(code)
        flags = {"": CONTROL, " ": WHITE}.get(clean(char), 0)
        flags |= CHINESE if chinese(char) != char else 0
        # decomposed characters are stripped part by part
        flags |= MARK if code not in decomposed and strip(char) == "" else 0
        flags |= {1: 0, 2: SPACE, 3: PUNCTUATION}[len(split(f"a{char}b"))]
        combining = unicodedata.combining(char)
        sorts = code not in decomposed and any(
            order(pair) != pair for pair in (f"a{_IOTA_BELOW}{char}", f"a{char}{_OVERLAY}")
        )
        assert combining or not sorts, f"unicodedata is older than tokenizers: U+{code:04X}"
        found[code] = flags, combining if sorts else 0
    return found


def packed_runs(kinds: np.ndarray) -> bytes:
    """See the head of `character_data`."""
    starts = np.concatenate([[0], np.flatnonzero(np.diff(kinds)) + 1])
    lengths = np.diff(np.concatenate([starts, [len(kinds)]])).astype("<u4")
    return kinds[starts].astype(np.uint8).tobytes() + lengths.view(np.uint8).reshape(-1, 4).T.tobytes()


def literal(name: str, raw: bytes) -> str:
    """The assignment, in Python, of a packed string."""
    lines = textwrap.wrap(b64encode(zlib.compress(raw, 9)).decode(), _LINE)
    return "\n".join(["", f'{name} = """', *lines, '"""', ""])


def main() -> None:
    code_points = [code for code in range(NUM_CODE_POINTS) if not 0xD800 <= code < 0xE000]
    decompose, lower = normalizers.NFD().normalize_str, bert(lowercase=True).normalize_str
    decomposed = {code: text for code in code_points if (text := decompose(chr(code))) != chr(code)}
    lowered = {code: text for code in code_points if (text := lower(chr(code))) != chr(code)}
    table = properties(code_points, decomposed)
    kinds = sorted(set(table))
    shown = textwrap.wrap(str(kinds)[1:-1], _LINE, break_on_hyphens=False)
    parts = [_HEAD.format(kinds="\n    ".join(["[", *shown]) + ",\n]")]
    parts.append(literal("RUNS", packed_runs(np.array([kinds.index(pair) for pair in table]))))
    for name, mapping in (("DECOMPOSED", decomposed), ("LOWER", lowered)):
        lines = [chr(code) + text for code, text in mapping.items() if not is_hangul(code)]
        parts.append(literal(name, "\n".join(lines).encode()))
    PATH.write_text("".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
