from pathlib import Path
from typing import Any

from benchmarks.table import digest, fill


def entry(
    name: str, peer: str, figure: float, *, benchmark: str = "encode", goal: str = "at least 10x"
) -> dict[str, Any]:
    reached = figure >= 10
    side = {"name": peer, "median": 1.0}
    return {
        "benchmark": benchmark,
        "name": name,
        "peer": side,
        "figure": figure,
        "goal": goal,
        "reached": reached,
        "unit": "s",
    }


ENTRIES = [
    entry("encode english, fast", "fast", 20),
    entry("encode chinese, fast", "fast", 8),
    entry("encode english, slow", "slow", 30),
    entry("encode english, wordpiece, slow", "slow", 40, benchmark="family"),
]


def test_comparisons_with_one_peer_and_one_goal_share_a_row():
    assert digest(ENTRIES).splitlines()[2:] == [
        "| encode (`encode`) | fast | 8x to 20x | at least 10x, **not reached** for chinese |",
        "| encode english, slow | slow | 30x | at least 10x |",
        "| encode english, wordpiece, slow | slow | 40x | at least 10x |",
    ]


def test_words_choose_the_rows_of_a_place(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text(
        "a\n<!-- figure: encode chinese -->\nb\n<!-- figure: family wordpiece -->\n<!-- figure: other -->\n"
    )
    for _ in range(2):
        fill(page, ENTRIES)
        text = page.read_text()
        assert text.count("| encode chinese, fast | fast | 8x |") == 1
        assert "encode english, fast" not in text
        assert text.count("| encode english, wordpiece, slow |") == 1
        assert text.endswith("<!-- figure: other -->\n")
