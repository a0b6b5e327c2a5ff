"""Runs the recipe of every architecture, and writes the table and the picture of all of them side by side.

`python -m docs.architectures --runs runs/architectures` runs what isn't finished there, one after the other, keeps the
figures of each run in `docs/architectures.json` as soon as it ends, and writes from them

- the tables of `docs/methods/architectures.md`, a line in each architecture's own page, and what its recipe expects
- `docs/images/architectures.png`, the learning curves

Without `--runs` it writes these again from the kept figures. No number is typed by hand.
"""

import argparse
import json
import math
import platform
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from textmill.files import read_json, write_json, write_text
from textmill.recipes import RECIPES, resolve, run
from textmill.recipes.architectures import ARCHITECTURES, EVALUATION
from textmill.recipes.pretrain import TRAINING
from textmill.recipes.stages import RECORD, Silent, run_stages
from textmill.recipes.text import SHARDS, TOKENIZER
from textmill.report.plots import LIGHT, write_png
from textmill.tasks.evaluate import baselines
from textmill.tasks.pretrain import METRICS
from textmill.tokenizers import Tokenizer

DOCS = Path(__file__).parent
FIGURES = DOCS / "architectures.json"
BASELINES_OF = "llama"
"""The run whose text is measured without a neural network."""
IMAGE = DOCS / "images" / "architectures.png"
METHODS = DOCS / "methods"
RECIPES_SOURCE = DOCS.parent / "src" / "textmill" / "recipes" / "architectures.py"


@dataclass(frozen=True)
class Shown:
    """How an architecture appears."""

    name: str
    page: str
    colour: str


SHOWN = {
    "nnlm": Shown("NNLM", "nnlm", "#8a8f98"),
    "rnn": Shown("Elman RNN", "recurrent", "#b5651d"),
    "lstm": Shown("LSTM", "recurrent", "#d4a017"),
    "gru": Shown("GRU", "recurrent", "#7a9a01"),
    "transformer-xl": Shown("Transformer-XL", "transformer_xl", "#c2387a"),
    "gpt": Shown("GPT-2", "transformer", "#3b6fb6"),
    "llama": Shown("Llama, q and k normalised", "transformer", "#0b6e69"),
    "sparse-llama": Shown("Llama, fixed sparse attention", "sparse_attention", "#2aa0c8"),
    "mixtral": Shown("Mixtral", "mixture_of_experts", "#7b4fb5"),
    "bert": Shown("BERT", "bert", "#3b6fb6"),
    "modern-bert": Shown("ModernBERT", "modern_bert", "#c77b1b"),
}


def collect(name: str, folder: Path) -> dict[str, Any]:
    """The figures of a finished run: what it cost, what it reached, and its curve on held-out text."""
    record = read_json(folder / RECORD)
    facts = {stage: entry["facts"] for stage, entry in record["stages"].items()}
    trained, settings = facts["pretrain"], record["settings"]
    lines = [json.loads(line) for line in (folder / TRAINING / METRICS).read_text(encoding="utf-8").splitlines()]
    tokens = {line["step"]: line["tokens"] for line in lines if line["kind"] == "step"}
    curve = [line for line in lines if line["kind"] == "evaluation"]
    accuracy = next((key for key in ("masked_accuracy", "accuracy") if key in trained["held_out"]), None)
    found: dict[str, Any] = {
        "parameters": trained["parameters"],
        "tokens": trained["tokens"],
        "steps": trained["steps"],
        "threads": settings["machine"]["threads"],
        "precision": trained.get("precision"),
        "optimizer": settings["training"]["optimizer"],
        "context_length": settings["training"]["context_length"],
        "python": platform.python_version(),
        "text_bytes": facts["shards"]["train"]["text_bytes"],
        "held_out_bytes": facts["shards"]["held_out"]["text_bytes"],
    }
    if accuracy is None:
        final = read_json(folder / EVALUATION)["model"]
        if name == BASELINES_OF:
            tokenizer = Tokenizer.load(folder / TOKENIZER)
            found["baselines"] = baselines(folder / SHARDS, tokenizer, most_bytes=1 << 24)
        found |= {"bits_per_byte": final["bits_per_byte"], "perplexity": final["perplexity"]}
        found["curve"] = [[tokens[line["step"]], line["bits_per_byte"]] for line in curve]
    else:
        held_out = trained["held_out"]
        found |= {"masked_loss": held_out.get("masked", held_out["loss"]), "masked_accuracy": held_out[accuracy]}
        found |= {key: held_out[key] for key in ("pair_accuracy",) if key in held_out}
        found["curve"] = [[tokens[line["step"]], line[accuracy]] for line in curve]
    return found


def run_all(runs: Path, names: Sequence[str], threads: int | None) -> None:
    """Runs each recipe to its end, or goes on where it was cut, and keeps its figures."""
    for name in names:
        print(f"{name} ...", flush=True)
        _prepare(name, runs / name)
        before = time.process_time()
        folder = run(name, out=runs / name, machine={"threads": threads})
        seconds = round(time.process_time() - before, 1)
        kept = read_json(FIGURES) if FIGURES.exists() else {}
        # a run that only went on, or was finished before, has cost what it cost then
        seconds = max(seconds, kept.get(name, {}).get("cpu_seconds", 0.0))
        kept[name] = {**collect(name, folder), "cpu_seconds": seconds}
        write_json(FIGURES, {name: kept[name] for name in SHOWN if name in kept})
        shown = {key: value for key, value in kept[name].items() if key not in ("curve", "baselines")}
        print(f"{name} {shown}", flush=True)


def _prepare(name: str, folder: Path) -> None:
    """The recipe's tokenizer and token shards, which aren't counted among the costs of training."""
    recipe, settings = resolve(name, ())
    first = [stage for stage in recipe.stages(settings, True) if stage.name in ("tokenizer", "shards")]
    run_stages(folder, name, settings, first, fresh=False, force=False, reporter=Silent())


# --- what is written from the figures


def language_models(figures: Mapping[str, Any]) -> str:
    """The table of what predicts the next token, the best first."""
    rows = sorted((name for name in figures if "bits_per_byte" in figures[name]), key=lambda n: _figure(figures, n))
    lines = [
        "| architecture | recipe | weights | optimiser | CPU minutes | bits per byte | perplexity of a token |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in rows:
        of = figures[name]
        lines.append(
            f"| [{SHOWN[name].name}]({SHOWN[name].page}.md) | `textmill run {name}` | {of['parameters'] / 1e6:.2f} M |"
            f" {of['optimizer']} | {of['cpu_seconds'] / 60:.1f} | {of['bits_per_byte']:.3f} | {of['perplexity']:.1f} |"
        )
    return "\n".join(lines)


def encoders(figures: Mapping[str, Any]) -> str:
    """The table of what fills in masked tokens."""
    rows = [name for name in figures if "masked_loss" in figures[name]]
    lines = [
        "| architecture | recipe | weights | optimiser | CPU minutes | masked loss | masked accuracy | pair accuracy |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in rows:
        of = figures[name]
        pair = f"{of['pair_accuracy']:.1%}" if "pair_accuracy" in of else ""
        lines.append(
            f"| [{SHOWN[name].name}]({SHOWN[name].page}.md) | `textmill run {name}` | {of['parameters'] / 1e6:.2f} M |"
            f" {of['optimizer']} | {of['cpu_seconds'] / 60:.1f} | {of['masked_loss']:.3f} |"
            f" {of['masked_accuracy']:.1%} | {pair} |"
        )
    return "\n".join(lines)


def reached(name: str, of: Mapping[str, Any]) -> str:
    """One sentence for an architecture's own page.

    >>> reached("lstm", {"parameters": 3.4e6, "tokens": 1000, "bits_per_byte": 1.5, "python": "3.11.1"})
    'LSTM: `textmill run lstm`, 3.4 M weights, 1,000 tokens: 1.500 bits per byte.'
    """
    begin = (
        f"{SHOWN[name].name}: `textmill run {name}`, {of['parameters'] / 1e6:.1f} M weights, {of['tokens']:,} tokens:"
    )
    if "bits_per_byte" in of:
        return f"{begin} {of['bits_per_byte']:.3f} bits per byte."
    pairs = f", {of['pair_accuracy']:.1%} of the pairs" if "pair_accuracy" in of else ""
    right = f"{of['masked_accuracy']:.1%} of the masked tokens right"
    return f"{begin} {right}{pairs}; masked loss {of['masked_loss']:.3f} nats."


def budget(figures: Mapping[str, Any]) -> str:
    """One sentence on what all runs had in common."""
    one = next(iter(figures.values()))
    version = one["python"].rpartition(".")[0]
    precisions = " and ".join(sorted({of["precision"] for of in figures.values() if of["precision"]}))
    threads = "all cores" if one["threads"] is None else f"CPU threads: {one['threads']}"
    return (
        f"The built-in corpus of Python {version}: {one['text_bytes'] / 1e6:.2f} MB to learn from, "
        f"{one['held_out_bytes'] / 1e3:.0f} KB held out. "
        f"{one['steps']} updates each, {precisions}, {threads}. CPU minutes are of training, with eight "
        "measurements, and of the last measurement."
    )


def without_network(figures: Mapping[str, Any]) -> str:
    """What needs no neural network, after the same training text."""
    lines = ["| | bits per byte |", "|---|---|"]
    found: Mapping[str, float] = next((of["baselines"] for of in figures.values() if "baselines" in of), {})
    return "\n".join([*lines, *(f"| {name} | {value:.3f} |" for name, value in found.items())])


def filled(page: str, figures: Mapping[str, Any]) -> str:
    """The page with every marked place written again: `<!-- recipes: what -->`, text, `<!-- /recipes -->`."""
    parts = {"language-models": language_models, "encoders": encoders, "budget": budget, "baselines": without_network}

    def made(found: re.Match[str]) -> str:
        names = found[1].split()
        if names[0] in parts:
            text = f"\n\n{parts[names[0]](figures)}\n\n"
        else:
            text = " ".join(["", *(reached(name, figures[name]) for name in names if name in figures), ""])
        return f"<!-- recipes: {found[1]} -->{text}<!-- /recipes -->"

    return re.sub(r"<!-- recipes: ([\w -]+?) -->.*?<!-- /recipes -->", made, page, flags=re.DOTALL)


def expected(of: Mapping[str, Any]) -> str:
    """What a recipe's docstring says after "Expected: ".

    >>> expected({"bits_per_byte": 1.504}), expected({"masked_accuracy": 0.256, "masked_loss": 4.12})
    ('1.50 bits per byte.', '26 % of the masked tokens right, masked loss 4.1 nats.')
    """
    if "bits_per_byte" in of:
        return f"{of['bits_per_byte']:.2f} bits per byte."
    return f"{of['masked_accuracy']:.0%}".replace("%", " %") + (
        f" of the masked tokens right, masked loss {of['masked_loss']:.1f} nats."
    )


def with_expectations(source: str, figures: Mapping[str, Any]) -> str:
    """The recipes' source with each docstring's "Expected: ..." written again."""
    for name, of in figures.items():
        pattern = rf"(class {ARCHITECTURES[name].__name__}\(.*?Expected: )[^\n]*(\n)"
        source, count = re.subn(pattern, rf"\g<1>{expected(of)}\g<2>", source, count=1, flags=re.DOTALL)
        assert count == 1, f"the recipe {name} has no line with Expected: in its docstring"
    return source


def draw(figures: Mapping[str, Any]) -> Figure:
    """Held-out bits per byte of the language models and masked accuracy of the encoders, by tokens read."""
    figure = Figure(figsize=(11, 5.2), facecolor=LIGHT.paper)
    grid = figure.add_gridspec(1, 2, left=0.05, right=0.865, bottom=0.09, top=0.82, wspace=0.56, width_ratios=(1.5, 1))
    left, right = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
    models = {name: of["curve"] for name, of in figures.items() if "bits_per_byte" in of}
    masked = {name: [[x, 100 * y] for x, y in of["curve"]] for name, of in figures.items() if "masked_loss" in of}
    _curves(left, models, "language models", "held-out bits per byte, by thousand tokens read", "{:.2f}")
    _curves(right, masked, "encoders", "masked tokens right, percent", "{:.0f} %")
    figure.text(0.05, 0.95, "Every architecture on the same text, with the same tokens", color=LIGHT.ink, fontsize=13,
                fontweight="bold", va="center")  # fmt: skip
    return figure


def _curves(axes: Axes, curves: Mapping[str, list[list[float]]], title: str, unit: str, label: str) -> None:
    x: list[float] = [0.0]
    for name, points in curves.items():
        x, y = [tokens / 1e3 for tokens, _ in points], [value for _, value in points]
        axes.plot(x, y, color=SHOWN[name].colour, linewidth=1.8, marker="o", markersize=3)
    axes.set_xscale("log", base=2)
    axes.set_xticks([tick for tick in (50, 100, 200, 400, 800) if min(x) <= tick <= max(x)])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
    axes.minorticks_off()
    axes.set_title(title, color=LIGHT.ink, fontsize=11, fontweight="bold", loc="left", pad=20)
    axes.text(0, 1.02, unit, transform=axes.transAxes, color=LIGHT.faint, fontsize=9)
    axes.tick_params(colors=LIGHT.faint, labelsize=8, length=0)
    axes.grid(axis="y", color=LIGHT.grid, linewidth=0.8)
    for spine in axes.spines.values():
        spine.set_visible(False)
    _label_ends(axes, curves, label)


def _label_ends(axes: Axes, curves: Mapping[str, list[list[float]]], label: str) -> None:
    """Names at the right of the lines' ends, moved apart where two would overlap."""
    low, high = axes.get_ylim()
    gap = (high - low) * 0.052
    place = -math.inf
    for name in sorted(curves, key=lambda name: curves[name][-1][1]):
        end = curves[name][-1][1]
        place = max(end, place + gap)
        axes.annotate(
            f"{SHOWN[name].name.partition(',')[0] if name != 'sparse-llama' else 'Llama, sparse'} {label.format(end)}",
            (1.015, place), xycoords=("axes fraction", "data"), color=SHOWN[name].colour, fontsize=9,
            fontweight="bold", va="center", annotation_clip=False,
        )  # fmt: skip


def write(figures: Mapping[str, Any]) -> None:
    """Writes every page that has a marked place, and the picture."""
    for page in sorted(METHODS.glob("*.md")):
        before = page.read_text(encoding="utf-8")
        after = filled(before, figures)
        if after != before:
            write_text(page, after)
            print(page)
    source = RECIPES_SOURCE.read_text(encoding="utf-8")
    write_text(RECIPES_SOURCE, with_expectations(source, figures))
    write_png(draw(figures), IMAGE)
    print(IMAGE)


def _figure(figures: Mapping[str, Any], name: str) -> float:
    value: float = figures[name]["bits_per_byte"]
    return value


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m docs.architectures", description=__doc__)
    parser.add_argument("--runs", type=Path, help="run the recipes in this folder first")
    parser.add_argument("--threads", type=int, help="CPU threads of each run (default: all cores)")
    parser.add_argument("--only", nargs="*", default=list(ARCHITECTURES), choices=list(ARCHITECTURES))
    chosen = parser.parse_args(arguments)
    assert all(name in RECIPES for name in SHOWN)
    if chosen.runs is not None:
        run_all(chosen.runs, chosen.only, chosen.threads)
    if FIGURES.exists():
        write(read_json(FIGURES))
    return 0


if __name__ == "__main__":
    sys.exit(main())
