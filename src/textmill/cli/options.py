"""Options that mean the same in every command."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

Inputs = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="INPUT...")]
Folder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
Output = Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="DIR")]
OutputOrDefault = Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="DIR")]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How text is read."""

    field: str = "text"
    """The field of jsonl, csv, tsv and parquet rows that holds the text."""
    errors: Literal["strict", "replace", "skip"] = "strict"
    """What to do with invalid UTF-8: stop, put U+FFFD in its place, or skip the document."""
    documents: Literal["auto", "file", "line", "paragraph"] = "auto"
    """What one document is in a plain text file."""


@dataclass(frozen=True, kw_only=True)
class Saying:
    """What is printed."""

    quiet: bool = False
    """No progress, only the result."""
    json: bool = False
    """The result as one JSON object on stdout."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where the arithmetic runs."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes CUDA where there is one."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto takes bf16 where the hardware has it."""
    threads: int | None = None
    """CPU threads; none means all cores."""
