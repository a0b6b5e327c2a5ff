import subprocess
import sys
import warnings

import pytest

import textmill.cli
from textmill.cli import COMMANDS, main


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, entry in COMMANDS.items():
        assert f"textmill {name} {entry.usage}" in shown


def test_a_group_shows_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokenizer"]) == 0
    shown = capsys.readouterr().out
    assert "textmill tokenizer train" in shown
    assert "textmill generate FOLDER" not in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rnu"], "there is no command 'rnu'. Fix: did you mean 'textmill run'?"),
        (
            ["tokenizer", "trian"],
            "there is no command 'tokenizer trian'. Fix: did you mean 'textmill tokenizer train'?",
        ),
        (["fly"], "there is no command 'fly'. Fix: see 'textmill --help'"),
        (["generate", "nowhere", "x"], "there is no model folder at nowhere. Fix: check the path"),
        (["corpus", "stats", "nowhere.txt"], "the input nowhere.txt does not exist. Fix: check the path"),
        (["run", "quikstart"], "there is no recipe 'quikstart'. Fix: choose from quickstart, pretrain"),
        (["run", "--set", "corpsu=x"], "there is no setting 'corpsu'. Fix: did you mean 'corpus'?"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("textmill: error: ")
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*name.split(), "--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert f"usage: textmill {name}" in shown
    assert "Example" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["corpus", "stats", "--colour"], "Unrecognized options: --colour. Fix: see 'textmill corpus stats --help'"),
        (["pretrain", "gpt", "x", "--vocabsize", "4"], "--vocabsize, 4. Fix: did you mean --vocab-size?"),
        (["generate"], "Missing from textmill generate: FOLDER The model folder. (required). Fix: see"),
        (["run", "--set"], "Missing value for argument '--set'"),
        (["pretrain", "gpt", "x", "--steps", "many"], "Error parsing --steps"),
        (["tokenizer", "train", "x", "--algorithm", "magic"], "invalid choice 'magic' for argument '--algorithm'"),
    ],
)
def test_a_mistyped_option_is_one_line_too(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("textmill: error: ")
    assert message in shown
    assert shown.count("\n") == 1


def test_a_warning_of_ours_is_one_line_without_the_place_in_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    before = warnings.formatwarning
    shown: list[str] = []

    def warns(_words: list[str]) -> int:
        places = (textmill.cli.__file__, "/elsewhere/module.py")
        shown[:] = [warnings.formatwarning("a checkpoint\nis damaged", UserWarning, place, 7, "") for place in places]
        return 0

    monkeypatch.setattr("textmill.cli._dispatch", warns)
    assert main([]) == 0
    assert shown[0] == "textmill: warning: a checkpoint is damaged\n"
    assert shown[1].startswith("/elsewhere/module.py:7: UserWarning: a checkpoint")
    assert warnings.formatwarning is before


def test_debug_shows_the_traceback() -> None:
    command = [sys.executable, "-m", "textmill", "--debug", "corpus", "stats", "nowhere.txt"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" in done.stderr
    assert done.returncode == 1


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m textmill --help | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("textmill: raw text in")
    assert done.stderr == ""
