"""`textmill evaluate`, `generate` and `show`: commands on a model folder."""

import itertools
import json
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from textmill.cli.options import Folder, Inputs, Machine, Reading, Saying

PROMPTS_AT_ONCE = 64
"""Prompts from stdin that are continued as one batch."""


@dataclass(frozen=True, kw_only=True)
class Evaluate(Reading, Machine, Saying):
    """Bits per byte and perplexity of a model on text.

    Bits per byte compare models with different tokenizers: how many bits the model needs for each byte of the text.

    Example:
      textmill evaluate runs/quickstart/model other.txt
    """

    folder: Folder
    """The model folder."""
    inputs: Inputs
    """Files, folders, globs, - or builtin."""
    batch_size: int = 16
    """Sequences read at once."""

    def run(self) -> int:
        from textmill.cli.terminal import reading_bar, stderr, stdout
        from textmill.corpus import ReadReport, read_documents, resolve_inputs
        from textmill.folder import load
        from textmill.tasks.evaluate import evaluate_text
        from textmill.training.cpu import tune

        tune(self.threads)
        report = ReadReport()
        sources = list(resolve_inputs(self.inputs))
        documents = read_documents(
            sources, field=self.field, errors=self.errors, documents=self.documents, report=report
        )
        with reading_bar(sources, report, quiet=self.quiet, title="reading and scoring") as watched:
            metrics = evaluate_text(
                load(self.folder),
                watched(documents),
                batch_size=self.batch_size,
                device=self.device,
                precision=self.precision,
            )
        if not self.quiet:
            stderr().print(report.summary())
        if self.json:
            print(json.dumps(metrics))
        else:
            for name, value in metrics.items():
                stdout().print(f"{name:<20}{value:,.4f}" if isinstance(value, float) else f"{name:<20}{value:,}")
        return 0


@dataclass(frozen=True, kw_only=True)
class Generate(Machine):
    """Let the model write. The text streams to stdout as it is drawn.

    Examples:
      textmill generate runs/quickstart/model "Return a list of"
      textmill generate runs/quickstart/model "Raises" --temperature 0 --max-tokens 50
      cat prompts.txt | textmill generate runs/quickstart/model - --json
    """

    folder: Folder
    """The model folder."""
    prompt: Annotated[str, tyro.conf.Positional] = ""
    """What the text begins with; - reads one prompt a line from stdin and writes them as a batch."""
    max_tokens: int = 200
    """At most so many new tokens."""
    temperature: float = 0.8
    """0: always the likeliest token. Below 1: likely tokens more often. Above: less often."""
    top_k: int = 0
    """Draw from the k likeliest tokens; 0: from all."""
    top_p: float = 0.95
    """Draw from the fewest likeliest tokens that hold this share of the probability."""
    min_p: float = 0.0
    """Draw only from tokens at least this many times as likely as the likeliest."""
    repetition_penalty: float = 1.0
    """Above 1: tokens that stand in the text already become less likely."""
    stop: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A text that ends the output; may be given again."""
    seed: int = 0
    """Same seed, same text."""
    json: bool = False
    """One JSON object a prompt."""

    def run(self) -> int:
        from textmill.cli.lines import lines
        from textmill.generation import GenerationConfig, generate, generate_batch
        from textmill.training.cpu import tune

        config = GenerationConfig(
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            stop=self.stop,
            seed=self.seed,
        )
        tune(self.threads)
        folder = self._folder()
        if self.prompt == "-":
            waiting = lines("-")
            while prompts := list(itertools.islice(waiting, PROMPTS_AT_ONCE)):
                for prompt, text in zip(prompts, generate_batch(folder, prompts, config), strict=True):
                    entry = {"prompt": prompt, "text": text}
                    print(json.dumps(entry, ensure_ascii=False) if self.json else prompt + text, flush=True)
            return 0
        if self.json:
            text = "".join(generate(folder, self.prompt, config))
            print(json.dumps({"prompt": self.prompt, "text": text}, ensure_ascii=False))
            return 0
        # with the first piece, so that a model that can't write leaves no half a line
        waiting_prompt = self.prompt
        for piece in generate(folder, self.prompt, config):
            sys.stdout.write(waiting_prompt + piece)
            sys.stdout.flush()
            waiting_prompt = ""
        sys.stdout.write(waiting_prompt + "\n")
        return 0

    def _folder(self) -> Any:
        """The model where it is to run; on a CPU in fp32 unless bf16 is asked for: one row at a time gains nothing."""
        from textmill.folder import load
        from textmill.training.placement import chosen_device
        from textmill.training.precision import chosen_dtype

        place = chosen_device(self.device)
        precision = "fp32" if (self.precision, place.type) == ("auto", "cpu") else self.precision
        half = chosen_dtype(precision, place).itemsize == 2
        folder = load(self.folder, precision="bf16" if half else "fp32")
        if place.type != "cpu":
            folder.model.to(place)
        return folder


@dataclass(frozen=True, kw_only=True)
class Show:
    """What a model folder holds: shapes, parameters, metrics, how it was made.

    Example:
      textmill show runs/quickstart/model
    """

    folder: Folder
    """The model folder."""
    json: bool = False
    """The facts as one JSON object."""
    weights: bool = False
    """Every weight's name and shape as well."""

    def run(self) -> int:
        from rich.markup import escape

        from textmill.cli.terminal import stdout
        from textmill.folder import load

        folder = load(self.folder)
        facts = folder.facts(weights=self.weights)
        if self.json:
            print(json.dumps(facts, ensure_ascii=False))
            return 0
        for name, value in facts.items():
            if isinstance(value, dict):
                stdout().print(f"[bold]{name}[/bold]")
                for key, part in value.items():
                    stdout().print(f"  {key:<44}{part}", markup=False)
            else:
                shown = f"{value:,}" if isinstance(value, int) else value
                stdout().print(f"[bold]{name}[/bold]  {escape(str(shown))}")
        return 0
