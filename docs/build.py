"""Writes the generated pages: `docs/cli.md` from every command's own `--help`, `docs/benchmarks.md` and
the README's table from the benchmarks' results, and the picture of the optimisers' paths.

The page must come out the same on every terminal and every Python, so commands are asked in processes of their own with
a width of 100, no colour and no terminal, and the boxes around their options are taken off.
"""

import argparse
import importlib.metadata
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.harness import RESULTS

from benchmarks import table
from docs import optimizer_paths
from textmill.cli import COMMANDS
from textmill.files import write_text

ROOT = Path(__file__).parent.parent
CLI_PAGE = ROOT / "docs" / "cli.md"

_HEAD = """\
# Command line

Written by `make docs` from the commands' own `--help`, as tyro {tyro} shows it; do not edit.
"""
_COLOUR_SETTINGS = ("FORCE_COLOR", "CLICOLOR_FORCE", "PY_COLORS", "PYTHON_COLORS", "COLORTERM")
_BOX_TOP = re.compile(r"^[╭+][─-]+ (.+?) [─-]*[╮+]$")
_BOX_BOTTOM = re.compile(r"^[╰+][─-]*[╯+]$")
_BOX_LINE = re.compile(r"^[│|] ?(.*?)\s*[│|]$")


def main(arguments: list[str] | None = None) -> int:
    """Writes both pages, says so, and returns 0."""
    parser = argparse.ArgumentParser(prog="python -m docs.build", description=__doc__)
    parser.add_argument("--folder", type=Path, default=CLI_PAGE.parent, help="where to write (default: docs)")
    parser.add_argument("--results", type=Path, default=RESULTS, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    page = chosen.folder / CLI_PAGE.name
    write_text(page, cli_page())
    print(page)
    if chosen.results.exists():
        print(table.write(chosen.results, chosen.folder / table.PAGE.name))
        if chosen.folder == CLI_PAGE.parent:
            print(table.write_summary(chosen.results))
            optimizer_paths.main()
            entries = table.latest(chosen.results)
            for page in sorted([*chosen.folder.glob("methods/*.md"), *chosen.folder.glob("tokenizers/*.md")]):
                table.fill(page, entries)
    return 0


def cli_page() -> str:
    """`docs/cli.md` as it should be."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        overview, *helps = pool.map(help_of, ["", *COMMANDS])
    parts = [_HEAD.format(tyro=tyro_version()), _block(overview)]
    for (name, entry), text in zip(COMMANDS.items(), helps, strict=True):
        parts.append(f"## textmill {name}\n\n{entry.summary[0].upper()}{entry.summary[1:]}.\n")
        parts.append(_block(text))
    return "\n".join(parts)


def help_of(command: str) -> str:
    """What `textmill COMMAND --help` prints, without boxes; "" is `textmill --help`.

    Raises:
        subprocess.CalledProcessError: the command failed; its message is in the error's notes.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _COLOUR_SETTINGS}
    environment |= {"COLUMNS": "100", "LINES": "50", "NO_COLOR": "1", "TERM": "dumb", "PYTHONUTF8": "1"}
    words = [sys.executable, "-m", "textmill", *command.split(), "--help"]
    done = subprocess.run(
        words, env=environment, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode:
        error = subprocess.CalledProcessError(done.returncode, words, done.stdout, done.stderr)
        error.add_note(done.stderr)
        raise error
    return without_boxes(done.stdout)


def without_boxes(text: str) -> str:
    """The text with each box as a title and indented lines.

    >>> print(without_boxes("╭─ options ───────╮\\n│ --seed INT      │\\n╰─────────────────╯"))
    options:
      --seed INT
    """
    lines: list[str] = []
    for line in text.splitlines():
        if top := _BOX_TOP.match(line):
            # tyro leaves no empty line between two boxes
            lines += [""] if lines and lines[-1] else []
            lines.append(f"{top[1]}:")
        elif inside := _BOX_LINE.match(line):
            lines.append(f"  {inside[1]}".rstrip())
        elif not _BOX_BOTTOM.match(line):
            lines.append(line.rstrip())
    return "\n".join(lines).strip("\n")


def tyro_version() -> str:
    """The version of the library that lays out the help."""
    return importlib.metadata.version("tyro")


def sections(page: str) -> dict[str, str]:
    """The page's text under each second-level heading; what stands before the first is under "".

    >>> sections("top\\n## a\\none\\n## b\\ntwo")
    {'': 'top', 'a': 'one', 'b': 'two'}
    """
    first, *rest = re.split(r"^## ", page, flags=re.MULTILINE)
    parted: Iterable[tuple[str, str, str]] = (part.partition("\n") for part in rest)
    return {"": first.strip()} | {title: body.strip() for title, _, body in parted}


def _block(text: str) -> str:
    return f"```text\n{text}\n```\n"


if __name__ == "__main__":
    sys.exit(main())
