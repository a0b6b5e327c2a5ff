"""Pages about tokens: a text cut into them, and tokenizers side by side. No network, no script; light and dark.

Texts and vocabularies come from strangers: everything is escaped, and control characters are spelled out.
"""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from textmill.report import plots
from textmill.report.judgement import Cell, Comparison
from textmill.report.judgement_rows import sections
from textmill.report.token_plots import draw_comparison
from textmill.report.token_text import bytes_in_hex, visible

MOST_LISTED = 2000
"""Rows in the list of every token."""
_LONGEST_ABOUT = 80

_ALT = {
    "bytes_by_group": "Bytes per token of each tokenizer by script",
    "ranks": "Occurrences of each tokenizer's tokens by rank",
    "lengths": "Share of each vocabulary by length of token in bytes",
}


def tokens_page(cells: Sequence[Cell], *, name: str, algorithm: str, vocab_size: int) -> str:
    """A text with its tokens coloured, as an HTML page; a switch shows ids instead of text."""
    num_bytes = max((cell.end for cell in cells), default=0)
    headlines = [
        (f"{len(cells):,}", "tokens"),
        (f"{sum(len(cell.text) for cell in cells):,}", "characters"),
        (f"{num_bytes:,}", "bytes"),
        (f"{num_bytes / max(1, len(cells)):.2f}", "bytes a token"),
    ]
    for kind, label in (("unknown", "unknown tokens"), ("part", "tokens of bytes")):
        count = sum(cell.kind == kind for cell in cells)
        headlines += [(f"{count:,}", label)] if count else []
    return _rendered(
        "tokens.html",
        title=visible(name),
        algorithm=visible(algorithm),
        vocab_size=vocab_size,
        headlines=headlines,
        cells=cells,
        listed=cells[:MOST_LISTED],
        kinds={cell.kind for cell in cells},
    )


def comparison_page(data: Comparison) -> str:
    """Tokenizers side by side: table, sample lines, pictures, as an HTML page."""
    light = {name: _inlined(plots.svg(figure)) for name, figure in draw_comparison(data.judgements).items()}
    dark = {name: _inlined(plots.svg(figure)) for name, figure in draw_comparison(data.judgements, plots.DARK).items()}
    names = " · ".join(one.name for one in data.judgements)
    return _rendered(
        "comparison.html",
        title=visible(names),
        data=data,
        sections=sections(data.judgements),
        light=light,
        dark=dark,
        alt=_ALT,
    )


def _rendered(template: str, **values: Any) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["visible"] = lambda text, blank=" ": visible(text, blank=blank)
    environment.filters["hex"] = bytes_in_hex
    environment.filters["shown"] = lambda cell: visible(cell.text) if cell.text else "\u2007"
    environment.filters["about"] = _about
    return environment.get_template(template).render(**values)


def _about(cell: Cell) -> str:
    """What pointing at a token shows: three short lines."""
    spelling, data = visible(cell.spelling), bytes_in_hex(cell.data)
    lines = (f"id {cell.id}", f"token {spelling}", f"bytes {data}")
    return "\n".join(line if len(line) <= _LONGEST_ABOUT else f"{line[:_LONGEST_ABOUT]}…" for line in lines)


def _inlined(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
