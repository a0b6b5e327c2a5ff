"""Tokens on a terminal: coloured with their ids beneath, two tokenizers one above the other, tables, trees.

Nothing of the text or the vocabulary is read as markup, and no control character reaches the terminal.
"""

from collections.abc import Sequence
from typing import Protocol

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from textmill.report.judgement import Cell, Comparison
from textmill.report.judgement_rows import UNKNOWN_MARK, sections
from textmill.report.token_text import bytes_in_hex, counts_in_words, visible

COLOURS = ("on #2f4858", "on #33658a", "on #55713c", "on #7a4f2f", "on #5b3a66")
PART, UNKNOWN, SPECIAL, DIFFERENT = "black on #e0a83f", "white on #b3261e", "black on #c9c4b8", "bold #ff6b5e"
_STYLES = {"part": PART, "unknown": UNKNOWN, "special": SPECIAL}
_REST = "‥"
"""Stands for the rest of a character that is spread over tokens."""
_WIDEST = 120


class AnyNode(Protocol):
    """What is used of a merge tree here."""

    @property
    def spelling(self) -> str: ...
    @property
    def id(self) -> int | None: ...
    @property
    def rank(self) -> int | None: ...
    @property
    def parts(self) -> tuple["AnyNode", ...]: ...


def print_cells(cells: Sequence[Cell], console: Console) -> None:
    """The text coloured by token, the ids beneath, and a line of counts."""
    blank = " " if console.is_terminal else "·"
    limit = min(console.width, _WIDEST)
    above, below = Text(), Text(style="dim")

    def flush() -> None:
        if above.plain:
            # a single token may be longer than the line
            console.print(above, soft_wrap=True)
            console.print(below, soft_wrap=True)
        above.truncate(0)
        below.truncate(0)

    for index, cell in enumerate(cells):
        shown, label = _shown(cell, blank), str(cell.id)
        width = max(cell_len(shown), len(label))
        if above.plain and cell_len(above.plain) + width > limit:
            flush()
        above.append(shown, style=style_of(cell, index))
        above.append(" " * (width - cell_len(shown) + 1))
        below.append(label + " " * (width - len(label) + 1))
        if "\n" in cell.text:
            flush()
    flush()
    console.print(Text(counts_in_words(cells)), style="dim", soft_wrap=True)
    legend(cells, console)


def legend(cells: Sequence[Cell], console: Console) -> None:
    """What the marks mean, as far as they occur."""
    line = Text()
    for kind, mark, meaning in (
        ("part", f"x… {_REST}e4", "bytes of a character, those of its rest in hexadecimal"),
        ("unknown", "⁇x", "unknown to the vocabulary"),
        ("special", "x", "special token"),
    ):
        if any(cell.kind == kind for cell in cells):
            line.append("  " if line.plain else "")
            line.append(mark, style=_STYLES[kind])
            line.append(f" {meaning}", style="dim")
    if line.plain:
        console.print(line, soft_wrap=True)


def style_of(cell: Cell, index: int) -> str:
    """The colours of a token."""
    return _STYLES.get(cell.kind) or f"white {COLOURS[index % len(COLOURS)]}"


def _shown(cell: Cell, blank: str) -> str:
    """A token as a line has it, marked also where there are no colours."""
    text = visible(cell.text, blank=blank)
    if cell.kind == "part":
        whole = cell.data == cell.text.encode()
        return f"{text}{'' if whole else '…'}" if cell.text else _REST + bytes_in_hex(cell.data).replace(" ", "")
    if cell.kind == "unknown":
        return f"⁇{text}"
    return text or "∅"


def print_difference(names: tuple[str, str], rows: tuple[Sequence[Cell], Sequence[Cell]], console: Console) -> None:
    """Two tokenizers' tokens of one text one above the other, with a `┃` where only one of them cuts."""
    size = max(map(cell_len, names))
    labels = [Text.assemble((name, "bold"), " " * (size - cell_len(name) + 2)) for name in names]
    limit = min(console.width, _WIDEST) - size - 2
    lines, used = [Text(), Text()], 0
    for column in _columns(rows):
        width = cell_len(column[0].plain)
        if used and used + width > limit:
            _print_rows(labels, lines, console)
            lines, used = [Text(), Text()], 0
        for line, part in zip(lines, column, strict=True):
            line.append_text(part)
        used += width
    _print_rows(labels, lines, console)
    only = [sum(cell.differs for cell in row) for row in rows]
    counts = f"{len(rows[0])} and {len(rows[1])} tokens; {only[0]} and {only[1]} of them are not tokens of the other"
    console.print(Text(counts, style="dim"), soft_wrap=True)


def _print_rows(labels: Sequence[Text], lines: Sequence[Text], console: Console) -> None:
    for label, line in zip(labels, lines, strict=True):
        console.print(label + line, soft_wrap=True)
    console.print()


def _columns(rows: tuple[Sequence[Cell], Sequence[Cell]]) -> list[tuple[Text, Text]]:
    """A pair of equal width for each character of the text, the cuts before it included."""
    whole = "".join(cell.text for cell in rows[0])
    marks = [_cuts(row) for row in rows]
    styles = [[style_of(cell, index) for index, cell in enumerate(row) for _ in cell.text] for row in rows]
    columns = []
    for place, character in enumerate(whole):
        cut = [mark.get(place, "") for mark in marks]
        width = max(map(len, cut))
        pair = []
        for own, other, style in zip(cut, reversed(cut), (styles[0][place], styles[1][place]), strict=True):
            text = Text()
            text.append(own if other else own.replace("│", "┃"), style=DIFFERENT if len(own) > len(other) else "dim")
            # a token that goes on where the other one is cut keeps its colour
            text.append(" " * (width - len(own)), style="" if own else style)
            pair.append(text.append(visible(character, blank="·"), style=style))
        columns.append((pair[0], pair[1]))
    return columns


def _cuts(row: Sequence[Cell]) -> dict[int, str]:
    """For each character that a token begins at, what stands before it: a cut, and the rest of the one before."""
    cuts: dict[int, str] = {}
    place = 0
    for cell in row:
        if cell.text:
            if place:
                cuts[place] = cuts.get(place, "") + "│"
            place += len(cell.text)
        else:
            cuts[place] = cuts.get(place, "") + f"│{_REST}"
    return cuts


def print_tree(roots: Sequence[AnyNode], console: Console) -> None:
    """The merge tree of a token: each symbol with its id and the rank of its merge."""
    for root in roots:
        tree = Tree(_label(root), guide_style="dim")
        _grow(tree, root)
        console.print(tree)
    if len(roots) > 1:
        said = "no merge joins these: no text is encoded to this token (lower ranks merge first)"
        console.print(Text(said, style=DIFFERENT))


def _grow(tree: Tree, node: AnyNode) -> None:
    # a token of a damaged vocabulary may be deeper than Python's stack: an explicit one
    waiting = [(tree, node)]
    while waiting:
        branch, parent = waiting.pop()
        waiting += [(branch.add(_label(part)), part) for part in parent.parts]


def _label(node: AnyNode) -> Text:
    text = Text(visible(node.spelling), style="bold")
    text.append(f"  {'no token' if node.id is None else f'id {node.id}'}", style="cyan" if node.id is not None else "")
    if node.rank is not None:
        text.append(f"  merge {node.rank:,}", style="dim")
    return text


def print_facts(facts: Sequence[tuple[str, str]], console: Console) -> None:
    """A table of two columns."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in facts:
        table.add_row(label, Text(visible(value)))
    console.width = min(console.width, _WIDEST) if console.is_terminal else _WIDEST
    console.print(table)


def print_comparison(data: Comparison, console: Console) -> None:
    """The table: a column for each tokenizer, the best of a row in green."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    for one in data.judgements:
        table.add_column(Text(visible(one.name)), justify="right", overflow="fold")
    for section in sections(data.judgements):
        table.add_row(Text(f"\n{section.title}", style="bold"))
        for row in section.rows:
            marked = zip(row.cells, row.best, strict=True)
            cells = [Text(cell, style="bold green" if best else "") for cell, best in marked]
            table.add_row(Text(row.label, style="dim"), *cells)
    console.print(Text(f"on {visible(data.text)}: {data.num_bytes:,} bytes", style="dim"))
    if not console.is_terminal:
        # a file or a pipe has room for all columns
        console.width = 32 + 36 * len(data.judgements)
    console.print(table, soft_wrap=False)
    if any(UNKNOWN_MARK in cell for section in sections(data.judgements) for row in section.rows for cell in row.cells):
        console.print(Text(f"\n{UNKNOWN_MARK} most tokens of this script are the unknown one", style="dim"))
