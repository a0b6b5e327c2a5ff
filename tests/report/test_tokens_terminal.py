"""Tokens on a terminal: what stands where, with and without colours."""

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from textmill.report.judgement import Cell, Comparison
from textmill.report.token_text import counts_in_words, visible
from textmill.report.tokens_terminal import print_cells, print_comparison, print_difference, print_facts, print_tree
from textmill.tasks.judge import cells, compare, side_by_side
from textmill.tasks.merge_tree import Node, merge_tree
from textmill.tokenizers import Tokenizer

BPE = Tokenizer.train([b"the list of items returns"] * 9, vocab_size=275)
SMALL = Tokenizer.train([b"the list of items returns"] * 9, vocab_size=262)


def printed(show, *, width: int = 60, terminal: bool = False) -> str:
    file = io.StringIO()
    show(Console(file=file, width=width, force_terminal=terminal, color_system="truecolor" if terminal else None))
    return file.getvalue()


def test_ids_stand_beneath_their_tokens() -> None:
    row = cells(BPE, "the list of")
    above, below, counts = printed(lambda console: print_cells(row, console)).splitlines()
    place = 0
    for cell in row:
        place = above.index(cell.text.replace(" ", "·"), place)
        assert below[place:].split()[0] == str(cell.id)
        place += len(cell.text)
    assert counts == f"{len(row)} tokens, 11 characters, 11 bytes: {11 / len(row):.2f} bytes a token"


@given(st.text(alphabet="the list\n\t猫😀\x1b\u202e\u200b[/red]", max_size=40), st.integers(12, 60))
def test_nothing_of_the_text_is_lost_or_takes_over_the_terminal(text: str, width: int) -> None:
    row = cells(BPE, text)
    shown = printed(lambda console: print_cells(row, console), width=width)
    assert not set(shown) & set("\x1b\u202e\u200b\t")
    lines = shown.splitlines()
    if row:
        ids = [int(word) for line in lines if line.replace(" ", "").isdecimal() for word in line.split()]
        # a line of tokens that are digits would be taken for ids; there are none in this alphabet
        assert ids == [cell.id for cell in row]
    # a line ends with a space, and one token alone may be longer
    assert all(cell_len(line) <= width + 1 for line in lines if line.replace(" ", "").isdecimal())


def test_lines_of_the_text_begin_new_lines() -> None:
    shown = printed(lambda console: print_cells(cells(BPE, "the\nlist"), console)).splitlines()
    assert shown[0].strip().endswith("⏎")
    assert len(shown) == 5


def test_marks_need_no_colour() -> None:
    row = [
        Cell(id=1, spelling="[UNK]", text="x", data=b"[UNK]", start=0, end=1, kind="unknown"),
        Cell(id=2, spelling="a", text="猫", data=b"\xe7", start=1, end=2, kind="part"),
        Cell(id=3, spelling="b", text="", data=b"\x8c\xab", start=2, end=4, kind="part"),
        Cell(id=4, spelling="<s>", text="<s>", data=b"<s>", start=4, end=7, kind="special"),
    ]
    shown = printed(lambda console: print_cells(row, console))
    assert shown.splitlines()[0].split() == ["⁇x", "猫…", "‥8cab", "<s>"]
    for meaning in ("bytes of a character", "unknown to the vocabulary", "special token"):
        assert meaning in shown
    assert counts_in_words(row).endswith("; 2 of them bytes of characters; 1 unknown; 1 special")
    assert counts_in_words([]) == "0 tokens, 0 characters, 0 bytes"


def test_colours_on_a_terminal() -> None:
    shown = printed(lambda console: print_cells(cells(BPE, "the list"), console), terminal=True)
    assert "\x1b[" in shown
    assert "·" not in shown


def test_two_tokenizers_one_above_the_other() -> None:
    rows = side_by_side([cells(BPE, "the lists"), cells(SMALL, "the lists")])
    shown = printed(lambda console: print_difference(("big", "small"), (rows[0], rows[1]), console)).splitlines()
    above, below = shown[0].removeprefix("big    "), shown[1].removeprefix("small  ")
    assert above.replace("│", "").replace("┃", "").replace(" ", "") == "the·lists"
    assert below.replace("│", "").replace("┃", "").replace(" ", "") == "the·lists"
    assert above.replace("┃", "│").replace(" ", "").split("│") == [cell.text.replace(" ", "·") for cell in rows[0]]
    assert below.replace("┃", "│").replace(" ", "").split("│") == [cell.text.replace(" ", "·") for cell in rows[1]]
    # a cut of one alone has room in the other
    assert len(above) == len(below)
    assert all(other == " " for own, other in zip(below, above, strict=True) if own == "┃")
    assert shown[-1] == (
        f"{len(rows[0])} and {len(rows[1])} tokens; {sum(cell.differs for cell in rows[0])} and "
        f"{sum(cell.differs for cell in rows[1])} of them are not tokens of the other"
    )


@given(st.text(alphabet="the list\n猫😀\x1b", max_size=40), st.integers(20, 70))
def test_rows_are_aligned_and_complete(text: str, width: int) -> None:
    rows = side_by_side([cells(BPE, text), cells(SMALL, text)])
    shown = printed(lambda console: print_difference(("a", "b"), (rows[0], rows[1]), console), width=width).splitlines()
    for label in "ab":
        lines = [line.removeprefix(f"{label}  ") for line in shown[:-1] if line.startswith(f"{label}  ")]
        joined = "".join(lines).replace("│", "").replace("┃", "").replace("‥", "").replace(" ", "")
        assert joined == visible(text, blank="·")


def test_a_tree() -> None:
    shown = printed(lambda console: print_tree(merge_tree(BPE, "the"), console))
    (root,) = merge_tree(BPE, "the")
    assert shown.splitlines()[0] == f"the  id {root.id}  merge {root.rank}"
    assert len(shown.splitlines()) == 5
    shown = printed(lambda console: print_tree((Node("a", 1), Node("[b]", None)), console))
    assert "[b]  no token" in shown
    assert "no text is encoded to this token" in shown


def test_a_deep_tree_is_shown() -> None:
    node = Node("a", 0)
    for depth in range(1, 200):
        node = Node("a" * (depth + 1), depth, depth, (node, Node("a", 0)))
    assert len(printed(lambda console: print_tree([node], console), width=2000).splitlines()) == 399


def test_facts_are_no_markup() -> None:
    assert printed(lambda console: print_facts([("splits", "[red]x\x1b[/red]")], console)).split() == [
        "splits",
        "[red]x\\x1b[/red]",
    ]


def test_a_comparison() -> None:
    result: Comparison = compare({"big": BPE, "small": SMALL}, [b"the list of items"], text="mine")
    shown = printed(lambda console: print_comparison(result, console))
    assert "on mine: 17 bytes" in shown
    rows = {line[:24].strip(): line.split()[-2:] for line in shown.splitlines() if line.strip()}
    figures = [one.figures for one in result.judgements]
    assert rows["bytes per token"] == [f"{one.bytes_per_token:.3f}" for one in figures]
    assert rows["tokens"] == [str(one.num_tokens) for one in figures]
    assert rows["tokens in it"] == ["275", "262"]
