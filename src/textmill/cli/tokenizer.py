"""`textmill tokenizer ...`"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from textmill.cli.options import Folder, Inputs, Output, Reading, Saying


@dataclass(frozen=True, kw_only=True)
class Train(Reading, Saying):
    """Learn a vocabulary from text and write it as a folder with a tokenizer.json.

    Examples:
      textmill tokenizer train my.txt --vocab-size 8000 -o tok
      textmill tokenizer train 'code/**/*.txt' --split cl100k --vocab-size 32000 -o tok
    """

    inputs: Inputs = ("builtin",)
    """Files, folders, globs, - or builtin."""
    output: Output = Path("tokenizer")
    """The folder to write."""
    algorithm: Literal["bpe"] = "bpe"
    """Byte-level byte-pair encoding, as in GPT-2."""
    vocab_size: int = 8192
    """How many tokens, special tokens and the 256 bytes included."""
    split: str = "gpt2"
    """How text is cut into pieces first: gpt2, cl100k, o200k, or a regular expression."""
    special_tokens: tuple[str, ...] = ("<|endoftext|>",)
    """Tokens that no text encodes to by itself; the first ends a document."""
    min_frequency: int = 0
    """A pair seen less often than this is not merged."""
    force: bool = False
    """Write into a folder that holds something else."""

    def run(self) -> int:
        from textmill.cli.terminal import reading_bar, stderr
        from textmill.corpus import ReadReport, read_documents, resolve_inputs
        from textmill.files import claim_output
        from textmill.tokenizers import Tokenizer

        report = ReadReport()
        sources = list(resolve_inputs(self.inputs))
        claim_output(self.output, marker="tokenizer.json", force=self.force)
        documents = read_documents(
            sources, field=self.field, errors=self.errors, documents=self.documents, report=report
        )
        with reading_bar(sources, report, quiet=self.quiet) as watched:
            tokenizer = Tokenizer.train(
                watched(documents),
                algorithm=self.algorithm,
                vocab_size=self.vocab_size,
                split=self.split,
                special_tokens=self.special_tokens,
                min_frequency=self.min_frequency,
            )
        tokenizer.save(self.output)
        if not self.quiet:
            stderr().print(f"{report.summary()} -> {tokenizer.vocab_size:,} tokens in {self.output}")
        if self.json:
            print(json.dumps({"folder": str(self.output), "vocab_size": tokenizer.vocab_size}))
        return 0


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
