"""Stages that every run from text begins with: read, learn a tokenizer, write token shards."""

import dataclasses
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from textmill.data.spec import ShardSpec
from textmill.errors import ConfigError
from textmill.recipes.stages import Facts, Stage, Tell
from textmill.tokenizers.spec import TokenizerSpec

if TYPE_CHECKING:
    from textmill.corpus import ReadReport

TOKENIZER = "tokenizer"
SHARDS = "shards"

TELL_EVERY = 256
"""Documents between two words about progress."""


@dataclass(frozen=True, kw_only=True)
class Text:
    """Settings of the text and its tokenizer."""

    corpus: str | tuple[str, ...] = "builtin"
    """Files, folders or globs; or builtin, the prose of the running Python's own documentation."""
    field: str = "text"
    """The field of jsonl, csv, tsv and parquet rows that holds the text."""
    errors: Literal["strict", "replace", "skip"] = "strict"
    """What becomes of invalid UTF-8."""
    documents: Literal["auto", "file", "line", "paragraph"] = "auto"
    """What one document is in a plain text file."""
    tokenizer: TokenizerSpec = dataclasses.field(default_factory=TokenizerSpec)
    """The tokenizer to train."""
    tokenizer_from: str | None = None
    """The folder or file of a tokenizer to use instead."""
    shards: ShardSpec = dataclasses.field(default_factory=ShardSpec)


def tokenizer_stage(text: Text) -> Stage:
    """Learns the tokenizer from the training split alone, or takes the one that `tokenizer_from` names."""
    inputs: dict[str, Any] = {"corpus": corpus_identity(text), "reading": [text.field, text.errors, text.documents]}
    if text.tokenizer_from is not None:
        from textmill.tokenizers import Tokenizer

        inputs["tokenizer"] = Tokenizer.load(text.tokenizer_from).fingerprint()
        title = f"take the tokenizer of {text.tokenizer_from}"
    else:
        inputs["tokenizer"] = text.tokenizer
        inputs["split"] = [text.shards.validation_fraction, text.shards.split_seed]
        title = f"learn a tokenizer of {text.tokenizer.vocab_size:,} tokens"

    def run(folder: Path, _: Facts, tell: Tell) -> Mapping[str, Any]:
        from textmill.data.split import split_documents
        from textmill.tokenizers import Tokenizer

        if text.tokenizer_from is not None:
            tokenizer = Tokenizer.load(text.tokenizer_from)
        else:
            shards = text.shards
            split = split_documents(read(text, tell), shards.validation_fraction, shards.split_seed)
            training = (document for document, held_out in split if not held_out)
            tokenizer = Tokenizer.train(training, text.tokenizer)
        tokenizer.save(folder / TOKENIZER)
        return {"vocab_size": tokenizer.vocab_size, "told": f"{tokenizer.vocab_size:,} tokens"}

    return Stage(name="tokenizer", title=title, inputs=inputs, outputs=(f"{TOKENIZER}/tokenizer.json",), run=run)


def shards_stage(text: Text) -> Stage:
    """Encodes the text into memory-mapped shards, held-out documents apart."""

    def run(folder: Path, _: Facts, tell: Tell) -> Mapping[str, Any]:
        from textmill.corpus import ReadReport
        from textmill.data.build import build_shards
        from textmill.tokenizers import Tokenizer

        counts = ReadReport()
        documents = read(text, tell, counts)
        report = build_shards(documents, Tokenizer.load(folder / TOKENIZER), folder / SHARDS, text.shards)
        train, held_out = report.train, report.validation
        return {
            "train": dataclasses.asdict(train),
            "held_out": dataclasses.asdict(held_out),
            "bytes_per_token": report.bytes_per_token,
            "replaced": counts.replaced,
            "skipped": counts.skipped,
            "told": f"{counts.summary()}: {train.tokens:,} tokens to learn from, {held_out.tokens:,} held out",
        }

    return Stage(name="shards", title="turn the text into token shards", inputs=text.shards, outputs=(SHARDS,), run=run)


def read(text: Text, tell: Tell, counts: "ReadReport | None" = None) -> Iterator[bytes]:
    """The documents that the settings name; tells how many bytes were taken from the disk, and counts."""
    from textmill.corpus import ReadReport, read_documents, resolve_inputs

    report = counts or ReadReport()
    sources = resolve_inputs(_inputs(text))
    sizes = [size for source in sources if (size := source.stored_size()) is not None]
    total = sum(sizes) if len(sizes) == len(sources) else None
    documents = read_documents(sources, field=text.field, errors=text.errors, documents=text.documents, report=report)
    for number, document in enumerate(documents):
        if number % TELL_EVERY == 0:
            tell(report.stored_bytes, total)
        yield document


def corpus_identity(text: Text) -> list[Any]:
    """What tells whether the text has changed: each file's name, size and time; the Python of the built-in corpus.

    Raises:
        ConfigError: standard input or a pipe, which can't be read twice.
        DataError: a file is missing.
    """
    from textmill.corpus import STDIN, resolve_inputs

    identity: list[Any] = []
    for source in resolve_inputs(_inputs(text)):
        if source.path is not None and source.path.is_file():
            status = source.path.stat()
            identity.append([str(source.path.resolve()), status.st_size, status.st_mtime_ns])
        elif source.path is not None or STDIN in _inputs(text):
            raise ConfigError(
                f"a run reads its text more than once, which {source.name} can't give", fix="save it to a file first"
            )
        else:
            identity.append([source.name, platform.python_version()])
    return identity


def _inputs(text: Text) -> tuple[str, ...]:
    return (text.corpus,) if isinstance(text.corpus, str) else text.corpus
