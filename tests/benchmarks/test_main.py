import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from benchmarks.harness import Comparison, Goal, Options, RefusedError, Side, SkippedError

from benchmarks import __main__ as command
from benchmarks import table
from textmill.errors import FormatError


def benchmark(*comparisons: Comparison, skipped: bool = False) -> SimpleNamespace:
    def offered(options: Options) -> Iterator[Comparison]:
        yield from comparisons
        if skipped:
            raise SkippedError("no data")

    return SimpleNamespace(ABOUT="about", GOALS=("a goal",), comparisons=offered)


def comparison(name: str, ours: float, peer: float, goal: float = 2.0, *, refused: bool = False) -> Comparison:
    def check() -> None:
        if refused:
            raise RefusedError("the outputs differ")

    return Comparison(
        name=name,
        goal=Goal(kind="times", value=goal),
        ours=Side(name="textmill", measure=lambda: ours),
        peer=Side(name="peer", measure=lambda: peer),
        check=check,
        sizes={"bytes": 7},
    )


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch):
    def use(module: SimpleNamespace) -> None:
        monkeypatch.setattr(command, "load", lambda name: module)

    return use


def test_without_a_name_it_lists_every_benchmark_and_its_goals(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 0
    printed = capsys.readouterr().out
    for name in command.NAMES:
        assert f"\n{name} " in "\n" + printed
        for goal in command.load(name).GOALS:
            assert f"goal: {goal}" in printed


def test_results_are_appended_and_a_lost_goal_says_so(offer, tmp_path: Path, capsys) -> None:
    results = tmp_path / "results.jsonl"
    offer(benchmark(comparison("good", 1, 4), comparison("bad", 4, 4)))
    for _ in range(2):
        assert command.main(["encode", "--results", str(results)]) == 0
    printed = capsys.readouterr().out
    assert "reached  good: 4x, goal at least 2x" in printed
    assert "LOST     bad: 1x, goal at least 2x" in printed
    entries = [json.loads(line) for line in results.read_text().splitlines()]
    assert [entry["name"] for entry in entries] == ["good", "bad", "good", "bad"]
    assert entries[0]["command"].startswith("python -m benchmarks encode")
    assert len(entries[0]["ours"]["values"]) == 5


def test_quick_keeps_nothing_and_only_picks(offer, tmp_path: Path, capsys) -> None:
    results = tmp_path / "results.jsonl"
    offer(benchmark(comparison("good", 1, 4), comparison("bad", 4, 4)))
    assert command.main(["encode", "--quick", "--only", "goo", "--results", str(results)]) == 0
    assert "bad" not in capsys.readouterr().out
    assert not results.exists()


def test_refused_ends_with_an_error_after_the_others_were_measured(offer, tmp_path: Path, capsys) -> None:
    results = tmp_path / "results.jsonl"
    offer(benchmark(comparison("wrong", 1, 4, refused=True), comparison("good", 1, 4)))
    assert command.main(["encode", "--results", str(results)]) == 1
    printed = capsys.readouterr().out
    assert "REFUSED  wrong: the outputs differ" in printed
    assert "reached  good" in printed
    assert "wrong" not in results.read_text()


def test_missing_data_are_skipped(offer, tmp_path: Path, capsys) -> None:
    offer(benchmark(comparison("good", 1, 4), skipped=True))
    assert command.main(["encode", "--results", str(tmp_path / "results.jsonl")]) == 0
    assert "SKIPPED  encode: no data" in capsys.readouterr().out


def test_the_table_shows_the_latest_of_each(offer, tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    offer(benchmark(comparison("a|b", 1, 4), comparison("second", 1, 1)))
    command.main(["encode", "--results", str(results)])
    offer(benchmark(comparison("a|b", 1, 9)))
    command.main(["encode", "--results", str(results)])
    page = tmp_path / "docs" / "benchmarks.md"
    table.write(results, page)
    text = page.read_text()
    assert "| a\\|b (bytes 7) | 1 s (1 to 1) | peer: 9 s (9 to 9) | **9x** | at least 2x | reached |" in text
    assert "| second (bytes 7) |" in text
    assert "LOST |" in text
    assert "4x" not in text


def test_an_empty_and_a_broken_file_of_results(tmp_path: Path) -> None:
    assert "Nothing has been measured yet" in table.render(table.latest(tmp_path / "none.jsonl"))
    broken = tmp_path / "results.jsonl"
    broken.write_text('{"name": "x"}\n{"na')
    with pytest.raises(FormatError, match=r"results.jsonl, line 2 is no result. Fix: delete that line"):
        table.latest(broken)
