"""`textmill corpus ...`"""

import dataclasses
import json
from dataclasses import dataclass

from textmill.cli.options import Inputs, Reading, Saying


@dataclass(frozen=True, kw_only=True)
class Stats(Reading, Saying):
    """Count what a corpus holds: documents, bytes, characters, words, scripts, repeated documents.

    The text is streamed, never held whole.

    Examples:
      textmill corpus stats my.txt
      textmill corpus stats 'news/*.jsonl.gz' --field body --errors skip
      zcat log.gz | textmill corpus stats -
    """

    inputs: Inputs = ("builtin",)
    """Files, folders, globs, - or builtin."""

    def run(self) -> int:
        from textmill.cli.terminal import reading_bar, stderr
        from textmill.corpus import ReadReport, read_documents, resolve_inputs
        from textmill.corpus.stats import corpus_stats

        report = ReadReport()
        sources = list(resolve_inputs(self.inputs))
        documents = read_documents(
            sources, field=self.field, errors=self.errors, documents=self.documents, report=report
        )
        with reading_bar(sources, report, quiet=self.quiet or self.json) as watched:
            stats = corpus_stats(watched(documents))
        if not self.quiet:
            stderr().print(report.summary())
        if self.json:
            print(json.dumps(dataclasses.asdict(stats), ensure_ascii=False))
            return 0
        _print_stats(stats)
        return 0


def _print_stats(stats: object) -> None:
    from rich.table import Table

    from textmill.cli.terminal import stdout

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in dataclasses.asdict(stats).items():  # type: ignore[call-overload]
        if isinstance(value, float):
            shown = f"{value:.4g}"
        elif isinstance(value, int):
            shown = f"{value:,}"
        elif name == "scripts":
            shown = ", ".join(f"{script} {share:.1%}" for script, share in value.items())
        else:
            shown = ", ".join(f"{key} {count:,}" for key, count in value.items())
        table.add_row(name.replace("_", " "), shown)
    stdout().print(table)
