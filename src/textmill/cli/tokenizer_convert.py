"""`textmill tokenizer convert`"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from textmill.cli.options import Folder, Reading, Saying

Target = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DST")]
On = Annotated[tuple[str, ...], tyro.conf.arg(metavar="INPUT...")]


@dataclass(frozen=True, kw_only=True)
class Convert(Reading, Saying):
    """Write a tokenizer in another format, and check on thousands of odd texts that it gives the same ids.

    The name says the format: a folder or .json (tokenizer.json), .tiktoken, .model (sentencepiece, with .vocab beside
    it), vocab.txt (BERT), vocab.json (with merges.txt beside it), tekken.json (Mistral). GGUF files are read.

    Examples:
      textmill tokenizer convert tok tok.model
      textmill tokenizer convert cl100k_base.tiktoken cl100k
      textmill tokenizer convert model.gguf tok --on my.txt
    """

    source: Folder
    """A tokenizer's folder or file."""
    destination: Target
    """The file or folder to write."""
    split: str | None = None
    """The splitting pattern, where the source is a format that holds none."""
    on: On = ()
    """More text to check on: files, folders or globs."""

    def run(self) -> int:
        from textmill.cli.terminal import stderr
        from textmill.corpus import ReadReport, read_documents, resolve_inputs
        from textmill.tokenizers import Tokenizer
        from textmill.tokenizers.converting import convert

        source = Tokenizer.load(self.source, split=self.split)
        texts: Iterator[str] = iter(())
        if self.on:
            sources, report = list(resolve_inputs(self.on)), ReadReport()
            documents = read_documents(
                sources, field=self.field, errors=self.errors, documents=self.documents, report=report
            )
            texts = (document.decode("utf-8", "replace") for document in documents)
        done = convert(source, self.destination, texts=texts)
        if not self.quiet:
            stderr().print(f"{self.source} -> {self.destination}: the same ids on {done.num_texts:,} texts")
            for part in done.missing:
                stderr().print(f"the file does not hold {part}", style="yellow", markup=False)
        if self.json:
            facts = {"texts_checked": done.num_texts, "missing": done.missing}
            print(json.dumps({"destination": str(self.destination)} | facts))
        return 0
