import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from textmill.errors import FormatError, OutputError
from textmill.recipes.stages import Facts, Silent, Stage, Tell, run_stages


@dataclass(frozen=True, kw_only=True)
class Settings:
    size: int = 1


class Recorder(Silent):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def stage(self, number: int, total: int, stage: Stage, *, kept: bool) -> None:
        self.seen.append(f"{stage.name}{' kept' if kept else ''}")


def stage(name: str, *, inputs: Any = None, fail: bool = False) -> Stage:
    def run(folder: Path, facts: Facts, tell: Tell) -> Mapping[str, Any]:
        if fail:
            raise RuntimeError("cut")
        (folder / name).write_text(name)
        return {"before": sorted(facts)}

    return Stage(name=name, title=name, inputs=inputs, outputs=(name,), run=run)


def go(folder: Path, *stages: Stage, fresh: bool = False) -> tuple[list[str], dict[str, Mapping[str, Any]]]:
    recorder = Recorder()
    facts = run_stages(folder, "test", Settings(), stages, fresh=fresh, force=False, reporter=recorder)
    return recorder.seen, facts


def test_finished_stages_are_kept(tmp_path: Path) -> None:
    seen, first = go(tmp_path, stage("a"), stage("b"))
    assert seen == ["a", "b"]
    assert first["b"] == {"before": ["a"]}
    assert go(tmp_path, stage("a"), stage("b")) == (["a kept", "b kept"], first)
    assert go(tmp_path, stage("a"), stage("b"), fresh=True)[0] == ["a", "b"]


def test_a_changed_input_repeats_its_stage_and_all_after(tmp_path: Path) -> None:
    go(tmp_path, stage("a"), stage("b"), stage("c"))
    assert go(tmp_path, stage("a"), stage("b", inputs=1), stage("c"))[0] == ["a kept", "b", "c"]


def test_a_lost_output_repeats_its_stage_and_all_after(tmp_path: Path) -> None:
    go(tmp_path, stage("a"), stage("b"), stage("c"))
    (tmp_path / "b").unlink()
    assert go(tmp_path, stage("a"), stage("b"), stage("c"))[0] == ["a kept", "b", "c"]


def test_a_cut_run_goes_on(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="cut"):
        go(tmp_path, stage("a"), stage("b", fail=True))
    assert go(tmp_path, stage("a"), stage("b"))[0] == ["a kept", "b"]


def test_the_record_says_how_the_run_was_made(tmp_path: Path) -> None:
    go(tmp_path, stage("a"))
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["recipe"] == "test"
    assert record["settings"] == {"size": 1}
    assert set(record["stages"]["a"]) == {"fingerprint", "seconds", "facts", "sha256"}


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    program = (
        "import fcntl, sys\n"
        f"lock = open({str(tmp_path / '.lock')!r}, 'w'); fcntl.flock(lock, fcntl.LOCK_EX)\n"
        "print('held', flush=True); sys.stdin.read()\n"
    )
    (tmp_path / "run.json").write_text("{}")
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(OutputError, match="another process is at work in"):
            go(tmp_path, stage("a"))
        process.stdin.close()
    assert go(tmp_path, stage("a"))[0] == ["a"]


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_text("")
    with pytest.raises(OutputError, match=r"already holds something else \(holiday.jpg\)"):
        go(tmp_path, stage("a"))


def test_a_foreign_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("[1]")
    with pytest.raises(FormatError, match="is not a run's record"):
        go(tmp_path, stage("a"))
