"""The table of a comparison: the same rows on the terminal and on the page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textmill.metrics.tokens import RARE, GroupFigures
from textmill.report.judgement import Judgement

MOST_GROUPS = 10
MOST_UNKNOWN = 0.01
"""With a larger share of unknown tokens, few tokens are no merit: text was lost."""


UNKNOWN_MARK = "⁇"
"""Beside a figure of a script whose tokens are mostly unknown."""


@dataclass(frozen=True)
class Row:
    """One figure of every tokenizer."""

    label: str
    cells: tuple[str, ...]
    best: tuple[bool, ...]
    """Which of them are best, where more or less is better and they are not all equal."""
    meaning: str = ""


@dataclass(frozen=True)
class Section:
    title: str
    rows: tuple[Row, ...]


def sections(judgements: Sequence[Judgement]) -> list[Section]:
    """The whole table in parts."""
    groups = _groups(judgements)
    return [
        Section("vocabulary", tuple(_vocabulary(judgements))),
        Section("on this text", tuple(_text(judgements))),
        Section("bytes per token, by script", tuple(_of_groups(judgements, groups, lambda g: g.bytes_per_token, 1))),
        Section("tokens per word, by script", tuple(_of_groups(judgements, groups, lambda g: g.tokens_per_word, -1))),
    ]


def _vocabulary(judgements: Sequence[Judgement]) -> list[Row]:
    return [
        Row("algorithm", tuple(one.algorithm for one in judgements), (False,) * len(judgements)),
        _row("tokens in it", judgements, lambda one: one.vocab_size, "{:,.0f}"),
        _row("unreachable", judgements, lambda one: one.unreachable, "{:,.0f}", -1, "no text is encoded to them"),
        _row("never used", judgements, lambda one: 100 * one.figures.unused_share, "{:.1f} %", 0, "on this text"),
        _row(
            f"used 1 to {RARE - 1} times",
            judgements,
            lambda one: one.figures.rarely_used,
            "{:,.0f}",
            0,
            "a model hardly learns them from this text",
        ),
    ]


def _text(judgements: Sequence[Judgement]) -> list[Row]:
    return [
        _row("tokens", judgements, lambda one: one.figures.num_tokens, "{:,.0f}", -1, of_text=True),
        _row("bytes per token", judgements, lambda one: one.figures.bytes_per_token, "{:.3f}", 1, of_text=True),
        _row(
            "characters per token",
            judgements,
            lambda one: one.figures.characters_per_token,
            "{:.3f}",
            1,
            of_text=True,
        ),
        _row(
            "tokens per word",
            judgements,
            lambda one: one.figures.tokens_per_word,
            "{:.3f}",
            -1,
            "fertility; each Chinese character and kana is a word",
            of_text=True,
        ),
        _row(
            "coverage",
            judgements,
            lambda one: 100 * one.figures.coverage,
            "{:.2f} %",
            1,
            "characters that need neither the unknown token nor bytes",
        ),
        _row("unknown tokens", judgements, lambda one: 100 * one.figures.unknown_rate, "{:.2f} %", -1),
        _row(
            "tokens of bytes",
            judgements,
            lambda one: 100 * one.figures.byte_rate,
            "{:.2f} %",
            -1,
            "byte fallback and parts of characters",
        ),
        _row(
            "Rényi efficiency",
            judgements,
            lambda one: one.figures.renyi_efficiency,
            "{:.3f}",
            1,
            "how evenly the vocabulary is used, from 0 to 1",
        ),
        _row("entropy", judgements, lambda one: one.figures.entropy_bits, "{:.2f} bits", 0, "per token"),
        _row(
            "encodes",
            judgements,
            lambda one: one.megabytes_per_second,
            "{:.0f} MB/s",
            1,
            "on one thread here, the second time over the text",
        ),
    ]


def _row(
    label: str,
    judgements: Sequence[Judgement],
    value: Callable[[Judgement], float],
    form: str,
    better: int = 0,
    meaning: str = "",
    *,
    of_text: bool = False,
) -> Row:
    """better: 1 if more is better, -1 if less is, 0 if neither. of_text: losing text is no way to be best."""
    shown = tuple(form.format(value(one)) for one in judgements)
    known = [None if of_text and one.figures.unknown_rate > MOST_UNKNOWN else value(one) for one in judgements]
    return Row(label, shown, _best(shown, known, better), meaning)


def _best(shown: Sequence[str], values: Sequence[float | None], better: int) -> tuple[bool, ...]:
    known = [value * better for value in values if value is not None]
    if not better or len(set(shown)) < 2 or len(known) < 2:
        return (False,) * len(shown)
    best = {
        text for text, value in zip(shown, values, strict=True) if value is not None and value * better == max(known)
    }
    return tuple(text in best for text in shown)


def _groups(judgements: Sequence[Judgement]) -> list[str]:
    """The groups that most of the text belongs to."""
    totals: dict[str, float] = {}
    for one in judgements:
        for name, group in one.figures.groups.items():
            totals[name] = totals.get(name, 0) + group.tokens * group.bytes_per_token
    return sorted((name for name in totals if name != "blanks"), key=lambda name: -totals[name])[:MOST_GROUPS]


def _of_groups(
    judgements: Sequence[Judgement], names: Sequence[str], value: Callable[[GroupFigures], float], better: int
) -> list[Row]:
    rows = []
    for name in names:
        groups = [one.figures.groups.get(name) for one in judgements]
        # a group that is mostly unknown has few tokens because it is lost, which is no merit
        known = [None if group is None or group.unknown_rate > 0.5 else value(group) for group in groups]
        shown = tuple(
            "–" if group is None else f"{value(group):.2f}" + (f" {UNKNOWN_MARK}" if group.unknown_rate > 0.5 else "")
            for group in groups
        )
        rows.append(Row(name, shown, _best(shown, known, better)))
    return rows
