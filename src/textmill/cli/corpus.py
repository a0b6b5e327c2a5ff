"""`textmill corpus ...`"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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


@dataclass(frozen=True, kw_only=True)
class Show(Reading, Saying):
    """Show what a model would learn from a text: a few instances, with what is hidden, random, kept and predicted.

    The text is encoded, cut and masked just as `textmill pretrain` does it; the shards are made in a temporary folder.

    Examples:
      textmill corpus show my.txt --tokenizer runs/bert/tokenizer --objective mlm
      textmill corpus show wiki.txt --tokenizer tok --objective nsp --sentences lines --documents paragraph
      textmill corpus show my.txt --tokenizer tok --objective next-token --context 64
    """

    inputs: Inputs = ("builtin",)
    """Files, folders, globs or builtin."""
    tokenizer: Path | None = None
    """The folder or file of a tokenizer; none trains a small one on the text."""
    objective: Literal["next-token", "mlm", "nsp", "sop", "replaced"] = "mlm"
    """mlm: masked tokens. nsp: with pairs of sentences, the second one the next or a random one. sop: the pair in its
    order or swapped. replaced: random tokens to tell from the text's."""
    masking: Literal["token", "whole_word", "ngram", "span"] = "token"
    """What is hidden at once."""
    sentences: Literal["text", "lines"] = "text"
    """Where sentences begin, for pairs: found in running text, or one on each line."""
    context: int = 64
    """Tokens of one instance."""
    count: int = 3
    """How many instances to print."""
    step: int = 0
    """Which batch: the same number gives the same instances, as in training with the same seed."""
    seed: int = 0
    """Of the order and of the masks."""

    def run(self) -> int:
        from textmill.cli.terminal import reading_bar, stdout
        from textmill.corpus import ReadReport, read_documents, resolve_inputs
        from textmill.report.instances import show_instances
        from textmill.tasks.instances import Instances, instances

        report = ReadReport()
        sources = list(resolve_inputs(self.inputs))
        documents = read_documents(
            sources, field=self.field, errors=self.errors, documents=self.documents, report=report
        )
        wanted = Instances(
            objective=self.objective,
            unit=self.masking,
            sentences=self.sentences,
            context_length=self.context,
            count=self.count,
            step=self.step,
            seed=self.seed,
        )
        with reading_bar(sources, report, quiet=self.quiet or self.json) as watched:
            batch, tokenizer = instances(watched(documents), self.tokenizer, wanted)
        if self.json:
            print(json.dumps({name: value.tolist() for name, value in vars(batch).items() if value is not None}))
            return 0
        swapped = self.objective == "sop"
        show_instances(
            batch,
            tokenizer,
            stdout(),
            limit=self.count,
            kind="sentence_order" if swapped else "next_sentence",
        )
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
