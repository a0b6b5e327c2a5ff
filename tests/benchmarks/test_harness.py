import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks.child import peak_bytes, resident_bytes
from benchmarks.harness import (
    Comparison,
    Goal,
    RefusedError,
    Side,
    Worker,
    compare,
    in_child,
    machine,
    process_seconds,
    record,
    spread,
    timed,
    versions,
)


def sides(order: list[str], ours: list[float], peer: list[float]) -> tuple[Side, Side]:
    """Sides that give these measurements and write down when they were asked."""

    def side(name: str, values: list[float]) -> Side:
        left = iter(values)

        def measure() -> float:
            order.append(name)
            return next(left)

        return Side(name=name, measure=measure)

    return side("ours", ours), side("peer", peer)


def test_rounds_are_interleaved_after_a_warm_up_that_does_not_count() -> None:
    order: list[str] = []
    ours, peer = sides(order, [99, 1, 2, 4], [99, 10, 30, 8])
    result = compare(Comparison(name="x", goal=Goal(kind="times", value=5), ours=ours, peer=peer), rounds=3)
    assert order == ["ours", "peer"] * 4
    assert result.ours.values == [1, 2, 4]
    # round by round 10, 15 and 2; the medians are 2 and 10
    assert (result.figure, result.figure_of_medians, result.reached) == (10, 5, True)


@pytest.mark.parametrize(
    ("goal", "figure", "reached"),
    [
        (Goal(kind="times", value=3), 4.0, True),
        (Goal(kind="times", value=5), 4.0, False),
        (Goal(kind="share", value=0.6), 0.25, True),
        (Goal(kind="share", value=0.2), 0.25, False),
        (Goal(kind="below", value=2.5), 2.0, True),
        (Goal(kind="below", value=1.5), 2.0, False),
    ],
)
def test_goals(goal: Goal, figure: float, reached: bool) -> None:
    ours, peer = sides([], [2.0], [8.0])
    result = compare(Comparison(name="x", goal=goal, ours=ours, peer=peer, warm_up=0), rounds=1)
    assert (result.figure, result.reached) == (figure, reached)


def test_sides_whose_outputs_differ_are_never_measured() -> None:
    def check() -> None:
        raise RefusedError("the ids differ")

    order: list[str] = []
    ours, peer = sides(order, [1], [1])
    with pytest.raises(RefusedError, match="the ids differ"):
        compare(Comparison(name="x", goal=Goal(kind="times", value=1), ours=ours, peer=peer, check=check), rounds=1)
    assert order == []


def test_spread_is_the_middle_half() -> None:
    measured = spread("x", [5.0, 1.0, 2.0, 3.0, 4.0])
    assert (measured.lower_quartile, measured.median, measured.upper_quartile) == (2, 3, 4)
    assert spread("x", [7.0]).upper_quartile == 7


def test_records_name_no_machine_and_no_path() -> None:
    ours, peer = sides([], [1.0], [2.0])
    result = compare(Comparison(name="x", goal=Goal(kind="times", value=1), ours=ours, peer=peer, warm_up=0), rounds=1)
    entry = record("bench", result, "python -m benchmarks bench")
    assert set(entry["machine"]) == {"processor", "cores", "memory_gib"}
    assert entry["machine"] == machine()
    assert {"python", "textmill"} <= set(versions())
    assert "/" not in str(entry["versions"])


def test_timed_measures_seconds() -> None:
    calls = []
    assert 0 <= timed(lambda: calls.append(1))() < 1
    assert calls == [1]


def test_a_child_reports_what_it_returned_and_its_own_peak() -> None:
    # this process holds 200 MB, which must not be counted as the child's
    held = bytearray(200_000_000)
    small = in_child("benchmarks.harness:machine", {})
    assert small["cores"] == machine()["cores"]
    assert 0 < small["peak_bytes"] < 150_000_000
    assert small["process_seconds"] > 0
    assert len(held) < peak_bytes()
    assert resident_bytes() <= peak_bytes()


def counting(start: int) -> tuple[dict[str, int], Callable[[], int]]:
    """Served by the worker of the next test."""
    numbers = itertools.count(start)
    return {"start": start}, lambda: next(numbers)


def test_a_worker_keeps_its_state_between_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    with Worker("test_harness:counting", {"start": 7}) as worker:
        assert worker.facts == {"start": 7}
        assert [worker.measure(), worker.measure()] == [7.0, 8.0]
    assert worker.process.poll() is not None
    with pytest.raises(RefusedError, match="test_harness:missing ended with 1"):
        Worker("test_harness:missing", {})


def test_a_failing_process_is_refused() -> None:
    with pytest.raises(RefusedError, match=r"ended with 3: no good"):
        process_seconds([sys.executable, "-c", "import sys; print('no good', file=sys.stderr); sys.exit(3)"])
    with pytest.raises(RefusedError, match="has no attribute"):
        in_child("benchmarks.harness:nothing", {})
