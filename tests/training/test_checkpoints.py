"""Checkpoints: whole or absent, checked, kept and deleted by rule."""

import errno
import json
import os
import subprocess
from pathlib import Path

import pytest
import torch

from textmill.errors import ConfigError, FormatError, OutputError
from textmill.training.checkpoints import MODEL, OPTIMIZER, STATE, Checkpoints, State, _fingerprint, refuse_other
from textmill.training.tensor_file import write_tensors


def state(step: int, best_step: int | None = None) -> State:
    return State(
        step=step, elapsed_seconds=1.5, tokens=10 * step, loss=2.5, best_step=best_step, settings={"a": {"b": 1}}
    )


def saved(tmp_path: Path, *steps: int, keep: int = 9, numbers: int = 50) -> Checkpoints:
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=keep)
    for step in steps:
        checkpoints.save(state(step), {"w": torch.full((numbers,), float(step))}, {"w/momentum": torch.ones(3)})
    return checkpoints


def test_reads_what_was_saved(tmp_path: Path) -> None:
    found = saved(tmp_path, 3, 12).newest()
    assert found is not None
    assert found.path.name == "step-00000012"
    assert found.state == state(12)
    assert torch.equal(found.model()["w"], torch.full((50,), 12.0))
    assert torch.equal(found.optimizer()["w/momentum"], torch.ones(3))


def test_none_yet(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "none")
    assert checkpoints.newest() is None
    checkpoints.clean()


@pytest.mark.parametrize("name", [MODEL, OPTIMIZER, STATE])
@pytest.mark.parametrize("damage", ["torn", "flipped", "missing"])
def test_a_damaged_one_is_passed_over(tmp_path: Path, name: str, damage: str) -> None:
    checkpoints = saved(tmp_path, 3, 12)
    file = checkpoints.path_of(12) / name
    content = bytearray(file.read_bytes())
    if damage == "missing":
        file.unlink()
    elif damage == "torn":
        file.write_bytes(content[: len(content) // 2])
    else:
        # a digit of the first number in state.json, a byte of the header in the others
        place = content.index(b"12") if name == STATE else 20
        content[place] ^= 1
        file.write_bytes(content)
    with pytest.warns(UserWarning, match="passing over a damaged checkpoint: .*step-00000012"):
        found = checkpoints.newest()
    assert found is not None
    assert found.state.step == 3


def test_a_damaged_one_goes_when_its_successor_is_written(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 3, 12)
    (checkpoints.path_of(12) / MODEL).write_bytes(b"")
    saved(tmp_path, 5)
    assert checkpoints.steps() == [3, 5]


def test_all_damaged(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 3)
    (checkpoints.path_of(3) / STATE).write_text("[]")
    with pytest.warns(UserWarning, match="doesn't match its own checksum"):
        assert checkpoints.newest() is None


def rewritten(checkpoints: Checkpoints, step: int, **changes: object) -> None:
    """A whole state.json, as another version would have written it."""
    path = checkpoints.path_of(step) / STATE
    content = json.loads(path.read_text()) | changes
    del content["sha256"]
    content["sha256"] = _fingerprint(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("changes", [{"format": 99}, {"mood": "good"}])
def test_another_version(tmp_path: Path, changes: dict[str, object]) -> None:
    """It is not passed over: the run would begin again, and in time delete it."""
    checkpoints = saved(tmp_path, 3, 12)
    rewritten(checkpoints, 12, **changes, versions={"textmill": "9.9"})
    wanted = r"step-00000012 was written by another version of textmill \(9\.9\); this is .*--fresh to begin again"
    with pytest.raises(FormatError, match=wanted):
        checkpoints.newest()
    with pytest.raises(FormatError, match=wanted):
        checkpoints.read(12)


def test_a_checkpoint_without_newer_figures_is_read(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 3)
    path = checkpoints.path_of(3) / STATE
    content = json.loads(path.read_text())
    for name in ("skipped", "skipped_in_a_row", "sha256"):
        del content[name]
    content["sha256"] = _fingerprint(content)
    path.write_text(json.dumps(content))
    found = checkpoints.read(3)
    assert (found.state.skipped, found.state.skipped_in_a_row) == (0, 0)


def test_a_format_that_was_changed_by_hand(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 3)
    path = checkpoints.path_of(3) / STATE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(FormatError, match="own checksum"):
        checkpoints.read(3)


@pytest.mark.parametrize("name", [MODEL, OPTIMIZER, STATE])
def test_a_disk_that_is_full_at_any_file_leaves_the_previous_one(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = saved(tmp_path, 1)

    def full(path: Path, *arguments: object, **keywords: object) -> str:
        if path.name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write_tensors(path, *arguments, **keywords) if path.suffix == ".safetensors" else ""  # type: ignore[arg-type]

    monkeypatch.setattr("textmill.training.checkpoints.write_tensors", full)
    if name == STATE:
        monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutputError, match=r"step-00000002: the disk is full\. Fix: free some space"):
        saved(tmp_path, 2)
    monkeypatch.undo()
    assert os.listdir(checkpoints.folder) == ["step-00000001"]
    found = checkpoints.newest()
    assert found is not None
    assert found.state.step == 1


def test_keeps_the_newest_and_the_best(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in range(1, 7):
        checkpoints.save(state(step, best_step=min(step, 2)), {}, {})
    assert checkpoints.steps() == [2, 5, 6]


def test_leftovers_are_removed(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 3)
    leftover = checkpoints.folder / ".step-00000004.partial-abc"
    leftover.mkdir()
    (leftover / MODEL).write_bytes(b"half")
    checkpoints.clean()
    assert sorted(os.listdir(checkpoints.folder)) == ["step-00000003"]


def test_other_things_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 3, keep=1)
    (checkpoints.folder / "step-notes").mkdir()
    saved(tmp_path, 4, keep=1)
    assert sorted(os.listdir(checkpoints.folder)) == ["step-00000004", "step-notes"]


def test_full_disk_leaves_the_previous_one(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(small)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small disk can't be mounted here")
    try:
        checkpoints = saved(small, 1)
        with pytest.raises(OutputError, match=r"step-00000002: the disk is full\. Fix: free some space"):
            saved(small, 2, numbers=100_000)
        assert os.listdir(checkpoints.folder) == ["step-00000001"]
        found = checkpoints.newest()
        assert found is not None
        assert found.state.step == 1
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_refuses_another_run() -> None:
    found = {"training": {"steps": 10, "betas": [0.9, 0.95]}, "objective": "NextToken()"}
    refuse_other(found, {"training": {"steps": 10, "betas": (0.9, 0.95)}, "objective": "NextToken()"}, Path("here"))
    wanted = {"training": {"steps": 20, "betas": [0.9, 0.95]}, "objective": "NextToken()"}
    with pytest.raises(
        ConfigError, match=r"here belongs to another run: training\.steps was 10 and is now 20.*--fresh"
    ):
        refuse_other(found, wanted, Path("here"))
