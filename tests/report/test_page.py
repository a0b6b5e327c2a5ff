import base64
import html.parser
import json
import os
import re
import xml.etree.ElementTree
from pathlib import Path

import pytest

from textmill.config import to_json
from textmill.errors import OutputError
from textmill.report.data import ReportData
from textmill.report.page import read_report_data, render_page, snippets, write_report

VOID = {"meta", "img", "source", "br", "link"}


class Balanced(html.parser.HTMLParser):
    """Collects the tags, and checks that each is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(page: str) -> Balanced:
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    return parser


def test_the_page_needs_nothing_from_outside_and_runs_nothing(report_data: ReportData) -> None:
    tags = parsed(render_page(report_data)).seen
    assert not [tag for tag, _ in tags if tag in {"script", "link", "iframe", "object"}]
    sources = [value for _, attributes in tags for key, value in attributes.items() if key in {"src", "srcset", "href"}]
    assert len(sources) == 12
    for source in sources:
        kind, _, encoded = str(source).partition(",")
        assert kind == "data:image/svg+xml;base64"
        assert xml.etree.ElementTree.fromstring(base64.b64decode(encoded)).tag.endswith("svg")


def test_text_is_shown_and_never_markup(report_data: ReportData) -> None:
    page = render_page(report_data)
    assert "A model &lt;of&gt; tests &amp; trials" in page
    assert "<mark>&lt;script&gt;alert(1)&lt;/script&gt;</mark> went\n```\non" in page
    assert "·the⏎" in page
    assert "1 min 01 s" in page
    assert '"steps": 40' in page.replace("&#34;", '"')


def test_the_same_data_give_the_same_page(report_data: ReportData) -> None:
    assert render_page(report_data) == render_page(report_data)


def test_parts_without_data_are_left_out() -> None:
    page = render_page(ReportData(title="Bare"))
    parsed(page)
    assert "<h1>Bare</h1>" in page
    assert not re.search("What it writes|How well it learned|Its tokenizer|Use it</h2>|<img", page)


def test_files_are_written_and_can_be_rendered_again(report_data: ReportData, tmp_path: Path) -> None:
    page = write_report(report_data, tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run" / "plots").iterdir()) == [
        f"{name}.png" for name in ("bits_per_byte", "learning_rate", "loss", "speed", "token_lengths", "token_ranks")
    ]
    assert (tmp_path / "run" / "plots" / "loss.png").read_bytes().startswith(b"\x89PNG")
    again = read_report_data(tmp_path / "run" / "report.json")
    assert again == report_data
    assert render_page(again) == page.read_text(encoding="utf-8")
    assert json.loads(json.dumps(to_json(report_data))) == to_json(report_data)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_an_error(report_data: ReportData, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="permission denied"):
        write_report(report_data, tmp_path)


def test_a_file_in_the_way_is_an_error(report_data: ReportData, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(OutputError, match=r"cannot write .*run"):
        write_report(report_data, tmp_path / "run")


def test_snippets_are_python_with_the_folder_and_prompt_quoted(report_data: ReportData) -> None:
    for name, code in snippets(report_data):
        compile(code, name, "exec")
        assert '"runs/it\\"s/model"' in code
        assert '"<script>alert(1)</script>"' in code
    assert snippets(ReportData(title="Bare")) == []
