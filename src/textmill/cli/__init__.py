"""The command line: one grammar, one table.

Each command is a dataclass whose fields are its options (tyro reads them) and whose `run` does the work. This module
only finds the command, so that `textmill --help` imports nothing heavy.
"""

import importlib
import inspect
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from textmill import __version__
from textmill.errors import TextmillError


@dataclass(frozen=True)
class Entry:
    """Where a command lives and what it is for."""

    home: str
    """module:class"""
    usage: str
    summary: str


COMMANDS: dict[str, Entry] = {
    "run": Entry(
        "textmill.cli.run:Run", "[RECIPE] [-o DIR] [--set a.b=c]...", "a whole pipeline; no RECIPE means quickstart"
    ),
    "corpus stats": Entry("textmill.cli.corpus:Stats", "INPUT...", "count documents, bytes, words and scripts"),
    "tokenizer train": Entry(
        "textmill.cli.tokenizer:Train", "INPUT... --vocab-size N -o DIR", "learn a vocabulary from text"
    ),
    "tokenizer encode": Entry(
        "textmill.cli.tokenizer:Encode", "FOLDER [INPUT|-]", "text to ids, a line of ids for a line of text"
    ),
    "tokenizer decode": Entry("textmill.cli.tokenizer:Decode", "FOLDER [INPUT|-]", "ids back to text"),
    "tokenizer show": Entry("textmill.cli.tokenizer:Show", "FOLDER TEXT", "the text, coloured by token, with ids"),
    "pretrain gpt": Entry("textmill.cli.pretrain:Gpt", "INPUT... -o DIR", "train a GPT-2 or GPT-1 from text"),
    "pretrain llama": Entry("textmill.cli.pretrain:Llama", "INPUT... -o DIR", "train a Llama-style model from text"),
    "evaluate": Entry("textmill.cli.model:Evaluate", "FOLDER INPUT...", "bits per byte and perplexity on text"),
    "generate": Entry("textmill.cli.model:Generate", "FOLDER PROMPT", "let the model write"),
    "show": Entry("textmill.cli.model:Show", "FOLDER", "what a model folder holds and how it was made"),
}

EXAMPLES = """\
  textmill run                                        five minutes from text to a model that writes
  textmill run quickstart --set corpus=my.txt         the same on your own text
  textmill tokenizer train my.txt --vocab-size 8000 -o tok
  textmill generate runs/quickstart/model "Once upon a time"
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status: 0, 2 for a user's mistake, 130 for Ctrl-C."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        status = _dispatch(words)
        sys.stdout.flush()
        return status
    except TextmillError as error:
        if debug:
            raise
        print(f"textmill: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if debug:
            raise
        print("textmill: stopped; the same command continues where this one left off", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # the reader of a pipe went away; keep the interpreter from complaining about it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _dispatch(words: list[str]) -> int:
    if words[:1] in (["--version"], ["version"]):
        print(f"textmill {__version__}")
        return 0
    name = _command_of(words)
    return _help(words) if name is None else _run(name, words[len(name.split()) :])


def _run(name: str, rest: list[str]) -> int:
    import tyro

    module, _, attribute = COMMANDS[name].home.partition(":")
    command = getattr(importlib.import_module(module), attribute)
    chosen = tyro.cli(
        command,
        args=rest,
        prog=f"textmill {name}",
        description=inspect.cleandoc(command.__doc__),
        config=(tyro.conf.HelptextFromCommentsOff, tyro.conf.FlagCreatePairsOff),
    )
    return chosen.run() or 0


def _command_of(words: Sequence[str]) -> str | None:
    for count in (2, 1):
        name = " ".join(words[:count])
        if len(words) >= count and name in COMMANDS:
            return name
    return None


def _help(words: list[str]) -> int:
    """Prints the table of commands, or says which word isn't one."""
    group = words[0] if words and any(name.startswith(f"{words[0]} ") for name in COMMANDS) else ""
    asked = [word for word in words[1 if group else 0 :] if word not in ("-h", "--help", "help")]
    if asked:
        import difflib

        prefix = f"{group} " if group else ""
        known = [name for name in COMMANDS if name.startswith(prefix)]
        close = difflib.get_close_matches(prefix + asked[0], known, n=1, cutoff=0.5)
        hint = f"did you mean 'textmill {close[0]}'?" if close else "see 'textmill --help'"
        print(f"textmill: error: there is no command '{prefix}{asked[0]}'. Fix: {hint}", file=sys.stderr)
        return 2
    shown = {name: entry for name, entry in COMMANDS.items() if not group or name.startswith(f"{group} ")}
    print("textmill: raw text in, a language model its owner can run, tune, measure and serve out\n")
    width = max(len(f"{name} {entry.usage}") for name, entry in shown.items()) + 2
    for name, entry in shown.items():
        print(f"  textmill {f'{name} {entry.usage}':<{width}}{entry.summary}")
    print(f"\nExamples\n{EXAMPLES}")
    print("INPUT is a file, a folder, a glob, - for stdin, or 'builtin' for the text every Python brings along;")
    print(".txt, .jsonl, .csv, .tsv and .parquet, also as .gz, .xz or .zst.")
    print("'textmill COMMAND --help' explains a command's options; --debug shows the traceback of an error.")
    return 0
