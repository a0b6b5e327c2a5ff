"""A run's result in a few lines on the terminal."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from textmill.report.data import ReportData

_BAR_CELLS = 28


def print_summary(data: ReportData, console: Console) -> None:
    """Title, verdict, and the bits per byte as bars, the best on top. Nothing in `data` is read as markup."""
    console.print()
    console.print(Text(data.title, style="bold"))
    if data.verdict:
        console.print(Text(data.verdict))
    if data.bars:
        table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
        most = max(bar.bits_per_byte for bar in data.bars)
        for bar in sorted(data.bars, key=lambda bar: bar.bits_per_byte):
            style = "bold cyan" if bar.ours else ""
            cells = max(1, round(_BAR_CELLS * bar.bits_per_byte / most))
            table.add_row(
                Text(bar.name, style=style),
                Text("█" * cells, style=style or "bright_black"),
                Text(f"{bar.bits_per_byte:.2f}", style=style),
            )
        console.print()
        console.print(table)
    console.print()
