import dataclasses
import io

from rich.console import Console

from textmill.report.data import ReportData
from textmill.report.terminal import print_summary


def test_the_summary_shows_the_best_first_and_reads_no_markup(report_data: ReportData) -> None:
    out = io.StringIO()
    print_summary(dataclasses.replace(report_data, title="[red]as it is[/red]"), Console(file=out, width=100))
    lines = out.getvalue().splitlines()
    assert "[red]as it is[/red]" in lines
    rows = [line for line in lines if "█" in line]
    assert [row.split("█")[0].strip() for row in rows] == ["xz | 9e", "this model"]
    assert rows[1].rstrip().endswith("1.52")
