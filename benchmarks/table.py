"""docs/benchmarks.md from results.jsonl: the latest result of each comparison."""

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT
from textmill.errors import FormatError
from textmill.files import write_text

PAGE = ROOT / "docs" / "benchmarks.md"
README = ROOT / "README.md"
MARKS = ("<!-- benchmarks: written by `make docs` -->", "<!-- /benchmarks -->")
"""What stands between them in the README is written anew."""

_FIGURE = re.compile(r"<!-- figure: (\w+)((?: [\w.-]+)*) -->(?:.*?<!-- /figure -->)?", re.DOTALL)

_HEAD = """\
# Benchmarks

Written by `python -m benchmarks table` from `benchmarks/results.jsonl`; do not edit. Both sides are measured in turn in
one run, after their outputs were found equal. The figure is the median over rounds of the ratio within a round; behind
each side's median stands the middle half of its measurements. Run one again with `make bench NAME=encode`.
"""


def write(results: Path, page: Path = PAGE) -> str:
    """Writes the page, and returns its path for people.

    Raises:
        FormatError: a line of the results is not what the harness writes.
    """
    write_text(page, render(latest(results)))
    return str(page)


def latest(results: Path) -> list[dict[str, Any]]:
    """The last record of each comparison, in the order in which comparisons first appear."""
    found: dict[str, dict[str, Any]] = {}
    lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            found[entry["name"]] = entry
        except (ValueError, KeyError, TypeError):
            raise FormatError(f"{results.name}, line {number} is no result", fix="delete that line") from None
    return list(found.values())


def render(entries: list[dict[str, Any]]) -> str:
    """The whole page as Markdown."""
    parts = [_HEAD]
    for benchmark in dict.fromkeys(entry["benchmark"] for entry in entries):
        rows = [entry for entry in entries if entry["benchmark"] == benchmark]
        parts.append(f"## {benchmark}\n")
        parts.append("| what | ours | peer | figure | goal | |\n|---|---|---|---|---|---|")
        parts += [_row(entry) for entry in rows]
        parts.append("")
        parts += [f"- {line}" for line in dict.fromkeys(map(_conditions, rows))]
        parts.append("")
    if not entries:
        parts.append("Nothing has been measured yet.\n")
    return "\n".join(parts)


def write_summary(results: Path, page: Path = README) -> str:
    """Puts the short table between the page's marks, and returns its path for people."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    assert begin, f"{page} lacks {MARKS[0]}"
    assert end, f"{page} lacks {MARKS[1]}"
    write_text(page, f"{before}{begin}\n{digest(latest(results))}\n{end}{after}")
    return str(page)


def digest(entries: list[dict[str, Any]]) -> str:
    """One row for the comparisons of a benchmark with the same peer and the same goal: from the lowest figure on."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for entry in entries:
        peer = entry["peer"]["name"] if entry["peer"] else ""
        groups.setdefault((entry["benchmark"], peer, entry["goal"]), []).append(entry)
    rows = []
    for (benchmark, peer, goal), group in groups.items():
        if len(group) == 1:
            rows += summary(group).splitlines()[2:]
            continue
        figures = sorted(group, key=lambda entry: entry["figure"])
        lost = [_rest(entry["name"], group) for entry in group if not entry["reached"]]
        missed = f", **not reached** for {', '.join(lost)}" if lost else ""
        rows.append(
            f"| {_common(group, peer)} (`{benchmark}`) | {peer} | {_figure(figures[0])} to {_figure(figures[-1])} "
            f"| {goal}{missed} |"
        )
    return "\n".join(["| work | against | figure | goal |", "|---|---|---|---|", *rows])


def _common(group: list[dict[str, Any]], peer: str) -> str:
    """The words that all names share, without the peer's."""
    names = [entry["name"].replace(",", " ").split() for entry in group]
    shared = [word for word in names[0] if all(word in name for name in names)]
    return " ".join(word for word in shared if word not in peer.split())


def _rest(name: str, group: list[dict[str, Any]]) -> str:
    """The words of a name that not all names of its group have."""
    names = [entry["name"].replace(",", " ").split() for entry in group]
    return " ".join(word for word in name.replace(",", " ").split() if not all(word in other for other in names))


def summary(entries: list[dict[str, Any]]) -> str:
    """One row a comparison: the figure, the goal, and whether it was reached."""
    rows = ["| work | against | figure | goal |", "|---|---|---|---|"]
    for entry in entries:
        against = entry["peer"]["name"] if entry["peer"] else ""
        if entry["peer"] and entry["goal"].startswith("under"):
            against += f": {entry['peer']['median']:.3g} {entry['unit']}"
        lost = "" if entry["reached"] else ", **not reached**"
        rows.append(f"| {entry['name']} | {against} | {_figure(entry)} | {entry['goal']}{lost} |".replace("  ", " "))
    return "\n".join(rows)


def fill(page: Path, entries: list[dict[str, Any]]) -> None:
    """Puts the short table of a benchmark behind each `<!-- figure: BENCHMARK -->` of the page.

    Words behind the benchmark's name choose the comparisons whose names have them all.
    """
    text = page.read_text(encoding="utf-8")

    def table(mark: re.Match[str]) -> str:
        words = mark[2].split()
        rows = [
            entry
            for entry in entries
            if entry["benchmark"] == mark[1] and all(word in entry["name"].lower() for word in words)
        ]
        return f"<!-- figure: {mark[1]}{mark[2]} -->\n\n{summary(rows)}\n\n<!-- /figure -->" if rows else mark[0]

    filled = _FIGURE.sub(table, text)
    if filled != text:
        write_text(page, filled)


def _figure(entry: dict[str, Any]) -> str:
    return f"{entry['figure']:.3g}" + (f" {entry['unit']}" if entry["goal"].startswith("under") else "x")


def _row(entry: dict[str, Any]) -> str:
    peer = entry["peer"]
    sizes = ", ".join(f"{name} {value}" for name, value in entry["sizes"].items())
    what = entry["name"] + (f" ({sizes})" if sizes else "")
    cells = [
        what,
        _side(entry["ours"], entry["unit"]),
        f"{peer['name']}: {_side(peer, entry['unit'])}" if peer else "",
        f"**{_figure(entry)}**",
        entry["goal"],
        "reached" if entry["reached"] else "LOST",
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _side(side: dict[str, Any], unit: str) -> str:
    return f"{side['median']:.3g} {unit} ({side['lower_quartile']:.3g} to {side['upper_quartile']:.3g})"


def _conditions(entry: dict[str, Any]) -> str:
    machine, versions = entry["machine"], entry["versions"]
    installed = ", ".join(f"{name} {version}" for name, version in versions.items())
    rounds = len(entry["ours"]["values"])
    return (
        f"`{entry['command']}`, {entry['date']}, {rounds} rounds, {machine['processor']}, {machine['cores']} cores; "
        f"{installed}"
    )
