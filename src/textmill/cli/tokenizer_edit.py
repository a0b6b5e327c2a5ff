"""`textmill tokenizer extend`, `add`, `prune` and `merge`: another vocabulary.

FOLDER is a tokenizer's folder or file, or a model's folder, whose embeddings are carried along.
"""

import contextlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from textmill.cli.options import Folder, Inputs, Output, Reading, Saying

if TYPE_CHECKING:
    from textmill.folder import ModelFolder
    from textmill.tokenizers import Tokenizer
    from textmill.tokenizers.surgery import Edit

MEASURED_BYTES = 4 << 20
"""Bytes per token are measured on the first so many bytes of the text."""
_WEIGHTS = (".safetensors", ".safetensors.index.json", ".bin")

Words = Annotated[str | None, tyro.conf.arg(metavar="A,B,C")]
WordsFile = Annotated[Path | None, tyro.conf.arg(metavar="FILE")]


@dataclass(frozen=True, kw_only=True)
class Editing:
    """What happens to a model's embeddings, and where the result goes."""

    output: Output
    """The folder to write: the tokenizer or the model, and ids.json with the old and new ids."""
    new_rows: Literal["mean", "weighted", "zero"] = "mean"
    """What a new token's embedding is: the mean of the tokens it replaces, the same by their bytes, or zeros."""
    multiple_of: int = 1
    """Round the number of a model's embeddings up to a multiple of this."""
    force: bool = False
    """Write into a folder that holds something else."""


@dataclass(frozen=True, kw_only=True)
class Extend(Editing, Reading, Saying):
    """Learn more tokens from new text. Old ids stay as they are, new ones follow.

    Examples:
      textmill tokenizer extend tok medical.txt --tokens 2000 -o larger
      textmill tokenizer extend runs/quickstart/model german.txt --tokens 4000 -o model-de
    """

    folder: Folder
    """A tokenizer's or a model's folder."""
    inputs: Inputs
    """Files, folders, globs, - or builtin."""
    tokens: int
    """How many new tokens."""
    min_frequency: int = 0
    """What is seen less often becomes no token."""
    max_token_length: int | None = None
    """The longest new token, in bytes or characters."""
    allow_fewer: bool = False
    """Take fewer tokens where the text gives no more."""
    threads: int = 1
    """CPU threads."""

    def run(self) -> int:
        from textmill.tokenizers.surgery import extend
        from textmill.tokenizers.surgery.extending import ExtensionRules

        before, model = _opened(self.folder)
        rules = ExtensionRules(
            min_frequency=self.min_frequency, max_token_length=self.max_token_length, allow_fewer=self.allow_fewer
        )
        seen = _Beginning()
        with _documents(self, self, self.inputs) as documents:
            edit = extend(before, seen.of(documents), self.tokens, rules, threads=self.threads)
        return _finish(self, before, model, edit, self, seen.texts)


@dataclass(frozen=True, kw_only=True)
class Prune(Editing, Reading, Saying):
    """Keep the tokens that a text uses most, and what they are made of. Ids become dense, in their old order.

    Example:
      textmill tokenizer prune gpt2 my.txt --vocab-size 20000 -o smaller
    """

    folder: Folder
    """A tokenizer's or a model's folder."""
    inputs: Inputs
    """Files, folders, globs, - or builtin."""
    vocab_size: int | None = None
    """How many tokens to keep."""
    min_count: int | None = None
    """Or: keep the tokens that are used so often."""
    drop_characters: bool = False
    """Characters that the text does not use may go too; without a token or bytes they are then unknown."""
    threads: int = 1
    """CPU threads."""

    def run(self) -> int:
        from textmill.tokenizers.surgery import prune

        before, model = _opened(self.folder)
        keep: set[int] = set()
        if model is not None:
            from textmill.tasks.edit_vocabulary import named_ids

            keep = named_ids(model)
        seen = _Beginning()
        with _documents(self, self, self.inputs) as documents:
            edit = prune(
                before,
                seen.of(documents),
                vocab_size=self.vocab_size,
                min_count=self.min_count,
                keep=keep,
                keep_alphabet=not self.drop_characters,
                threads=self.threads,
            )
        return _finish(self, before, model, edit, self, seen.texts)


@dataclass(frozen=True, kw_only=True)
class Merge(Editing, Saying):
    """Put a second tokenizer's tokens behind those of the first, which keep their ids.

    Example:
      textmill tokenizer merge english german -o both
    """

    folder: Folder
    """A tokenizer's or a model's folder."""
    other: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OTHER")]
    """The tokenizer whose tokens are added; it must normalise and split alike."""

    def run(self) -> int:
        from textmill.tokenizers import Tokenizer
        from textmill.tokenizers.surgery import merge

        before, model = _opened(self.folder)
        return _finish(self, before, model, merge(before, Tokenizer.load(self.other)), self, [])


@dataclass(frozen=True, kw_only=True)
class Add(Editing, Saying):
    """Make words, or several words together, tokens of their own.

    A word is meant as it stands in a text. In byte-level vocabularies a word after a blank is another token than the
    word at the beginning of a line: --after-blank adds that one too.

    Examples:
      textmill tokenizer add tok --words photosynthesis,chlorophyll --after-blank -o larger
      textmill tokenizer add tok --words-file terms.txt -o larger
    """

    folder: Folder
    """A tokenizer's or a model's folder."""
    words: Words = None
    """The words, with commas between them."""
    words_file: WordsFile = None
    """A text file with a word on each line; blanks count."""
    after_blank: bool = False
    """Also each word with a blank before it."""

    def run(self) -> int:
        from textmill.tokenizers.surgery import add_words

        before, model = _opened(self.folder)
        return _finish(self, before, model, add_words(before, self._chosen()), self, [])

    def _chosen(self) -> list[str]:
        from textmill.cli.lines import lines
        from textmill.errors import ConfigError

        if (self.words is None) == (self.words_file is None):
            raise ConfigError("words come from --words or from --words-file, one of the two", fix="give one")
        named = self.words.split(",") if self.words is not None else lines(str(self.words_file))
        words = [word for word in named if word]
        return [form for word in words for form in ((word, " " + word) if self.after_blank else (word,))]


class _Beginning:
    """The first documents of a text that is read once."""

    def __init__(self) -> None:
        self.texts: list[bytes] = []

    def of(self, documents: Iterable[bytes]) -> Iterator[bytes]:
        """All documents; the first ones are kept."""
        size = 0
        for document in documents:
            if size < MEASURED_BYTES:
                self.texts.append(document[: MEASURED_BYTES - size])
                size += len(document)
            yield document


def _opened(path: Path) -> "tuple[Tokenizer, ModelFolder | None]":
    """The tokenizer at a path, and the model if there is one with it."""
    from textmill.folder import CONFIG, load
    from textmill.tokenizers import Tokenizer

    if path.is_dir() and (path / CONFIG).is_file() and any(file.name.endswith(_WEIGHTS) for file in path.iterdir()):
        folder = load(path)
        # an architecture that can't be read is said before the work, not after it
        _ = folder.config
        return folder.tokenizer, folder
    return Tokenizer.load(path), None


@contextlib.contextmanager
def _documents(reading: Reading, saying: Saying, inputs: tuple[str, ...]) -> Iterator[Iterator[bytes]]:
    """The documents, with a bar for those that have been read."""
    from textmill.cli.terminal import reading_bar
    from textmill.corpus import ReadReport, read_documents, resolve_inputs

    report = ReadReport()
    sources = list(resolve_inputs(inputs))
    documents = read_documents(
        sources, field=reading.field, errors=reading.errors, documents=reading.documents, report=report
    )
    with reading_bar(sources, report, quiet=saying.quiet) as watched:
        yield watched(documents)


def _finish(
    where: Editing, before: "Tokenizer", model: "ModelFolder | None", edit: "Edit", saying: Saying, texts: list[bytes]
) -> int:
    """Writes the result and says what has changed."""
    if model is not None:
        from textmill.tasks.edit_vocabulary import edit_model

        edit_model(
            model,
            edit,
            where.output,
            new_rows=where.new_rows,
            multiple_of=where.multiple_of,
            force=where.force,
        )
    else:
        _save(where, edit)
    facts = _facts(before, edit, texts)
    if not saying.quiet:
        _tell(facts, where.output, model is not None)
    if saying.json:
        print(json.dumps({"folder": str(where.output), **facts}))
    return 0


def _save(where: Editing, edit: "Edit") -> None:
    from textmill.files import claim_output, write_json

    claim_output(where.output, marker="tokenizer.json", force=where.force)
    edit.tokenizer.save(where.output)
    write_json(where.output / "ids.json", edit.to_json(), indent=None)


def _facts(before: "Tokenizer", edit: "Edit", texts: list[bytes]) -> dict[str, Any]:
    gone = int((edit.old_to_new < 0).sum())
    facts: dict[str, Any] = {
        "vocab_size": {"before": before.vocab_size, "after": edit.tokenizer.vocab_size},
        "tokens": {"kept": len(edit.old_to_new) - gone, "gone": gone, "new": len(edit.new_pieces)},
    }
    if texts:
        size = sum(map(len, texts))
        lengths = [len(tokenizer.encode_documents(texts)[0]) for tokenizer in (before, edit.tokenizer)]
        rates = [round(size / max(1, length), 4) for length in lengths]
        facts["bytes_per_token"] = {"before": rates[0], "after": rates[1], "measured_bytes": size}
    return facts


def _tell(facts: dict[str, Any], output: Path, has_model: bool) -> None:
    from textmill.cli.terminal import stderr

    sizes, tokens = facts["vocab_size"], facts["tokens"]
    told = f"{sizes['before']:,} -> {sizes['after']:,} tokens ({tokens['new']:,} new, {tokens['gone']:,} gone)"
    if "bytes_per_token" in facts:
        rates = facts["bytes_per_token"]
        told += f", {rates['before']:.2f} -> {rates['after']:.2f} bytes per token"
    stderr().print(f"{told}; the {'model' if has_model else 'tokenizer'} is in {output}", markup=False)
