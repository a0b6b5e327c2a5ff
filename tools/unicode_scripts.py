"""Writes `textmill/ops/unigram/script_data.py`: `python -m tools.unicode_scripts`. By hand, seldom.

Source of truth: the scripts of the `regex` module, for the code points that Unicode 16.0 assigns; the others are
unknown. A script of a later Unicode has no number here.
"""

import hashlib
import textwrap
from pathlib import Path

import numpy as np
import regex

from textmill.ops.split.classes import CATEGORIES, NUM_CODE_POINTS, category_table
from textmill.ops.unigram.piece_rules import SCRIPTS
from tools.unicode_classes import packed

PATH = Path(__file__).resolve().parents[1] / "src" / "textmill" / "ops" / "unigram" / "script_data.py"
_LINE = 110
_HEAD = '''"""Runs of code points with the same script, from Unicode 16.0; written by `tools/unicode_scripts.py`.

Base64 of zlib of n bytes, the value of each run, and of its length as a 32-bit number, all lowest bytes first.
"""
'''


def table() -> np.ndarray:
    """uint8 [code points]: the place in `SCRIPTS` of each code point's script."""
    unassigned = np.isin(category_table(), [CATEGORIES.index("Cn"), CATEGORIES.index("Cs")])
    text = "".join("\0" if skip else chr(code) for code, skip in enumerate(unassigned))
    scripts = np.full(NUM_CODE_POINTS, SCRIPTS.index("Unknown"), np.uint8)
    for number, name in enumerate(SCRIPTS):
        for match in regex.finditer(rf"\p{{Script={name}}}+", text):
            scripts[match.start() : match.end()] = number
    scripts[unassigned] = SCRIPTS.index("Unknown")
    return scripts


def main() -> None:
    runs = packed(table())
    checksum = hashlib.sha256(runs.encode()).hexdigest()
    body = "\n".join(textwrap.wrap(runs, _LINE))
    PATH.write_text(f'{_HEAD}\nSCRIPT_RUNS = """\n{body}\n"""\nCHECKSUM = "{checksum}"\n', encoding="utf-8")


if __name__ == "__main__":
    main()
