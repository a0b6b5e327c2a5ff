"""`textmill tokenizer show` and `textmill tokenizer compare`"""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from textmill.cli.options import Folder, OutputOrDefault, Reading, Saying

if TYPE_CHECKING:
    from textmill.tokenizers import Tokenizer

_PLAIN_NAMES = ("tokenizer", "vocab", "tekken", "spiece", "sentencepiece", "encoder")
"""File names that say nothing of whose tokenizer it is; then the folder's name does."""
_LONGEST_SHOWN = 24

Folders = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER...")]


@dataclass(frozen=True, kw_only=True)
class Show:
    """The text, coloured by token, with the ids below it; without a text, what the tokenizer is.

    Examples:
      textmill tokenizer show tok "The quick brown fox"
      textmill tokenizer show tok
      textmill tokenizer show tok "naïve 猫" --diff other-tok
      textmill tokenizer show tok --tree " people"
      textmill tokenizer show tok "The quick brown fox" --html fox.html
    """

    folder: Folder
    """A tokenizer's folder or file."""
    text: Annotated[str, tyro.conf.Positional] = ""
    """The text to cut into tokens."""
    special: bool = False
    """Recognise special tokens in the text."""
    tree: str = ""
    """Show how merges build this token, named by its spelling, its text or its id (BPE only)."""
    diff: Path | None = None
    """Another tokenizer: show where both cut the text, one above the other."""
    html: Path | None = None
    """Write the text with its coloured tokens as a page that needs nothing else."""
    json: bool = False
    """The result as one JSON object."""

    def run(self) -> int:
        from textmill.errors import ConfigError
        from textmill.tokenizers import Tokenizer

        if not self.text and (self.diff is not None or self.html is not None):
            option = "--diff" if self.diff is not None else "--html"
            raise ConfigError(f"{option} needs a text to cut, got none", fix="give the text after the folder")
        if self.tree and self.text:
            raise ConfigError("--tree is about one token and takes no text, got both", fix="leave one of them out")
        tokenizer = Tokenizer.load(self.folder)
        if self.tree:
            return self._show_tree(tokenizer)
        if not self.text:
            return self._describe(tokenizer)
        return self._show_text(tokenizer)

    def _show_text(self, tokenizer: "Tokenizer") -> int:
        from textmill.cli.terminal import stderr, stdout
        from textmill.files import write_text
        from textmill.report.tokens_terminal import print_cells, print_difference
        from textmill.tasks.judge import algorithm_of, cells, side_by_side
        from textmill.tokenizers import Tokenizer

        names = names_of([self.folder] if self.diff is None else [self.folder, self.diff])
        rows = [cells(tokenizer, self.text, allow_special=self.special)]
        if self.diff is not None:
            rows.append(cells(Tokenizer.load(self.diff), self.text, allow_special=self.special))
            rows = list(side_by_side(rows))
        if self.html is not None:
            from textmill.report.tokens_html import tokens_page

            algorithm = algorithm_of(tokenizer)
            page = tokens_page(rows[0], name=names[0], algorithm=algorithm, vocab_size=tokenizer.vocab_size)
            write_text(self.html, page)
            stderr().print(f"wrote {self.html}", markup=False)
        if self.json:
            shown = [_tokens_as_json(row) for row in rows]
            print(json.dumps(shown[0] | ({"other": shown[1]} if len(shown) > 1 else {}), ensure_ascii=False))
        elif self.diff is not None:
            print_difference((names[0], names[1]), (rows[0], rows[1]), stdout())
        elif self.html is None:
            print_cells(rows[0], stdout())
        return 0

    def _show_tree(self, tokenizer: "Tokenizer") -> int:
        from textmill.cli.terminal import stdout
        from textmill.report.tokens_terminal import print_tree
        from textmill.tasks.merge_tree import as_json, merge_tree

        roots = merge_tree(tokenizer, self.tree)
        if self.json:
            print(json.dumps({"tree": [as_json(root) for root in roots]}, ensure_ascii=False))
        else:
            print_tree(roots, stdout())
        return 0

    def _describe(self, tokenizer: "Tokenizer") -> int:
        from textmill.cli.terminal import stdout
        from textmill.report.tokens_terminal import print_facts
        from textmill.tasks.describe import describe

        described = describe(tokenizer)
        if self.json:
            print(json.dumps(dataclasses.asdict(described), ensure_ascii=False))
        else:
            print_facts(_facts(described), stdout())
        return 0


@dataclass(frozen=True, kw_only=True)
class Compare(Reading, Saying):
    """Measure tokenizers on the same text: sizes, tokens per word, coverage, efficiency, speed, and where they cut.

    Examples:
      textmill tokenizer compare tok other-tok --on my.txt
      textmill tokenizer compare tok bert/vocab.txt llama.model --on 'news/*.jsonl.gz' -o comparison
    """

    folders: Folders
    """Tokenizers' folders or files."""
    on: tuple[str, ...] = ("builtin",)
    """The text: files, folders, globs, - or builtin."""
    output: OutputOrDefault = None
    """A folder for metrics.json and comparison.html."""
    megabytes: float = 10.0
    """Measure on at most so many megabytes from the beginning of the text."""
    alpha: float = 2.5
    """The order of the Rényi entropy; 1 is Shannon's."""
    force: bool = False
    """Write into a folder that holds something else."""

    def run(self) -> int:
        from textmill.cli.terminal import progress_of, stderr, stdout
        from textmill.errors import ConfigError
        from textmill.files import claim_output, write_json, write_text
        from textmill.report.tokens_terminal import print_comparison
        from textmill.tasks.judge import compare
        from textmill.tokenizers import Tokenizer

        if not self.folders:
            raise ConfigError("there must be a tokenizer to judge, got none", fix="name one or more before --on")
        if not 0 < self.alpha < float("inf"):
            raise ConfigError(f"--alpha must be > 0, got {self.alpha}", fix="use 2.5")
        if not 0 < self.megabytes < float("inf"):
            raise ConfigError(f"--megabytes must be > 0, got {self.megabytes}", fix="use 10")
        if self.output is not None:
            claim_output(self.output, marker="metrics.json", force=self.force)
        names = names_of(self.folders)
        tokenizers = {name: Tokenizer.load(folder) for name, folder in zip(names, self.folders, strict=True)}
        documents = self._documents()
        with progress_of("judging", quiet=self.quiet or self.json) as move:
            result = compare(tokenizers, documents, text=", ".join(self.on), alpha=self.alpha, progress=move)
        judged = [dataclasses.asdict(one) for one in result.judgements]
        measured = {"text": result.text, "bytes": result.num_bytes, "tokenizers": judged}
        if self.output is not None:
            from textmill.report.tokens_html import comparison_page

            write_json(self.output / "metrics.json", measured)
            write_text(self.output / "comparison.html", comparison_page(result))
            if not self.quiet:
                stderr().print(f"wrote {self.output / 'metrics.json'} and comparison.html", markup=False)
        if self.json:
            print(json.dumps(measured, ensure_ascii=False))
        else:
            print_comparison(result, stdout())
        return 0

    def _documents(self) -> list[bytes]:
        """The first documents, up to the limit.

        Raises:
            DataError: there is none.
        """
        from textmill.corpus import ReadReport, read_documents, resolve_inputs
        from textmill.errors import DataError

        sources = list(resolve_inputs(self.on))
        report = ReadReport()
        found = read_documents(sources, field=self.field, errors=self.errors, documents=self.documents, report=report)
        kept = list(up_to(found, round(self.megabytes * 1e6)))
        if not kept:
            raise DataError("tokenizers are judged on a text, got none", fix="name a file with text after --on")
        return kept


def up_to(documents: Iterable[bytes], most_bytes: int) -> Iterable[bytes]:
    """Documents until there are so many bytes; the last one is cut after a character.

    >>> list(up_to([b"ab", "né".encode(), b"c"], 4))
    [b'ab', b'n']
    """
    room = most_bytes
    for document in documents:
        if len(document) >= room:
            cut = document[:room].decode("utf-8", "ignore").encode() if len(document) > room else document
            if cut:
                yield cut
            return
        room -= len(document)
        yield document


def names_of(paths: Iterable[Path]) -> list[str]:
    """A short name for each tokenizer, none of them twice.

    >>> names_of([Path("a/gpt2"), Path("bert/vocab.txt"), Path("x/m.model"), Path("y/m.model")])
    ['gpt2', 'bert', 'x/m.model', 'y/m.model']
    """
    paths = list(paths)
    names = []
    for path in paths:
        full = path if path.name not in ("", "..") else path.resolve()
        plain = full.suffix and full.stem in _PLAIN_NAMES
        names.append((full.resolve().parent.name if plain else "") or (full.stem if full.is_file() else full.name))
    long = [name if names.count(name) == 1 else str(path) for name, path in zip(names, paths, strict=True)]
    return [name if long.count(name) == 1 else f"{name} ({place})" for place, name in enumerate(long, start=1)]


def _tokens_as_json(row: Iterable[Any]) -> dict[str, Any]:
    row = list(row)
    return {
        "ids": [cell.id for cell in row],
        "tokens": [cell.data.decode("utf-8", "backslashreplace") for cell in row],
        "spellings": [cell.spelling for cell in row],
        "kinds": [cell.kind for cell in row],
    }


def _facts(described: Any) -> list[tuple[str, str]]:
    """(label, value) for people; what a tokenizer hasn't is left out."""
    special = ", ".join(f"{name} {id}" for name, id in list(described.special_tokens.items())[:8])
    more = len(described.special_tokens) - 8
    unreachable = f"{described.unreachable:,}"
    if described.unreachable:
        unreachable += ": " + ", ".join(map(repr, described.unreachable_examples))
        unreachable += ", …" if described.unreachable > len(described.unreachable_examples) else ""
    groups = sorted(described.vocabulary_groups.items(), key=lambda item: -item[1])
    total = max(1, sum(described.vocabulary_groups.values()))
    facts = [
        ("algorithm", described.algorithm),
        ("vocabulary", f"{described.vocab_size:,} tokens"),
        ("merges", "" if described.merges is None else f"{described.merges:,}"),
        ("special tokens", special + (f" and {more:,} more" if more > 0 else "")),
        ("added tokens", f"{described.added_tokens:,}" if described.added_tokens else ""),
        ("ends a text", described.end_of_text or ""),
        ("normalises", ", ".join(described.normalizers)),
        ("splits", ", ".join(described.splits)),
        ("puts around", ", ".join(described.finish)),
        ("decodes", ", ".join(described.decoders)),
        ("mean length", f"{described.mean_bytes:.2f} bytes"),
        ("by script", ", ".join(f"{name} {count / total:.1%}" for name, count in groups[:8])),
        ("longest", ", ".join(repr(_shortened(token)) for token in described.longest)),
        ("unreachable", unreachable),
    ]
    return [(label, value) for label, value in facts if value]


def _shortened(token: str) -> str:
    return token if len(token) <= _LONGEST_SHOWN else f"{token[: _LONGEST_SHOWN - 1]}…"
