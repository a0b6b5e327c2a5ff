"""What commands show: progress and notes on stderr, results on stdout."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

SECONDS_BETWEEN_LINES = 10.0
"""Where stderr is no terminal, progress is a plain line this often."""


def stdout() -> Console:
    return Console(file=sys.stdout, highlight=False, soft_wrap=not sys.stdout.isatty())


def stderr() -> Console:
    return Console(file=sys.stderr, highlight=False, soft_wrap=not sys.stderr.isatty())


@contextlib.contextmanager
def progress_of(
    title: str, *, quiet: bool = False, in_bytes: bool = False
) -> Iterator[Callable[[int, int | None], None]]:
    """A function (done, total or None) that moves a bar on a terminal, and prints plain lines elsewhere."""
    if quiet:
        yield lambda _done, _total: None
        return
    if not sys.stderr.isatty():
        yield _plain_lines(title)
        return
    counts = (DownloadColumn(), TransferSpeedColumn()) if in_bytes else (MofNCompleteColumn(),)
    columns = (TextColumn("{task.description}"), BarColumn(), *counts, TimeRemainingColumn())
    with Progress(*columns, console=stderr(), transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextlib.contextmanager
def reading_bar(
    sources: Sequence[Any], report: Any, *, quiet: bool, title: str = "reading"
) -> Iterator[Callable[[Iterable[bytes]], Iterator[bytes]]]:
    """A function that passes documents on and moves a bar by the bytes taken from the disk."""
    sizes = [source.stored_size() for source in sources]
    total = None if any(size is None for size in sizes) else sum(sizes)
    with progress_of(title, quiet=quiet, in_bytes=True) as move:

        def watched(documents: Iterable[bytes]) -> Iterator[bytes]:
            shown = 0.0
            for document in documents:
                now = time.monotonic()
                if now - shown > 0.1:
                    move(report.stored_bytes, total)
                    shown = now
                yield document

        yield watched


class StageReporter:
    """Says on stderr which stage of a run is at work and what came out."""

    def __init__(self, *, quiet: bool) -> None:
        self.console = stderr()
        self.quiet = quiet

    def stage(self, number: int, total: int, stage: Any, *, kept: bool) -> None:
        if not self.quiet:
            note = " [dim](kept from before)[/dim]" if kept else ""
            self.console.print(f"[bold cyan]{number}/{total}[/bold cyan] [bold]{escape(stage.title)}[/bold]{note}")

    def done(self, _: Any, facts: Mapping[str, Any], seconds: float) -> None:
        if not self.quiet:
            told = facts.get("told", "")
            self.console.print(f"    {told}{' in ' if told else ''}{seconds:.1f} s", style="dim", markup=False)

    @contextlib.contextmanager
    def progress(self, _: Any) -> Iterator[Callable[[int, int | None], None]]:
        """A function (bytes done, bytes in all or None); the bar appears when it is first called."""
        with contextlib.ExitStack() as open_bars:
            move: Callable[[int, int | None], None] | None = None

            def tell(done: int, total: int | None) -> None:
                nonlocal move
                if move is None:
                    move = open_bars.enter_context(progress_of("reading", quiet=self.quiet, in_bytes=True))
                move(done, total)

            yield tell


def _plain_lines(title: str) -> Callable[[int, int | None], None]:
    last = time.monotonic()

    def move(done: int, total: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            share = f" ({done / total:.0%})" if total else ""
            print(f"{title}: {done:,}{share}", file=sys.stderr, flush=True)

    return move
