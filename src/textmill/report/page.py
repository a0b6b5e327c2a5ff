"""One self-contained HTML page: no network, no script, pictures inlined; light and dark; for a phone and for paper."""

import base64
import json
from pathlib import Path
from typing import Any

import jinja2

from textmill.config import from_json, to_json
from textmill.files import read_json, write_json, write_text
from textmill.report import plots, words
from textmill.report.data import ReportData

PAGE = "report.html"
DATA = "report.json"
PLOTS = "plots"

_OF_TRAINING = ("bits_per_byte", "loss", "learning_rate", "speed")
_OF_TOKENS = ("token_lengths", "token_ranks")
_VISIBLE = str.maketrans({" ": "·", "\n": "⏎", "\t": "⇥", "\r": "␍"})
"""White space in a token, so that it can be seen."""
_ALT = {
    "bits_per_byte": "Bits per byte on held-out text, the model beside its baselines",
    "loss": "Training and held-out loss by step",
    "learning_rate": "Learning rate by step",
    "speed": "Tokens per second by step",
    "token_lengths": "How many tokens of the vocabulary have each length in bytes",
    "token_ranks": "Occurrences of each token in held-out text by its rank",
}


def render_page(data: ReportData) -> str:
    """The page as HTML text. Everything in `data` is text to show, never markup."""
    light = {name: _inlined(plots.svg(figure)) for name, figure in plots.draw_all(data, plots.LIGHT).items()}
    dark = {name: _inlined(plots.svg(figure)) for name, figure in plots.draw_all(data, plots.DARK).items()}
    template = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["visible"] = lambda text: text.translate(_VISIBLE)
    environment.filters["duration"] = words.duration
    return environment.from_string(template).render(
        data=data,
        light=light,
        dark=dark,
        alt=_ALT,
        training=[name for name in _OF_TRAINING if name in light],
        pictures_of_tokens=[name for name in _OF_TOKENS if name in light],
        snippets=snippets(data),
        longest_stage=max([stage.seconds for stage in data.stages] + [1e-9]),
        configuration=json.dumps(data.configuration, indent=2, ensure_ascii=False),
    )


def write_report(data: ReportData, folder: Path) -> Path:
    """Writes report.html, report.json and plots/*.png into `folder`, each whole or absent; returns the page's path.

    Raises:
        OutputError: the folder cannot be written.
    """
    page = render_page(data)
    for name, figure in plots.draw_all(data).items():
        plots.write_png(figure, folder / PLOTS / f"{name}.png")
    write_json(folder / DATA, to_json(data))
    write_text(folder / PAGE, page)
    return folder / PAGE


def read_report_data(path: Path) -> ReportData:
    """What `write_report` wrote as report.json.

    Raises:
        FormatError: no JSON file.
        ConfigError: a key or a value that does not belong there.
    """
    values: Any = read_json(path)
    return from_json(ReportData, values, where=str(path))


def snippets(data: ReportData) -> list[tuple[str, str]]:
    """(name, code) for each way to load the model elsewhere; none without a folder."""
    if not data.folder:
        return []
    folder = json.dumps(data.folder, ensure_ascii=False)
    prompt = json.dumps(data.samples[0].prompt if data.samples else "The", ensure_ascii=False)
    transformers = f"""\
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = {folder}
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
prompt = tokenizer({prompt}, return_tensors="pt")
ids = model.generate(**prompt, max_new_tokens=100)
print(tokenizer.decode(ids[0]))"""
    ours = f"""\
import textmill

folder = textmill.load({folder})
prompt = {prompt}
for text in textmill.generate(folder, prompt, max_tokens=100):
    print(text, end="", flush=True)"""
    return [("In Python, with textmill", ours), ("In Python, with transformers", transformers)]


def _inlined(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
