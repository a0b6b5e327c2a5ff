"""The quickstart as a whole: what is repeated, what is kept, and what kill -9 leaves."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from textmill.cli import main
from textmill.files import PARTIAL

WORDS = "the a list of items returns value when function module object string number file path error raises"
STAGES = ["tokenizer", "shards", "pretrain", "evaluate", "write", "report"]
WEIGHTS = "model/model.safetensors"


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random.seed(2)
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n\n".join(" ".join(random.choices(WORDS.split(), k=40)) for _ in range(80)))
    return path


@pytest.fixture(scope="module")
def tiny(text: Path) -> list[str]:
    settings = (
        f"corpus={text}",
        "documents=paragraph",
        "tokenizer.vocab_size=290",
        "model.width=16",
        "model.num_layers=1",
        "model.num_heads=2",
        "model.context_length=32",
        "training.context_length=32",
        "training.batch_size=2",
        "training.steps=6",
        "training.checkpoint_every=2",
        "sample_tokens=4",
    )
    return [word for setting in settings for word in ("--set", setting)]


@pytest.fixture(scope="module")
def finished(tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert main(["run", "quickstart", "-o", str(folder), "--quiet", *tiny]) == 0
    return folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def weights(folder: Path) -> bytes:
    return (folder / WEIGHTS).read_bytes()


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "training" / "metrics.jsonl").read_text().splitlines()]


def repeated(capsys: pytest.CaptureFixture[str], *words: object) -> list[str]:
    """The stages that a command runs, those kept left out."""
    capsys.readouterr()
    assert main([str(word) for word in words]) == 0
    told = capsys.readouterr().err.splitlines()
    numbers = [line for line in told if line[1:4] == f"/{len(STAGES)} "]
    assert len(numbers) == len(STAGES), told
    return [STAGES[int(line[0]) - 1] for line in numbers if "(kept from before)" not in line]


def test_what_a_run_leaves(finished: Path) -> None:
    record = json.loads((finished / "run.json").read_text())
    assert list(record["stages"]) == STAGES
    measured = json.loads((finished / "evaluation.json").read_text())
    assert 0 < measured["model"]["bits_per_byte"] < 9
    assert {"gzip", "xz"} < set(measured["baselines"])
    samples = json.loads((finished / "samples.json").read_text())
    assert samples
    assert all(set(sample) == {"prompt", "text"} for sample in samples)
    assert "<html" in (finished / "report" / "report.html").read_text()
    assert [line["step"] for line in metrics(finished) if line["kind"] == "step"] == [1, 2, 3, 4, 5, 6]


def test_the_same_command_repeats_nothing(copy: Path, tiny: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert repeated(capsys, "run", "quickstart", *tiny, "-o", copy) == []


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        ('prompts=["a list"]', ["write", "report"]),
        ("temperature=0.5", ["write", "report"]),
        ("baseline_bytes=100000", ["evaluate", "write", "report"]),
        ("training.evaluate_every=3", []),
        ("training.steps=7", STAGES[2:]),
        ("tokenizer.vocab_size=280", STAGES),
    ],
)
def test_a_change_repeats_what_depends_on_it(
    change: str, stages: list[str], copy: Path, tiny: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = weights(copy)
    assert repeated(capsys, "run", "quickstart", *tiny, "--set", change, "-o", copy) == stages
    assert (weights(copy) != before) == ("pretrain" in stages)


@pytest.mark.parametrize("cut", [False, True])
def test_changed_settings_train_from_the_beginning(cut: bool, tiny: list[str], tmp_path: Path) -> None:
    settings = [setting for setting in tiny[1::2] if "sample" not in setting]
    command = ["run", "pretrain", "--quiet", *(word for setting in settings for word in ("--set", setting))]
    old, new = tmp_path / "old", tmp_path / "new"
    assert main([*command, "-o", str(old)]) == 0
    if cut:
        # as if the process had been killed while it trained
        record = json.loads((old / "run.json").read_text())
        del record["stages"]["pretrain"]
        (old / "run.json").write_text(json.dumps(record))
        shutil.rmtree(old / "training" / "checkpoints" / "step-00000006")
        shutil.rmtree(old / "model")
    for folder in (old, new):
        assert main([*command, "--set", "training.steps=5", "-o", str(folder)]) == 0
    assert weights(old) == weights(new)
    assert [line["step"] for line in metrics(old)] == [1, 2, 3, 4, 5, 5]


def test_a_lost_model_comes_back_without_training(
    copy: Path, finished: Path, tiny: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (copy / WEIGHTS).unlink()
    before = metrics(copy)
    assert repeated(capsys, "run", "quickstart", *tiny, "-o", copy) == STAGES[2:]
    assert weights(copy) == weights(finished)
    assert metrics(copy) == before


def test_fresh_trains_again(copy: Path, tiny: list[str], finished: Path) -> None:
    old = metrics(copy)
    assert main(["run", "quickstart", *tiny, "--quiet", "--fresh", "-o", str(copy)]) == 0
    assert weights(copy) == weights(finished)
    # the same losses at other times
    assert metrics(copy) != old


def test_a_run_again_from_its_record(finished: Path, tmp_path: Path) -> None:
    for number, source in enumerate((finished / "run.json", finished)):
        again = tmp_path / str(number)
        assert main(["run", str(source), "--quiet", "-o", str(again)]) == 0
        assert weights(again) == weights(finished)
        assert (
            json.loads((again / "run.json").read_text())["settings"]
            == json.loads((finished / "run.json").read_text())["settings"]
        )


def test_another_prompt_on_a_record(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "again")
    assert main(["run", str(finished), "--quiet", "--set", 'prompts=["a"]', "-o", str(tmp_path / "again")]) == 0
    assert json.loads((tmp_path / "again" / "samples.json").read_text())[0]["prompt"] == "a"


def test_leftovers_are_cleaned(copy: Path, tiny: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for place in (".model", "tokenizer/.tokenizer.json", ".run.json", "report/.report.html", "training/checkpoints/.x"):
        (copy / f"{place}{PARTIAL}1234").mkdir()
    # as if the process had been killed between taking the old model folder away and putting the new one there
    (copy / "model").rename(copy / f".model{PARTIAL}1234" / f"{PARTIAL}old")
    assert repeated(capsys, "run", "quickstart", *tiny, "-o", copy) == []
    left = [str(path.relative_to(copy)) for path in copy.rglob("*") if PARTIAL in path.name]
    # a checkpoint's is cleaned when training starts
    assert left == [f"training/checkpoints/.x{PARTIAL}1234"]


def killed_run(command: list[str], folder: Path, wait: str, seconds: float) -> int:
    """Starts the command, kills it some time after a stage has begun; its return code."""
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            with contextlib.suppress(OSError, ValueError, KeyError):
                done = json.loads((folder / "run.json").read_text())["stages"]
                if STAGES.index(wait) <= len(done):
                    time.sleep(seconds)
                    os.kill(process.pid, signal.SIGKILL)
                    break
            time.sleep(0.005)
    return process.returncode


@pytest.mark.parametrize(
    "kills",
    [
        [("pretrain", 0.7)],
        pytest.param(
            [(stage, seconds) for stage in STAGES for seconds in (0.0, None)], marks=pytest.mark.slow, id="every stage"
        ),
    ],
)
def test_killed_and_gone_on(
    kills: list[tuple[str, float | None]], finished: Path, tiny: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "textmill", "run", "quickstart", *tiny, "--quiet", "-o", str(out)]
    chance = random.Random(3)
    killed = 0
    for stage, seconds in kills:
        code = killed_run(command, out, stage, chance.uniform(0, 1.5) if seconds is None else seconds)
        killed += code == -signal.SIGKILL
        if code == 0:
            # it was through before it could be killed: begin again, so that the next one is cut as well
            shutil.rmtree(out)
    assert killed >= len(kills) // 2
    assert main(["run", "quickstart", *tiny, "--quiet", "-o", str(out)]) == 0
    assert weights(out) == weights(finished)
    assert not [path for path in out.rglob("*") if PARTIAL in path.name]
    mine, theirs = ({path.relative_to(folder) for path in folder.rglob("*")} for folder in (out, finished))
    assert mine == theirs
