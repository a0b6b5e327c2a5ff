import re
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.corpus.documents import clean_document, cut_documents, cut_sections, section_end, split_bom
from textmill.corpus.report import FileReport
from textmill.errors import ConfigError, DataError

# few different characters, so that line ends, blank lines and cuts meet often
TEXTS = st.text(alphabet="ab \n\n\r\t日é😀", max_size=120)
LIMITS = st.integers(4, 40)


def in_blocks(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@given(TEXTS, LIMITS, st.integers(1, 50))
def test_sections_tile_the_text_and_keep_characters_whole(text, limit, block):
    data = text.encode()
    sections = list(cut_sections(in_blocks(data, block), limit))
    assert b"".join(section for _, section in sections) == data
    for offset, section in sections:
        assert data[offset : offset + len(section)] == section
        assert 0 < len(section) <= limit
        section.decode()


@given(st.binary(max_size=100), LIMITS)
def test_sections_of_bytes_that_are_no_text(data, limit):
    assert b"".join(section for _, section in cut_sections([data], limit)) == data


def definition_of_section_end(text: bytes, limit: int) -> int:
    """The rule word by word: the longest section that ends well, the better kinds of ends first."""
    candidates = range(limit, 0, -1)
    for kind in (rb"(?s).+(\n\n|\n\r\n)\Z", rb"(?s).*\n\Z", rb"(?s).* \Z"):
        for end in candidates:
            if re.match(kind, text[:end]):
                return end
    return next((end for end in candidates if end > limit - 4 and text[end] & 0xC0 != 0x80), limit)


@given(TEXTS, LIMITS)
def test_a_section_ends_where_the_rule_says(text, limit):
    data = text.encode()
    if len(data) > limit:
        assert section_end(data, 0, limit) == definition_of_section_end(data, limit)
        assert section_end(b"zz" + data, 2, limit) == 2 + definition_of_section_end(data, limit)


@given(TEXTS, st.sampled_from(["auto", "file", "line", "paragraph"]), LIMITS, st.integers(1, 50))
def test_how_the_blocks_fall_is_no_matter(text, documents, limit, block):
    data = text.encode()
    whole = list(cut_documents([data] if data else [], documents, limit))
    assert list(cut_documents(in_blocks(data, block), documents, limit)) == whole
    for offset, document in whole:
        assert data[offset : offset + len(document)] == document


@given(TEXTS)
def test_lines_are_the_lines(text):
    found = [document.decode() for _, document in cut_documents([text.encode()], "line")]
    lines = text.split("\n")
    assert found == [line.removesuffix("\r") for line in (lines if lines[-1] else lines[:-1])]


@given(TEXTS)
def test_paragraphs_are_the_runs_of_lines_that_are_not_blank(text):
    expected, run = [], []
    for line in [*text.split("\n"), ""]:
        if line.strip(" \t\r"):
            run.append(line)
        elif run:
            expected.append("\n".join(run).rstrip("\r\n"))
            run = []
    assert [document.decode() for _, document in cut_documents([text.encode()], "paragraph")] == expected


def test_windows_line_ends_stay():
    assert list(cut_documents([b"a\r\nb\r\n\r\nc\r\n"])) == [(0, b"a\r\nb\r\n\r\nc\r\n")]
    assert [document for _, document in cut_documents([b"a\r\nb\r\n\r\nc\r\n"], "paragraph")] == [b"a\r\nb", b"c"]
    assert [document for _, document in cut_documents([b"a\r\nb"], "line")] == [b"a", b"b"]


@pytest.mark.parametrize("documents", ["auto", "line", "paragraph"])
@pytest.mark.parametrize("unit", [b"x", b"word ", b"  \t  ", "日".encode()])
def test_one_endless_line_is_not_held(documents, unit):
    def endless():
        for _ in range(40):
            yield unit * (250_000 // len(unit))

    tracemalloc.start()
    size = sum(len(document) for _, document in cut_documents(endless(), documents))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size == 40 * (250_000 // len(unit)) * len(unit) or unit.isspace()
    assert peak < 2_000_000


def test_unknown_way_of_cutting():
    with pytest.raises(ConfigError, match=r"documents must be auto, file, line or paragraph, got 'page'"):
        cut_documents([], "page")  # type: ignore[arg-type]


def test_byte_order_mark():
    length, blocks = split_bom(iter([b"\xef\xbb\xbfab", b"c"]))
    assert (length, list(blocks)) == (3, [b"ab", b"c"])
    length, blocks = split_bom(iter([b"ab"]))
    assert (length, list(blocks)) == (0, [b"ab"])
    length, blocks = split_bom(iter([]))
    assert (length, list(blocks)) == (0, [])


@given(st.binary(max_size=60))
def test_policies_agree_with_pythons_decoder(data):
    strict, skip, replace = FileReport(), FileReport(), FileReport()
    replaced = clean_document(data, "replace", replace, "f")
    skipped = clean_document(data, "skip", skip, "f")
    try:
        data.decode()
        valid = True
    except UnicodeDecodeError as error:
        valid = False
        if not data.isspace():
            with pytest.raises(DataError, match=f"f: byte {100 + error.start} is not valid UTF-8"):
                clean_document(data, "strict", strict, "f", 100)
    if data.strip() == b"":
        assert replaced is None
        assert replace.empty == skip.empty == 1
    elif valid:
        assert clean_document(data, "strict", strict, "f") == replaced == skipped == data
        assert replace == skip == strict == FileReport(documents=1, bytes=len(data))
    else:
        assert skipped is None
        assert skip.skipped == 1
        assert replaced == data.decode(errors="replace").encode()
        assert replace.replaced >= 1


def test_replacements_are_counted_without_those_that_stood_there():
    report = FileReport()
    data = "a\ufffd".encode() + b"\xff\xe6\x97"
    assert clean_document(data, "replace", report, "f") == "a\ufffd\ufffd\ufffd".encode()
    assert report.replaced == 2


def test_utf16_gets_its_own_advice():
    with pytest.raises(DataError, match=r"f: byte 0 is not valid UTF-8 \(found ff fe 61 00\). Fix: .*iconv"):
        clean_document("\ufeffabc".encode("utf-16-le"), "strict", FileReport(), "f")
