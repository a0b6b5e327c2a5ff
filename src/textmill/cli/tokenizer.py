"""`textmill tokenizer ...`"""

from dataclasses import dataclass
from typing import Annotated

import tyro

from textmill.cli.options import Folder


@dataclass(frozen=True, kw_only=True)
class Encode:
    """Text to ids: for each line of text, a line of ids. Reads and writes streams.

    Examples:
      textmill tokenizer encode tok my.txt > my.ids
      textmill tokenizer encode tok my.txt --count
      textmill tokenizer encode tok my.txt --dropout 0.1 --seed 7
    """

    folder: Folder
    """A tokenizer's folder or file."""
    input: Annotated[str, tyro.conf.Positional] = "-"
    """A text file, or - for stdin."""
    special: bool = False
    """Recognise special tokens in the text instead of taking them for plain text."""
    template: bool = False
    """Put the tokenizer's own special tokens around each line, such as [CLS] and [SEP]."""
    count: bool = False
    """Print how many ids each line has, in place of the ids."""
    dropout: float | None = None
    """Of bpe and wordpiece: pass over merges or matches with this probability, as regularisation; 0.1 is usual."""
    alpha: float | None = None
    """Of unigram: draw a segmentation with its probability to this power; 0.1 is usual."""
    seed: int = 0
    """Of --dropout and --alpha: the same seed gives the same ids."""

    def run(self) -> int:
        from textmill.cli.lines import lines
        from textmill.errors import ConfigError
        from textmill.tokenizers import Tokenizer

        sampled = self.dropout is not None or self.alpha is not None
        if sampled and self.template:
            raise ConfigError("--template does not go with --dropout or --alpha", fix="leave one of them out")
        tokenizer = Tokenizer.load(self.folder)
        for number, line in enumerate(lines(self.input)):
            if sampled:
                ids = tokenizer.encode_sampled(
                    line,
                    seed=self.seed + number,
                    dropout=self.dropout,
                    alpha=self.alpha,
                    allow_special=self.special,
                )
            elif self.template:
                ids = tokenizer.batch([line], pad_to=None, allow_special=self.special).ids[0].tolist()
            else:
                ids = tokenizer.encode(line, allow_special=self.special)
            print(len(ids) if self.count else " ".join(map(str, ids)))
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
