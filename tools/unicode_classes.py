"""Writes `textmill/ops/split/unicode_data.py`: `python -m tools.unicode_classes`. By hand, seldom; needs the peers.

Source of truth: what the character classes of tiktoken's regex engine match, so that token ids agree with tiktoken on
every code point. tiktoken 0.14 and tokenizers 0.23 see the same classes, those of Unicode 16.0. A newer Unicode assigns
more code points; moving to it would change the ids of text that uses them, hence the pin. Punctuation as BERT's
splitting knows it comes from `tokenizers`, whose table is older.
"""

import base64
import hashlib
import textwrap
import zlib
from pathlib import Path

import numpy as np

from textmill.ops.split.classes import CATEGORIES, NUM_CODE_POINTS, SCRIPTS

PATH = Path(__file__).resolve().parents[1] / "src" / "textmill" / "ops" / "split" / "unicode_data.py"
SURROGATES = range(0xD800, 0xE000)
_BLOCK = 20_000
_LINE = 110
_HEAD = '''"""Runs of code points with the same property, from Unicode 16.0; written by `tools/unicode_classes.py`.

Each is base64 of zlib of n bytes, the value of each run, and of its length as a 32-bit number, all lowest bytes first.
"""
'''


def _blocks() -> list[str]:
    code_points = [code for code in range(NUM_CODE_POINTS) if code not in SURROGATES]
    return ["".join(map(chr, code_points[at : at + _BLOCK])) for at in range(0, len(code_points), _BLOCK)]


def matched(pattern: str) -> set[int]:
    """The code points that the pattern matches in tiktoken."""
    import tiktoken

    encoding = tiktoken.Encoding(
        "probe", pat_str=pattern, mergeable_ranks={bytes([byte]): byte for byte in range(256)}, special_tokens={}
    )
    found: set[int] = set()
    for text in _blocks():
        # what no alternative matches is dropped, so that the ids hold the matched characters alone
        found.update(map(ord, encoding.decode_bytes(encoding.encode_ordinary(text)).decode()))
    return found


def punctuation() -> set[int]:
    """The code points that `tokenizers` cuts off as punctuation."""
    from tokenizers import pre_tokenizers

    splitter = pre_tokenizers.Punctuation("removed")
    found: set[int] = set()
    for text in _blocks():
        kept = "".join(piece for piece, _ in splitter.pre_tokenize_str(text))
        found.update(map(ord, set(text) - set(kept)))
    return found


def packed(table: np.ndarray) -> str:
    """Base64 of the zlib-compressed runs of a table of one byte per code point; see the head of `unicode_data`."""
    starts = np.concatenate([[0], np.flatnonzero(np.diff(table)) + 1])
    lengths = np.diff(np.concatenate([starts, [len(table)]])).astype("<u4")
    planes = lengths.view(np.uint8).reshape(-1, 4).T
    raw = table[starts].astype(np.uint8).tobytes() + planes.tobytes()
    return base64.b64encode(zlib.compress(raw, 9)).decode()


def tables() -> dict[str, np.ndarray]:
    """Each table of `unicode_data`, as uint8 per code point."""
    categories = np.full(NUM_CODE_POINTS, CATEGORIES.index("Cn"), np.uint8)
    categories[SURROGATES.start : SURROGATES.stop] = CATEGORIES.index("Cs")
    scripts = np.zeros(NUM_CODE_POINTS, np.uint8)
    word = np.zeros(NUM_CODE_POINTS, np.uint8)
    marks = np.zeros(NUM_CODE_POINTS, np.uint8)
    # Cs and Cn: surrogates are in no text of tiktoken, and the others are what is left
    for kind, name in enumerate(CATEGORIES):
        if name not in ("Cs", "Cn"):
            categories[list(matched(rf"\p{{{name}}}"))] = kind
    for kind, name in enumerate(SCRIPTS[1:], start=1):
        scripts[list(matched(rf"\p{{{name}}}"))] = kind
    word[list(matched(r"\w"))] = 1
    marks[list(punctuation())] = 1
    return {"CATEGORY_RUNS": categories, "SCRIPT_RUNS": scripts, "WORD_RUNS": word, "PUNCTUATION_RUNS": marks}


def main() -> None:
    parts = [_HEAD]
    checksum = hashlib.sha256()
    for name, table in tables().items():
        data = packed(table)
        checksum.update(data.encode())
        parts.append(f'\n{name} = """\n' + "\n".join(textwrap.wrap(data, _LINE)) + '\n"""\n')
    parts.append(f'\nCHECKSUM = "{checksum.hexdigest()}"\n"""SHA-256 of the four above without line ends."""\n')
    PATH.write_text("".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
