"""Pages about tokens: complete, closed, and nothing of a stranger's text is markup."""

import base64
import html
import html.parser
import re
import xml.etree.ElementTree

import pytest

from textmill.metrics.tokens import TextFigures
from textmill.report.judgement import Cell, Comparison, Judgement
from textmill.report.tokens_html import MOST_LISTED, comparison_page, tokens_page
from textmill.tasks.judge import cells, compare
from textmill.tokenizers import Tokenizer

HOSTILE = "<script>alert(1)</script> \"' onmouseover='x' &amp; {{ 7 * 7 }} {% raw %} \x00\x1b[31m \u202e </p></span>\n"
VOID = {"meta", "img", "source", "br", "link", "input"}
BPE = Tokenizer.train([b"the list of items <script> returns"] * 9, vocab_size=280)


class Balanced(html.parser.HTMLParser):
    """Collects the tags with their attributes and the text, and checks that each tag is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and "tokens" not in self.open and self.open[-1] == "span":
            self.text.append(data)


def parsed(page: str) -> Balanced:
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    tags = parser.seen
    assert not [tag for tag, _ in tags if tag in {"script", "link", "iframe", "object", "form", "base"}]
    for _, attributes in tags:
        assert not [name for name in attributes if name.startswith("on") or name == "href"]
        assert all(
            str(attributes[name]).startswith("data:image/svg+xml;base64,")
            for name in attributes
            if name in ("src", "srcset")
        )
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "url(" not in page
    return parser


def judgement(name: str, tokenizer: Tokenizer, text: bytes) -> Comparison:
    return compare({name: tokenizer}, [text], text=name)


def test_hostile_text_is_shown_as_text() -> None:
    row = cells(BPE, HOSTILE)
    page = tokens_page(row, name=HOSTILE, algorithm=HOSTILE, vocab_size=280)
    parser = parsed(page)
    shown = [
        (attributes["class"], attributes["data-about"]) for tag, attributes in parser.seen if "data-about" in attributes
    ]
    assert len(shown) == len(row)
    assert all(re.fullmatch(r"t[0-5]( part)?( rest)?", str(classes)) for classes, _ in shown)
    assert shown[0][1] == f"id {row[0].id}\ntoken {row[0].spelling}\nbytes {row[0].data.hex(' ')}"
    assert "\\x00" in page
    assert "\\x1b" in page
    assert "\\u202e" in page
    assert not set(page) & set("\x00\x1b\u202e")
    assert "49" not in [text.strip() for text in parser.text if "7" in text]


def test_text_and_ids_are_both_there() -> None:
    row = cells(BPE, "the list\nof")
    page = tokens_page(row, name="mine", algorithm="BPE", vocab_size=1290)
    spans = re.findall(r'<span class="text">(.*?)</span><span class="id">(\d+)</span>', page)
    assert [(html.unescape(text), int(id)) for text, id in spans] == [
        (cell.text.replace("\n", "⏎"), cell.id) for cell in row
    ]
    assert page.count("<br>") == 1
    assert "1,290 tokens" in page
    assert f"<b>{len(row)}</b><span>tokens</span>" in page
    assert 'for="as-ids"' in page
    assert "prefers-color-scheme: dark" in page


def test_marks_are_explained_where_they_occur() -> None:
    marked = [
        Cell(id=1, spelling="[UNK]", text="猫", data=b"[UNK]", start=0, end=3, kind="unknown"),
        Cell(id=2, spelling="<s>", text="<s>", data=b"<s>", start=3, end=6, kind="special", differs=True),
        Cell(id=3, spelling="é", text="", data=b"\xa9", start=6, end=6, kind="part"),
    ]
    page = tokens_page(marked, name="", algorithm="", vocab_size=4)
    for classes in ("t0 unknown", "t1 special differs", "t2 part rest"):
        assert f'class="{classes}"' in page
    for said in ("Underlined in red", "Framed", "Underlined in orange"):
        assert said in page
    plain = tokens_page(cells(BPE, "the"), name="", algorithm="", vocab_size=4)
    assert "Underlined in" not in plain
    parsed(tokens_page((), name="", algorithm="", vocab_size=0))


def test_a_long_list_is_cut() -> None:
    row = cells(BPE, "the " * (MOST_LISTED + 5))
    assert f"and {len(row) - MOST_LISTED} more" in tokens_page(row, name="", algorithm="", vocab_size=4)


def test_a_comparison_page(two: Comparison) -> None:
    page = comparison_page(two)
    parser = parsed(page)
    sources = [value for _, attributes in parser.seen for key, value in attributes.items() if key in ("src", "srcset")]
    assert len(sources) == 6
    for source in sources:
        assert xml.etree.ElementTree.fromstring(base64.b64decode(str(source).partition(",")[2])).tag.endswith("svg")
    assert page.count('<span class="name">') == 2 * len(two.samples)
    for said in ("tokens per word", "Rényi efficiency", "unreachable", "bytes per token, by script", "Latin"):
        assert said in page
    assert "&lt;b&gt;other$" in page
    assert comparison_page(two) == page


def test_the_best_is_marked(two: Comparison) -> None:
    first, second = two.judgements
    assert isinstance(first.figures, TextFigures)
    better = max(first, second, key=lambda one: one.figures.bytes_per_token)
    assert f'<td class="best">{better.figures.bytes_per_token:.3f}</td>' in comparison_page(two)


@pytest.fixture(scope="module")
def two() -> Comparison:
    smaller = Tokenizer.train([b"the list of items <script> returns"] * 9, vocab_size=262)
    text = [b"the list of items returns naive items <script>\n", "猫 the list of 12 items é😀 the list\n".encode()]
    result = compare({"mine": BPE, "<b>other$": smaller}, text, text="<i>text</i>")
    assert all(isinstance(one, Judgement) for one in result.judgements)
    return result
