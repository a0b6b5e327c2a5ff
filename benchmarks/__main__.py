"""`python -m benchmarks` lists, `python -m benchmarks NAME` measures, `python -m benchmarks table` writes the table."""

import argparse
import importlib
import json
import sys
from pathlib import Path

from benchmarks import table
from benchmarks.harness import RESULTS, Benchmark, Options, RefusedError, Result, SkippedError, compare, record

NAMES = (
    "encode",
    "encode_cold",
    "encode_more",
    "encode_family",
    "train_bpe",
    "train_unigram",
    "train_wordpiece",
    "masking",
    "sentence_pairs",
    "first_batch",
    "loader",
    "gpt_step",
    "bert_step",
    "gpu_step",
    "lstm_step",
    "time_to_quality",
    "generate",
    "startup",
    "quickstart",
)


def main(arguments: list[str] | None = None) -> int:
    """0, or 1 when a comparison was refused."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", choices=[*NAMES, "all", "table"], metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (default 5)")
    parser.add_argument("--quick", action="store_true", help="small and short, to see that it runs; nothing is kept")
    parser.add_argument("--minutes", type=float, help="time_to_quality: the peer's training time")
    parser.add_argument("--seeds", type=int, help="time_to_quality: runs of each side (default 3)")
    parser.add_argument("--only", default="", help="only comparisons whose name contains this")
    parser.add_argument("--results", type=Path, default=RESULTS, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.name is None:
        print(listing())
        return 0
    if chosen.name == "table":
        print(table.write(chosen.results))
        return 0
    options = Options(
        rounds=2 if chosen.quick else chosen.rounds,
        quick=chosen.quick,
        minutes=chosen.minutes,
        seeds=chosen.seeds,
        only=chosen.only,
    )
    names = NAMES if chosen.name == "all" else (chosen.name,)
    return max([measure(name, options, chosen.results, arguments or sys.argv[1:]) for name in names])


def listing() -> str:
    """Every benchmark with its goals."""
    lines = []
    for name in NAMES:
        module = load(name)
        lines.append(f"{name:16}{module.ABOUT}")
        lines += [f"{'':16}  goal: {goal}" for goal in module.GOALS]
    return "\n".join(lines)


def load(name: str) -> Benchmark:
    return importlib.import_module(f"benchmarks.{name}")  # type: ignore[return-value]


def measure(name: str, options: Options, results: Path, arguments: list[str]) -> int:
    """Runs the comparisons of one benchmark, prints each and keeps it."""
    command = " ".join(["python -m benchmarks", *arguments])
    refused = 0
    try:
        for comparison in load(name).comparisons(options):
            if options.only not in comparison.name:
                continue
            try:
                result = compare(comparison, options.rounds)
            except RefusedError as refusal:
                print(f"REFUSED  {comparison.name}: {refusal}", flush=True)
                refused = 1
                continue
            print(shown(result), flush=True)
            if not options.quick:
                results.parent.mkdir(parents=True, exist_ok=True)
                with open(results, "a", encoding="utf-8") as file:
                    file.write(json.dumps(record(name, result, command), ensure_ascii=False) + "\n")
    except SkippedError as reason:
        print(f"SKIPPED  {name}: {reason}", flush=True)
    except RefusedError as refusal:
        print(f"REFUSED  {name}: {refusal}", flush=True)
        refused = 1
    return refused


def shown(result: Result) -> str:
    """One result in two or three lines."""
    word = "reached" if result.reached else "LOST   "
    figure = f"{result.figure:.3g}" + ("" if result.goal.startswith("under") else "x")
    lines = [f"{word}  {result.name}: {figure}, goal {result.goal}; of medians {result.figure_of_medians:.3g}"]
    lines += [
        f"         {side.name:32} {side.median:10.4g} {result.unit}"
        f"   middle half {side.lower_quartile:.4g} to {side.upper_quartile:.4g}"
        for side in (result.ours, result.peer)
        if side is not None
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
