"""`textmill tokenizer ...`"""

import json
from dataclasses import dataclass
from typing import Annotated

import tyro

from textmill.cli.options import Folder


@dataclass(frozen=True, kw_only=True)
class Encode:
    """Text to ids: for each line of text, a line of ids. Reads and writes streams.

    Example:
      textmill tokenizer encode tok my.txt > my.ids
    """

    folder: Folder
    """A tokenizer's folder or file."""
    input: Annotated[str, tyro.conf.Positional] = "-"
    """A text file, or - for stdin."""
    special: bool = False
    """Recognise special tokens in the text instead of taking them for plain text."""

    def run(self) -> int:
        from textmill.cli.lines import lines
        from textmill.tokenizers import Tokenizer

        tokenizer = Tokenizer.load(self.folder)
        for line in lines(self.input):
            ids = tokenizer.encode(line, allow_special=self.special)
            print(*ids)
        return 0


@dataclass(frozen=True, kw_only=True)
class Decode:
    """Ids back to text: for each line of ids, its text and a line end.

    Example:
      textmill tokenizer decode tok my.ids
    """

    folder: Folder
    """A tokenizer's folder or file."""
    input: Annotated[str, tyro.conf.Positional] = "-"
    """A file of ids, or - for stdin."""

    def run(self) -> int:
        from textmill.cli.lines import lines
        from textmill.errors import DataError
        from textmill.tokenizers import Tokenizer

        tokenizer = Tokenizer.load(self.folder)
        for number, line in enumerate(lines(self.input), start=1):
            try:
                ids = [int(word) for word in line.split()]
            except ValueError:
                raise DataError(
                    f"line {number} of {self.input} must hold ids, got {line[:60]!r}",
                    fix="write whole numbers with spaces between them",
                ) from None
            print(tokenizer.decode(ids))
        return 0


@dataclass(frozen=True, kw_only=True)
class Show:
    """The text, coloured by token, with the ids below it.

    Example:
      textmill tokenizer show tok "The quick brown fox"
    """

    folder: Folder
    """A tokenizer's folder or file."""
    text: Annotated[str, tyro.conf.Positional]
    special: bool = False
    """Recognise special tokens in the text."""
    json: bool = False
    """The tokens as one JSON object."""

    def run(self) -> int:
        from textmill.tokenizers import Tokenizer

        tokenizer = Tokenizer.load(self.folder)
        ids = tokenizer.encode(self.text, allow_special=self.special)
        tokens = [tokenizer.id_to_bytes(token) for token in ids]
        if self.json:
            shown = [token.decode("utf-8", "backslashreplace") for token in tokens]
            print(json.dumps({"ids": ids, "tokens": shown}, ensure_ascii=False))
        else:
            _print_tokens(ids, tokens)
        return 0


def _print_tokens(ids: list[int], tokens: list[bytes]) -> None:
    from rich.text import Text

    from textmill.cli.terminal import stdout

    colours = ("on #2f4858", "on #33658a", "on #55713c", "on #7a4f2f", "on #5b3a66")
    text = Text()
    for index, token in enumerate(tokens):
        shown = token.decode("utf-8", "backslashreplace").replace("\n", "⏎\n").replace("\t", "⇥")
        text.append(shown, style=f"white {colours[index % len(colours)]}")
    console = stdout()
    console.print(text)
    console.print(" ".join(map(str, ids)), style="dim")
    size = sum(map(len, tokens))
    console.print(f"{len(ids)} tokens, {size / max(1, len(ids)):.2f} bytes each", style="dim")
