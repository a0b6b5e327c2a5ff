"""The model card: README.md of a model folder, in the form that model hubs read."""

import json

from textmill.report.data import ReportData
from textmill.report.page import snippets


def model_card(data: ReportData, *, licence: str = "", languages: tuple[str, ...] = ()) -> str:
    """The card as Markdown with its YAML head.

    A licence is named only when the caller knows it: it depends on the text.
    """
    head = ["---", "library_name: transformers", "pipeline_tag: text-generation", "tags:", "- textmill"]
    if licence:
        head.append(f"license: {json.dumps(licence)}")
    if languages:
        head += ["language:", *(f"- {json.dumps(language)}" for language in languages)]
    parts = ["\n".join([*head, "---"]), f"# {_line(data.title)}"]
    if data.verdict:
        parts.append(data.verdict)
    if data.bars:
        ordered = sorted(data.bars, key=lambda bar: bar.bits_per_byte)
        rows = [
            (f"**{_line(bar.name)}**" if bar.ours else _line(bar.name), f"{bar.bits_per_byte:.3f}") for bar in ordered
        ]
        parts.append("## Held-out text\n\n" + _table(("", "bits per byte, less is better"), rows))
    if data.facts:
        parts.append("## Model and text\n\n" + _table(("", ""), [(_line(f.label), _line(f.value)) for f in data.facts]))
    code = snippets(data)
    if code:
        parts.append("## Use\n\n" + "\n\n".join(f"{name}:\n\n{_fenced(text, 'python')}" for name, text in code))
    if data.samples:
        sample = data.samples[0]
        parts.append("## A sample\n\n" + _fenced(sample.prompt + sample.continuation, "text"))
    parts.append(
        "## Limits\n\nIt knows only the text it was trained on and repeats what stands there, mistakes and bias "
        "included. It has not been tuned to follow instructions. Do not take what it writes for fact."
    )
    if data.command:
        parts.append("## How it was made\n\n" + _fenced(data.command, "sh"))
    if data.versions:
        parts.append(", ".join(f"{name} {version}" for name, version in data.versions.items()))
    return "\n\n".join(parts) + "\n"


def _table(head: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|", *(f"| {left} | {right} |" for left, right in rows)]
    return "\n".join(lines)


def _line(text: str) -> str:
    """Text as one line of a table or heading."""
    return " ".join(text.split()).replace("|", "\\|")


def _fenced(text: str, language: str) -> str:
    """A code block whose fence is longer than any run of backticks inside."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"
