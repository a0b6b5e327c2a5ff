"""Every way to hold the commands wrong: one clear line with the fix, status 2, nothing half-written, nothing lost."""

import contextlib
import fcntl
import io
import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from textmill.cli import main
from textmill.files import PARTIAL

Capture = pytest.CaptureFixture[str]


def refused(capsys: Capture, *words: object) -> str:
    """The one line that a command which must fail prints."""
    capsys.readouterr()
    status = main([str(word) for word in words])
    shown = capsys.readouterr()
    lines = [line for line in shown.err.splitlines() if line.startswith("textmill: error: ")]
    assert status == 2, shown
    assert "Traceback" not in shown.err
    assert len(lines) == 1, shown.err
    assert shown.err.splitlines()[-1] == lines[0]
    assert ". Fix: " in lines[0], lines[0]
    return lines[0]


def no_leftovers(folder: Path) -> bool:
    return not [path for path in folder.rglob("*") if PARTIAL in path.name]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A file system of its own at `folder`; the test is skipped where it can't be mounted."""
    folder.mkdir(exist_ok=True)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False, capture_output=True)
    if made.returncode:
        pytest.skip("a file system can't be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that the test may break."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


@pytest.fixture(scope="module")
def tiny_pretraining(tiny: list[str]) -> list[str]:
    """The same for the recipe that only trains."""
    settings = [setting for setting in tiny[1::2] if "sample" not in setting]
    return [word for setting in settings for word in ("--set", setting)]


@pytest.fixture(scope="module")
def whole(tiny_pretraining: list[str], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The weights that an uninterrupted run of that recipe gives."""
    out = tmp_path_factory.mktemp("whole")
    assert main(["run", "pretrain", *tiny_pretraining, "--quiet", "-o", str(out)]) == 0
    return (out / "model" / "model.safetensors").read_bytes()


# --- the text


@pytest.mark.parametrize("content", [b"", b" \n\n \t\n", b"\xef\xbb\xbf"])
@pytest.mark.parametrize(
    "command", [["run", "quickstart", "--set", "corpus={}"], ["pretrain", "gpt", "{}"], ["tokenizer", "train", "{}"]]
)
def test_an_empty_corpus(content: bytes, command: list[str], tmp_path: Path, capsys: Capture) -> None:
    path, out = tmp_path / "empty.txt", tmp_path / "out"
    path.write_bytes(content)
    message = refused(capsys, *[word.format(path) for word in command], "-o", out)
    assert "holds no document" in message or "no text to train a tokenizer on" in message
    assert no_leftovers(tmp_path)
    assert {entry.name for entry in out.glob("*")} <= {".lock", "run.json"}


def test_empty_text_to_evaluate(finished: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    assert "the corpus holds no document" in refused(capsys, "evaluate", finished / "model", tmp_path / "empty.txt")


def test_a_corpus_shorter_than_a_sequence(tmp_path: Path, tiny: list[str], capsys: Capture) -> None:
    (tmp_path / "short.txt").write_text("a cat\n\na dog\n\na mouse")
    changed = ["--set", f"corpus={tmp_path / 'short.txt'}"]
    message = refused(capsys, "run", "quickstart", *tiny, *changed, "-o", tmp_path / "out")
    assert "tokens, fewer than one sequence of 33. Fix: give more text, or set context_length" in message


def test_a_single_document_leaves_nothing_to_measure_on(tmp_path: Path, tiny: list[str], capsys: Capture) -> None:
    (tmp_path / "one.txt").write_text("one document of some words that goes on and on " * 40)
    changed = ["--set", f"corpus={tmp_path / 'one.txt'}", "--set", "documents=file"]
    message = refused(capsys, "run", "quickstart", *tiny, *changed, "-o", tmp_path / "out")
    assert "held" in message or "validation" in message, message


def test_a_vocabulary_larger_than_the_text_gives(tmp_path: Path, text: Path, capsys: Capture) -> None:
    wanted = "the text gives a vocabulary of at most"
    out = tmp_path / "out"
    assert wanted in refused(capsys, "tokenizer", "train", text, "--vocab-size", 9000, "-o", out)
    assert list(out.glob("*")) == []
    assert wanted in refused(capsys, "pretrain", "gpt", text, "--vocab-size", 9000, "-o", tmp_path / "run")


def test_the_quickstart_takes_the_vocabulary_that_the_text_gives(tmp_path: Path, tiny: list[str]) -> None:
    enough = ["--set", "tokenizer.vocab_size=9000", "--quiet"]
    assert main(["run", "quickstart", *tiny, *enough, "-o", str(tmp_path / "out")]) == 0
    facts = json.loads((tmp_path / "out" / "run.json").read_text())["stages"]
    assert 257 < facts["tokenizer"]["facts"]["vocab_size"] < 9000


def test_invalid_utf8(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(b"good words here\n\nbad \xff words\n\nmore good words")
    stats = ("corpus", "stats", path, "--documents", "paragraph", "--json")
    message = refused(capsys, *stats)
    assert "bad.txt" in message
    assert "byte 21" in message
    assert "--errors" in message
    counts = {}
    for errors in ("replace", "skip"):
        assert main([*map(str, stats), "--errors", errors]) == 0
        shown = capsys.readouterr()
        counts[errors] = json.loads(shown.out)["documents"]
        assert "1" in shown.err
    assert counts == {"replace": 3, "skip": 2}
    assert "byte 21" in refused(capsys, "run", "quickstart", "--set", f"corpus={path}", "-o", tmp_path / "run")


@pytest.mark.parametrize("corpus", ["-", '["-"]', '["builtin","-"]', "/dev/stdin"])
def test_stdin_for_a_recipe(corpus: str, tmp_path: Path, capsys: Capture) -> None:
    if corpus == "/dev/stdin" and not os.path.exists(corpus):
        pytest.skip("needs /dev/stdin")
    message = refused(capsys, "run", "--set", f"corpus={corpus}", "-o", tmp_path / "run")
    assert "a run reads its text more than once, which" in message
    assert "Fix: save it to a file first" in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("words", [["corpus", "stats"], ["tokenizer", "train"], ["pretrain", "gpt"]])
def test_a_mistyped_path(words: list[str], tmp_path: Path, capsys: Capture) -> None:
    assert "does not exist. Fix: check the path" in refused(capsys, *words, tmp_path / "nothing.txt")
    assert "no file matches" in refused(capsys, *words, tmp_path / "*.txt")
    refused(capsys, *words, "x" * 5000)


def test_a_missing_field(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n{"body": "b"}\n')
    message = refused(capsys, "corpus", "stats", tmp_path / "rows.jsonl")
    assert "rows.jsonl" in message
    assert "text" in message


# --- settings


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("trainning.steps=3", "there is no setting 'trainning.steps'. Fix: did you mean 'training'?"),
        ("training.stepps=3", "there is no setting 'training.stepps'. Fix: did you mean 'steps'?"),
        ("training.steps=many", "training.steps must be a whole number"),
        ("training.steps=1.5", "training.steps must be a whole number"),
        ("training.steps=" + "9" * 5000, "training.steps must be a whole number"),
        ("training.learning_rate=1" + "0" * 400, ""),
        ("training.learning_rate=NaN", "learning_rate must be > 0"),
        ("training.steps=0", "steps must be at least 1"),
        ("training.steps=null", "a run needs an end"),
        ("training.optimizer=adamax", "must be one of muon, adamw"),
        ("training.steps.x=1", "steps is a single value, it has no parts"),
        ("corpus=" + "[" * 100_000, ""),
        ("corpus", "a setting is written a.b=value"),
        ("prompts=3", "prompts must be a list or null"),
        ("temperature=-1", "temperature must be >= 0"),
        ("temperature=Infinity", "temperature must be"),
        ("top_p=2", "top_p must be in (0, 1]"),
        ("sample_tokens=-1", "max_tokens must be >= 0"),
        ("baseline_bytes=-1", "baseline_bytes must be"),
        ("shards.validation_fraction=2", "validation_fraction must be"),
        ("tokenizer.vocab_size=10", "vocab_size must be"),
        ("tokenizer.split=(", "split"),
        ("model.num_heads=3", "num_heads must divide width"),
        ("model.num_heads=0", "num_heads must be at least 1"),
        ("model.num_kv_heads=0", "num_kv_heads must"),
        ("model.num_kv_heads=3", "num_kv_heads must"),
        ("model.head_dim=7", "head_dim must"),
        ("model.context_length=16", "training.context_length is 32, the model's context only 16"),
        ("errors=ignore", "must be one of strict, replace, skip"),
        ("tokenizer_from=/nowhere", "/nowhere does not exist"),
    ],
)
def test_a_wrong_setting(assignment: str, message: str, tiny: list[str], tmp_path: Path, capsys: Capture) -> None:
    shown = refused(capsys, "run", "quickstart", *tiny, "--set", assignment, "-o", tmp_path / "run")
    assert message in shown


def test_a_mistyped_recipe(tmp_path: Path, capsys: Capture) -> None:
    assert "there is no recipe 'quickstrat'" in refused(capsys, "run", "quickstrat")
    (tmp_path / "run.json").write_text('{"recipe": ["quickstart"]}')
    assert "is not the record of a recipe's run" in refused(capsys, "run", tmp_path)
    assert "does not exist" in refused(capsys, "run", tmp_path.parent)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-tokens", "-1"], "max_tokens must be >= 0"),
        (["--temperature", "nan"], "temperature must be >= 0"),
        (["--top-p", "0"], "top_p must be in (0, 1]"),
        (["--stop", ""], "a stop text must not be empty"),
        (["--threads", "0"], "threads"),
        (["--threads", "-3"], "threads"),
        (["--device", "cuda"], "cuda"),
    ],
)
def test_wrong_options_of_generate(options: list[str], message: str, finished: Path, capsys: Capture) -> None:
    import torch

    if options == ["--device", "cuda"] and torch.cuda.is_available():
        pytest.skip("this machine has what must be missing")
    assert message in refused(capsys, "generate", finished / "model", "the", *options)


@pytest.mark.parametrize("size", [0, -1])
def test_wrong_options_of_evaluate(size: int, finished: Path, text: Path, capsys: Capture) -> None:
    message = refused(capsys, "evaluate", finished / "model", text, "--batch-size", size)
    assert f"batch_size must be at least 1, got {size}" in message


@pytest.mark.parametrize("prompt", ["a\0b", "\udc80\ud800 x", "the list " * 500, "", "\x1b[31m", "猫" * 40], ids=ascii)
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_any_prompt_is_continued(prompt: str, options: list[str], finished: Path, capsys: Capture) -> None:
    assert main(["generate", str(finished / "model"), prompt, "--max-tokens", "4", *options]) == 0
    shown = capsys.readouterr().out
    if options:
        assert set(json.loads(shown)) == {"prompt", "text"}


def test_prompts_that_are_not_utf8(finished: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\ntwo \xff\n")))
    message = refused(capsys, "generate", finished / "model", "-", "--max-tokens", "2")
    assert "standard input is not UTF-8 at byte 8" in message


def test_ids_that_are_none(finished: Path, tmp_path: Path, capsys: Capture) -> None:
    for line in ("1 two", "9" * 5000, "99999", "-1", "9" * 30):
        (tmp_path / "ids").write_text(line)
        refused(capsys, "tokenizer", "decode", finished / "tokenizer", tmp_path / "ids")


# --- broken files


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 10)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [cut, flip])
@pytest.mark.parametrize("name", ["train-00000.tokens", "validation-00000.tokens", "shards.json"])
def test_a_damaged_shard(
    name: str, damage: Callable[[Path], None], copy: Path, tiny: list[str], capsys: Capture
) -> None:
    damage(copy / "shards" / name)
    # another length of training: the shards are kept from before
    message = refused(capsys, "run", "quickstart", *tiny, "--set", "training.steps=7", "-o", copy)
    assert name in message
    assert "build the shards again" in message or "write the file again" in message, message


@pytest.mark.parametrize("damage", [cut, flip])
@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json", "tokenizer_config.json"])
def test_a_damaged_model_folder(name: str, damage: Callable[[Path], None], copy: Path, capsys: Capture) -> None:
    damage(copy / "model" / name)
    assert name in refused(capsys, "generate", copy / "model", "the", "--max-tokens", "1")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_missing_part_of_a_model_folder(name: str, copy: Path, capsys: Capture) -> None:
    (copy / "model" / name).unlink()
    assert name in refused(capsys, "generate", copy / "model", "the")


def test_a_folder_that_is_no_tokenizer(text: Path, tmp_path: Path, capsys: Capture) -> None:
    assert "holds no tokenizer" in refused(capsys, "tokenizer", "encode", tmp_path, text)
    assert "is no vocab.txt: it has no line [UNK]" in refused(capsys, "tokenizer", "show", text, "x")
    assert "does not exist" in refused(capsys, "tokenizer", "decode", tmp_path / "none", text)
    assert "holds no tokenizer" in refused(capsys, "pretrain", "gpt", text, "--tokenizer", tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"a": 1}')
    assert "is not a tokenizer" in refused(capsys, "tokenizer", "show", tmp_path, "x")
    assert "holds no config.json" in refused(capsys, "show", tmp_path)


@pytest.mark.parametrize(
    ("name", "damage"), [("model.safetensors", cut), ("optimizer.safetensors", flip), ("state.json", flip)]
)
@pytest.mark.filterwarnings("ignore:passing over a damaged checkpoint")
def test_a_damaged_checkpoint_is_not_gone_on_from(
    name: str, damage: Callable[[Path], None], tiny_pretraining: list[str], whole: bytes, tmp_path: Path
) -> None:
    command = ["run", "pretrain", *tiny_pretraining, "--quiet", "-o", str(tmp_path)]
    assert main(command) == 0
    (tmp_path / "model" / "model.safetensors").unlink()
    damage(tmp_path / "training" / "checkpoints" / "step-00000006" / name)
    assert main(command) == 0
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == whole


# --- the output


def test_an_output_folder_with_something_else(text: Path, tiny: list[str], tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    for command in (
        ["run", "quickstart", *tiny],
        ["pretrain", "gpt", text],
        ["tokenizer", "train", text, "--vocab-size", "270"],
    ):
        message = refused(capsys, *command, "-o", tmp_path)
        assert "already holds something else (thesis.tex)" in message
        assert "add --force" in message
    assert content(tmp_path) == {"thesis.tex": b"years of work"}
    assert main(["tokenizer", "train", str(text), "--vocab-size", "270", "-o", str(tmp_path), "--force"]) == 0
    assert set(content(tmp_path)) == {"thesis.tex", "tokenizer.json", "tokenizer_config.json"}


def test_an_output_that_is_a_file(text: Path, tiny: list[str], tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        assert "is a file" in refused(capsys, "run", "quickstart", *tiny, "-o", out)
        assert "is a file" in refused(capsys, "tokenizer", "train", text, "-o", out)
    assert content(tmp_path) == {"file": b"mine"}


def test_a_read_only_output(text: Path, tiny: list[str], tmp_path: Path, capsys: Capture) -> None:
    with mounted(tmp_path / "fixed", "ro"):
        for command in (["run", "quickstart", *tiny], ["pretrain", "llama", text], ["tokenizer", "train", text]):
            for out in (tmp_path / "fixed", tmp_path / "fixed" / "new"):
                assert "the file system is read-only" in refused(capsys, *command, "-o", out)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_without_permission(tiny: list[str], tmp_path: Path, capsys: Capture) -> None:
    tmp_path.chmod(0o500)
    assert "permission denied" in refused(capsys, "run", "quickstart", *tiny, "-o", tmp_path / "run")


def stage_sizes(finished: Path) -> list[int]:
    """Sizes of a disk, in KB, that is full in one stage after the other."""
    used = [
        sum(path.stat().st_size for path in finished.rglob("*") if path.is_file() and path.parts[-2] in names)
        for names in (("tokenizer",), ("shards",), ("step-00000006",), ("model",), ("plots", "report"))
    ]
    ends = [sum(used[: count + 1]) for count in range(len(used))]
    return [ends[0] // 2048, *((before + after) // 2048 for before, after in itertools.pairwise(ends))]


@pytest.mark.parametrize("every", [2, pytest.param(1, marks=pytest.mark.slow)])
def test_a_full_disk_at_each_stage(
    every: int, finished: Path, tiny: list[str], tmp_path: Path, capsys: Capture
) -> None:
    small = tmp_path / "small"
    for size in stage_sizes(finished)[1::every]:
        with mounted(small, f"size={max(size, 8)}k"):
            message = refused(capsys, "run", "quickstart", *tiny, "-o", small / "run")
            assert "disk is full" in message or "No space left" in message, message
            assert no_leftovers(small)
            # with more space the same command goes on, and nothing was lost
            subprocess.run(["mount", "-o", "remount,size=16m", small], check=True)
            assert main(["run", "quickstart", *tiny, "--quiet", "-o", str(small / "run")]) == 0
            weights = small / "run" / "model" / "model.safetensors"
            assert weights.read_bytes() == (finished / "model" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("largest", [0, pytest.param(20_000, marks=pytest.mark.slow)])
def test_a_file_larger_than_the_system_allows(largest: int, tiny: list[str], tmp_path: Path, capsys: Capture) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, before[1]))
    try:
        status = main(["run", "quickstart", *tiny, "--quiet", "-o", str(tmp_path / "run")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert status == 2
    assert no_leftovers(tmp_path)
    assert main(["run", "quickstart", *tiny, "--quiet", "-o", str(tmp_path / "run")]) == 0


def test_a_full_disk_for_a_tokenizer(text: Path, tmp_path: Path, capsys: Capture) -> None:
    small = tmp_path / "small"
    with mounted(small, "size=8k"):
        message = refused(capsys, "tokenizer", "train", text, "--vocab-size", 290, "-o", small / "tok")
        assert "the disk is full" in message
        assert content(small) == {}


def test_another_process_in_the_folder(copy: Path, tiny: list[str], capsys: Capture) -> None:
    with open(copy / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = content(copy)
        assert "another process is at work in" in refused(capsys, "run", "quickstart", *tiny, "-o", copy)
        assert content(copy) == before


# --- signals


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=str
)
def test_a_signal_while_training(
    number: signal.Signals,
    status: int,
    tiny_pretraining: list[str],
    whole: bytes,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from textmill.training.hooks import JsonLines, StepRecord

    written = JsonLines.on_step

    def on_step(self: JsonLines, record: StepRecord) -> None:
        written(self, record)
        if record.step == 3:
            signal.raise_signal(number)

    command = ["run", "pretrain", *tiny_pretraining, "--quiet", "-o", str(tmp_path)]
    with monkeypatch.context() as patched:
        patched.setattr(JsonLines, "on_step", on_step)
        assert main(command) == status
    assert capsys.readouterr().err.splitlines() == [
        f"textmill: stopped by {number.name} after step 3; the same command continues where this one left off"
    ]
    assert [path.name for path in (tmp_path / "training" / "checkpoints").iterdir()] == ["step-00000003"]
    assert main(command) == 0
    steps = [json.loads(line)["step"] for line in (tmp_path / "training" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 5, 6, 6]
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == whole


@pytest.mark.slow
def test_ctrl_c_from_outside(text: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "textmill", "pretrain", "gpt", text, "--vocab-size", "300", "--width", "16"]
    command += ["--layers", "1", "--heads", "2", "--context", "32", "--steps", "1000000", "-o", tmp_path / "run"]
    metrics = tmp_path / "run" / "training" / "metrics.jsonl"
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not (metrics.exists() and metrics.stat().st_size > 1000):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        told = process.stderr.read().splitlines()
    assert process.returncode == 130
    assert told[-1].startswith("textmill: stopped by SIGINT after step ")
    assert told[-1].endswith("; the same command continues where this one left off")
    assert len(list((tmp_path / "run" / "training" / "checkpoints").iterdir())) == 1
