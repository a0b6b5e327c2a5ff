"""The quickstart's report: what its stages left, gathered into `ReportData` and rendered."""

import datetime
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import textmill
from textmill import config
from textmill.files import read_json, write_text
from textmill.folder import ModelFolder, load
from textmill.recipes.stages import RECORD, Facts
from textmill.report import data as report
from textmill.report import page
from textmill.report.card import model_card
from textmill.report.tokens import tokenizer_view
from textmill.report.words import number, verdict
from textmill.tasks.evaluate import documents

OURS = "this model"

EXAMPLE_BYTES = 1 << 20
"""Held-out text that the tokenizer's figures are measured on."""


def write_report(folder: Path, settings: Any, facts: Facts) -> Path:
    """Writes report/ and the model's card; returns the page."""
    data = gather(folder, settings, facts)
    write_text(folder / "model" / "README.md", model_card(data))
    return page.write_report(data, folder / "report")


def gather(folder: Path, settings: Any, facts: Facts) -> report.ReportData:
    """Everything the report shows, from the facts of the stages before it and the files they left."""
    model = load(folder / "model")
    steps, evaluations = _metrics(folder / "training" / "metrics.jsonl")
    measured, trained, shards = facts["evaluate"], facts["pretrain"], facts["shards"]
    bars = _bars(measured)
    return report.ReportData(
        title=_title(settings, trained),
        verdict=verdict(bars),
        headlines=(
            report.Headline(label="held-out text", value=f"{measured['bits_per_byte']:.3f}", unit="bits per byte"),
            report.Headline(label="parameters", value=number(trained["parameters"])),
            report.Headline(label="speed", value=number(trained["tokens_per_second"]), unit="tokens/s"),
            report.Headline(label="training", value=f"{trained['training_seconds'] / 60:.1f}", unit="minutes"),
        ),
        train_loss=_series("training", steps, "loss"),
        held_out_loss=_series("held out", evaluations, "loss"),
        learning_rates=(_series("learning rate", steps, "learning_rate"),),
        speed=_series("tokens per second", steps, "tokens_per_second"),
        bars=bars,
        samples=tuple(
            report.Sample(
                prompt=sample["prompt"],
                continuation=sample["text"],
                settings=f"temperature {settings.temperature:g}, top-p {settings.top_p:g}, seed 0",
            )
            for sample in facts["write"]["samples"]
        ),
        tokenizer=_tokenizer_view(folder, model, settings),
        facts=_facts(settings, trained, shards, measured),
        stages=_stages(folder, facts),
        folder=str(folder / "model"),
        command=f"textmill run {folder / RECORD} -o {folder}-again",
        configuration=config.to_json(settings),
        versions=_versions(),
        made_at=datetime.datetime.now().astimezone().strftime("%d %B %Y, %H:%M"),
    )


def _title(settings: Any, trained: Mapping[str, Any]) -> str:
    corpus = settings.corpus if isinstance(settings.corpus, str) else ", ".join(settings.corpus)
    source = "Python's own documentation" if corpus == "builtin" else Path(corpus).name
    return f"A language model of {number(trained['parameters'])} parameters, from {source}"


def _bars(measured: Mapping[str, Any]) -> tuple[report.Bar, ...]:
    others = {name: value for name, value in measured["baselines"].items() if name != "cut"}
    return (
        report.Bar(name=OURS, bits_per_byte=measured["bits_per_byte"], ours=True),
        *(report.Bar(name=name, bits_per_byte=value) for name, value in others.items()),
    )


def _facts(
    settings: Any, trained: Mapping[str, Any], shards: Mapping[str, Any], measured: Mapping[str, Any]
) -> tuple[report.Fact, ...]:
    model = settings.model
    rows = {
        "architecture": f"{type(model).__name__.removesuffix('Config')}, {model.num_layers} layers x {model.width}, "
        f"{model.num_heads} heads, context of {model.context_length} tokens",
        "text learned from": f"{shards['train']['text_bytes']:,} bytes, {shards['train']['documents']:,} documents, "
        f"{shards['train']['tokens']:,} tokens",
        "text held out": f"{shards['held_out']['text_bytes']:,} bytes, {shards['held_out']['documents']:,} documents; "
        "a document is held out by a hash of its content, so a copy of it never stands in the training text",
        "training": f"{trained['steps']:,} steps, {trained['tokens']:,} tokens "
        f"({trained['tokens'] / max(1, shards['train']['tokens']):.1f} epochs), {trained['precision']}",
        "how held-out text is scored": "each token once, from at least three quarters of a full context where the text "
        "before it is long enough; end-of-text marks cost bits and count no bytes",
        "perplexity": f"{measured['perplexity']:.2f} per token",
    }
    cut = measured["baselines"].get("cut")
    if cut:
        rows["baselines"] = (
            f"learned from the first {cut['learned_bytes']:,} bytes and measured on the first "
            f"{cut['measured_bytes']:,} held-out bytes"
        )
    return tuple(report.Fact(label=label, value=value) for label, value in rows.items())


def _tokenizer_view(folder: Path, model: ModelFolder, settings: Any) -> report.TokenizerView:
    parts: list[bytes] = []
    for document in documents(folder / "shards", "validation", model.tokenizer):
        parts.append(document)
        if sum(map(len, parts)) > EXAMPLE_BYTES:
            break
    text = b"\n\n".join(parts).decode("utf-8", "replace")
    algorithm = "taken from elsewhere" if settings.tokenizer_from else "byte-level BPE"
    return tokenizer_view(model.tokenizer, text, algorithm=algorithm)


def _stages(folder: Path, facts: Facts) -> tuple[report.Stage, ...]:
    finished = read_json(folder / RECORD)["stages"]
    return tuple(report.Stage(name=name, seconds=finished[name]["seconds"]) for name in facts if name in finished)


def _metrics(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(steps, evaluations) that training wrote."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["kind"] == "step"], [line for line in lines if line["kind"] == "evaluation"]


def _series(name: str, lines: list[dict[str, Any]], key: str) -> report.Series:
    kept = [(line["step"], line[key]) for line in lines if line.get(key) is not None]
    return report.Series(name=name, steps=tuple(step for step, _ in kept), values=tuple(value for _, value in kept))


def _versions() -> dict[str, str]:
    import numba
    import torch

    return {
        "textmill": textmill.__version__,
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "numba": numba.__version__,
        "numpy": np.__version__,
    }
