"""The command line: one grammar, one table.

Each command is a dataclass whose fields are its options (tyro reads them) and whose `run` does the work. This module
only finds the command, so that `textmill --help` imports nothing heavy.
"""

import contextlib
import dataclasses
import importlib
import inspect
import io
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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
    "corpus show": Entry(
        "textmill.cli.corpus:Show", "INPUT... --objective mlm", "what a model would learn from: masks, pairs, windows"
    ),
    "tokenizer train": Entry(
        "textmill.cli.tokenizer_train:Train", "INPUT... --vocab-size N -o DIR", "learn a vocabulary from text"
    ),
    "tokenizer count": Entry(
        "textmill.cli.tokenizer_train:Count", "INPUT... -o FILE", "count pieces, to train on many machines' text"
    ),
    "tokenizer convert": Entry(
        "textmill.cli.tokenizer_convert:Convert", "SRC DST", "write a tokenizer in another format, and check it"
    ),
    "tokenizer encode": Entry(
        "textmill.cli.tokenizer:Encode", "FOLDER [INPUT|-]", "text to ids, a line of ids for a line of text"
    ),
    "tokenizer decode": Entry("textmill.cli.tokenizer:Decode", "FOLDER [INPUT|-]", "ids back to text"),
    "tokenizer show": Entry(
        "textmill.cli.tokenizer_judge:Show", "FOLDER [TEXT]", "the text, coloured by token, with ids; what it is"
    ),
    "tokenizer compare": Entry(
        "textmill.cli.tokenizer_judge:Compare", "FOLDER... --on INPUT", "tokens per word, coverage, efficiency, speed"
    ),
    "tokenizer extend": Entry(
        "textmill.cli.tokenizer_edit:Extend", "FOLDER INPUT... --tokens N -o DIR", "learn more tokens, keeping old ids"
    ),
    "tokenizer add": Entry(
        "textmill.cli.tokenizer_edit:Add", "FOLDER --words A,B,C -o DIR", "make words tokens of their own"
    ),
    "tokenizer prune": Entry(
        "textmill.cli.tokenizer_edit:Prune", "FOLDER INPUT... --vocab-size N -o DIR", "keep the tokens a text needs"
    ),
    "tokenizer merge": Entry("textmill.cli.tokenizer_edit:Merge", "FOLDER OTHER -o DIR", "join two vocabularies"),
    "pretrain gpt": Entry("textmill.cli.pretrain:Gpt", "INPUT... -o DIR", "train a GPT-2 or GPT-1 from text"),
    "pretrain llama": Entry("textmill.cli.pretrain:Llama", "INPUT... -o DIR", "train a Llama-style model from text"),
    "pretrain mixtral": Entry("textmill.cli.pretrain:Mixtral", "INPUT... -o DIR", "train a mixture of experts"),
    "pretrain transformer-xl": Entry(
        "textmill.cli.pretrain:TransformerXl", "INPUT... -o DIR", "train a Transformer-XL from text"
    ),
    "pretrain bert": Entry("textmill.cli.pretrain_encoders:Bert", "INPUT... -o DIR", "train a BERT from text"),
    "pretrain modern-bert": Entry(
        "textmill.cli.pretrain_encoders:ModernBert", "INPUT... -o DIR", "train a modern encoder from text"
    ),
    "pretrain nnlm": Entry(
        "textmill.cli.pretrain_recurrent:Nnlm", "INPUT... -o DIR", "train Bengio's neural language model from text"
    ),
    "pretrain rnn": Entry("textmill.cli.pretrain_recurrent:Rnn", "INPUT... -o DIR", "train Elman's network from text"),
    "pretrain lstm": Entry("textmill.cli.pretrain_recurrent:Lstm", "INPUT... -o DIR", "train an LSTM from text"),
    "pretrain gru": Entry("textmill.cli.pretrain_recurrent:Gru", "INPUT... -o DIR", "train a GRU from text"),
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
    """Runs one command; returns the exit status: 0, 2 for a user's mistake, 130 for Ctrl-C, 143 for SIGTERM."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    for stream in (sys.stdout, sys.stderr):
        # what a terminal's encoding can't show is escaped instead of ending the command
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with _plain_warnings():
            status = _dispatch(words)
        sys.stdout.flush()
        return status
    except TextmillError as error:
        if debug:
            raise
        if error.exit_status > 128:
            return _stopped(words, error.problem, error.exit_status)
        return _failed(str(error), error.exit_status)
    except KeyboardInterrupt:
        if debug:
            raise
        return _stopped(words, "stopped", 130)
    except BrokenPipeError:
        # the reader of a pipe went away; keep the interpreter from complaining about it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if debug or error.errno is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        return _failed(f"{where}{error.strerror}. Fix: see to the file or the disk, then give the command again", 2)


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Our own warnings as one line, without the place in the program; those of others as they are."""
    before, home = warnings.formatwarning, os.path.dirname(os.path.dirname(__file__))

    def formatted(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        if not filename.startswith(home + os.sep):
            return before(message, category, filename, lineno, line)
        return f"textmill: warning: {' '.join(str(message).split())}\n"

    warnings.formatwarning = formatted
    try:
        yield
    finally:
        warnings.formatwarning = before


def _failed(message: str, status: int) -> int:
    print("textmill: error: " + " ".join(message.split()), file=sys.stderr)
    return status


def _stopped(words: list[str], problem: str, status: int) -> int:
    """Says that a run goes on, where it does."""
    hint = ""
    if words[:1] in ([], ["run"], ["pretrain"]):
        same = "the same command without --fresh" if "--fresh" in words else "the same command"
        hint = f"; {same} continues where this one left off"
    print(f"textmill: {problem}{hint}", file=sys.stderr)
    return status


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
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            chosen = tyro.cli(
                command,
                args=rest,
                prog=f"textmill {name}",
                description=inspect.cleandoc(command.__doc__),
                config=(tyro.conf.HelptextFromCommentsOff, tyro.conf.FlagCreatePairsOff),
            )
    except SystemExit as error:
        if not error.code:
            raise
        fix = _suggestion(rest, command) or f"see 'textmill {name} --help'"
        return _failed(f"{_in_one_line(told.getvalue())}. Fix: {fix}", 2)
    return chosen.run() or 0


def _suggestion(words: Sequence[str], command: Any) -> str:
    """The option that a word was meant to be, if one comes near."""
    import difflib

    known = ["--" + field.name.replace("_", "-") for field in dataclasses.fields(command)]
    given = [word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")]
    for word in given:
        close = [] if word in known else difflib.get_close_matches(word, known, n=1, cutoff=0.7)
        if close:
            return f"did you mean {close[0]}?"
    return ""


def _in_one_line(box: str) -> str:
    """What tyro says in a box, up to the first rule.

    >>> _in_one_line("╭─ Unrecognized options ─╮\\n│ Unrecognized options: --x │\\n│ ──── │\\n│ more │\\n╰────╯")
    'Unrecognized options: --x'
    """
    said: list[str] = []
    for line in box.splitlines()[1:]:
        text = line.strip(" │")
        if text.strip("─-╰╯"):
            said.append(text)
        elif said:
            break
    return " ".join(said).rstrip(".") or "the options can't be read"


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
