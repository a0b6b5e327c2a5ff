"""What a model learns from, on a terminal: sequences as it sees them, and what it has to predict.

Marks say everything without colours too. A place to predict stands in braces: `{[MASK]→went}` is hidden, `{cat→went}`
has a random token in its place, `{went}` is left as it is. In a next-token batch `⟨word⟩` counts for nothing. `‖`
stands between documents. Nothing of the text is read as markup, and no control character reaches the terminal.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from textmill.data.batches import IGNORED, Batch
from textmill.data.ragged import RaggedBatch
from textmill.report.token_text import bytes_in_hex, visible
from textmill.tokenizers import Tokenizer

PairKind = Literal["next_sentence", "sentence_order"]
Mark = Literal["text", "hidden", "random", "kept", "ignored"]

LABELS: dict[PairKind, tuple[str, str]] = {
    "next_sentence": ("B follows A", "B comes from another document"),
    "sentence_order": ("B follows A", "swapped: A follows B"),
}
_STYLES: dict[Mark, str] = {
    "text": "",
    "hidden": "black on #e0a83f",
    "random": "white on #b3261e",
    "kept": "black on #8fb573",
    "ignored": "dim",
}
_MEANINGS: dict[Mark, tuple[str, str]] = {
    "hidden": ("{[MASK]→word}", "hidden"),
    "random": ("{other→word}", "a random token stands there"),
    "kept": ("{word}", "to predict, though it is there"),
    "ignored": ("⟨word⟩", "counts for nothing"),
}
_SECOND, _SPECIAL, _BORDER = "cyan", "dim", " ‖ "
_BLANK = "·"
"""A place to predict that is a space and nothing else."""


@dataclass(frozen=True)
class _Token:
    seen: int
    truth: int
    mark: Mark


def show_instances(
    batch: RaggedBatch | Batch,
    tokenizer: Tokenizer,
    console: Console,
    *,
    limit: int = 3,
    kind: PairKind = "next_sentence",
) -> None:
    """Prints the first sequences of a batch, what its marks mean, and how many places are hidden, random and kept.

    Args:
        limit: the most sequences to print; the counts are of the whole batch.
        kind: what the labels of pairs mean.
    """
    num_rows = batch.num_rows() if isinstance(batch, RaggedBatch) else len(batch.tokens)
    special = set(tokenizer.special_tokens.values())
    shown: set[Mark] = set()
    for row in range(min(limit, num_rows)):
        if isinstance(batch, RaggedBatch):
            tokens, facts = _masked_row(batch, row, kind, special)
        else:
            tokens, facts = _next_token_row(batch, row), []
        shown |= {token.mark for part in tokens for token in part}
        console.print(
            Text.assemble((f"sequence {row + 1}", "bold"), ("".join(f"  {fact}" for fact in facts), "bold magenta"))
        )
        table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
        table.add_column(no_wrap=True, style="bold")
        table.add_column(overflow="fold")
        for name, part, style in zip(("A", "B") if len(tokens) == 2 else ("",), tokens, ("", _SECOND), strict=False):
            table.add_row(name, _line(part, tokenizer, special, style))
        console.print(table)
        console.print()
    _print_legend(shown, console)
    console.print(Text(_counts(batch, num_rows, special), style="dim"))


def _masked_row(
    batch: RaggedBatch, row: int, kind: PairKind, special: set[int]
) -> tuple[list[list[_Token]], list[str]]:
    """The row's tokens, in two parts if it is a pair, and what is said above them."""
    one = batch.cut(row, row + 1)
    truth = one.tokens.copy()
    truth[one.places] = one.targets
    marks: list[Mark] = ["text"] * len(one.tokens)
    # where most places are kept, as for detecting replaced tokens, a mark on each would hide the others
    kept: Mark = "kept" if 2 * np.count_nonzero(batch.replaced()) >= batch.num_targets() else "text"
    for place, mark in zip(one.places.tolist(), _marks(one, special, kept), strict=True):
        marks[place] = mark
    tokens = [_Token(*each) for each in zip(one.tokens.tolist(), truth.tolist(), marks, strict=True)]
    facts = [f"{len(tokens)} tokens", f"{one.num_targets()} to predict"]
    if one.labels is not None:
        label = int(one.labels[0])
        facts.append(f"label {label}: {LABELS[kind][label]}")
    if one.types is None:
        return [tokens], facts
    first = int(np.count_nonzero(one.types == 0))
    return [tokens[:first], tokens[first:]], facts


def _marks(batch: RaggedBatch, special: set[int], kept: Mark = "kept") -> Iterator[Mark]:
    """The mark of each place. What hides a token is special, and no random token is."""
    for differs, seen in zip(batch.replaced().tolist(), batch.tokens[batch.places].tolist(), strict=True):
        yield kept if not differs else "hidden" if seen in special else "random"


def _next_token_row(batch: Batch, row: int) -> list[list[_Token]]:
    """The row's first token, which is not predicted, and then all its targets."""
    inputs, targets = batch.tokens[row].tolist(), batch.targets[row].tolist()
    tokens = [_Token(inputs[0], inputs[0], "ignored")] if inputs else []
    for place, target in enumerate(targets):
        if target != IGNORED:
            tokens.append(_Token(target, target, "text"))
        elif place + 1 < len(inputs):
            tokens.append(_Token(inputs[place + 1], inputs[place + 1], "ignored"))
    return [tokens]


def _line(tokens: list[_Token], tokenizer: Tokenizer, special: set[int], style: str) -> Text:
    line = Text()
    for place, token in enumerate(tokens):
        gap, truth = _spelled(token.truth, tokenizer, special)
        line.append(gap if line.plain else "")
        if token.mark in ("hidden", "random"):
            _, seen = _spelled(token.seen, tokenizer, special)
            line.append(f"{{{seen or _BLANK}→{truth or _BLANK}}}", style=_STYLES[token.mark])
        elif token.mark == "kept":
            line.append(f"{{{truth or _BLANK}}}", style=_STYLES["kept"])
        elif token.mark == "ignored":
            line.append(f"⟨{truth}⟩", style=_STYLES["ignored"])
        else:
            line.append(truth, style=_SPECIAL if token.truth in special else style)
        if token.truth == tokenizer.end_of_text_id and place + 1 < len(tokens):
            line.append(_BORDER, style="bold red")
    return line


def _spelled(id: int, tokenizer: Tokenizer, special: set[int]) -> tuple[str, str]:
    """A token as it can be shown: the blank before it, if it has one, and the rest."""
    if not 0 <= id < tokenizer.vocab_size or tokenizer.pipeline.strings[id] is None:
        return " ", f"#{id}"
    if id in special:
        return " ", visible(tokenizer.id_to_token(id))
    data = tokenizer.id_to_bytes(id)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return "", f"‹{bytes_in_hex(data).replace(' ', '')}›"
    gap = " " if text.startswith(" ") else ""
    return gap, visible(text.removeprefix(" "))


def _print_legend(shown: set[Mark], console: Console) -> None:
    line = Text()
    for mark, (example, meaning) in _MEANINGS.items():
        if mark in shown:
            line.append("  " if line.plain else "")
            line.append(example, style=_STYLES[mark])
            line.append(f" {meaning}", style="dim")
    if line.plain:
        console.print(line, soft_wrap=True)


def _counts(batch: RaggedBatch | Batch, num_rows: int, special: set[int]) -> str:
    said = f"{num_rows:,} sequences, {batch.tokens.size:,} tokens, {batch.num_targets():,} to predict"
    if isinstance(batch, RaggedBatch):
        if batch.num_targets():
            counts = Counter(_marks(batch, special))
            parts = (f"{count / batch.num_targets():.0%} {mark}" for mark, count in sorted(counts.items()))
            said += f" ({', '.join(parts)})"
        if batch.labels is not None and len(batch.labels):
            said += f"; {np.mean(batch.labels):.0%} of the pairs have label 1"
    return said
