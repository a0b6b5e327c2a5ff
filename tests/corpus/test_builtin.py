import ast
import inspect
import pydoc
from pathlib import Path

import pytest

from textmill.corpus import ReadReport, read_documents
from textmill.corpus.builtin import builtin_documents, docstrings
from textmill.errors import DataError


@pytest.fixture
def library(tmp_path: Path) -> Path:
    for name, text in {
        "b.py": '"About b."\n',
        "a/__init__.py": '"""About a.\n\n    Indented.\n    """\nclass C:\n    "About C."\n    def m(s): "About m."\n',
        "a/again.py": '"About b."\n',
        "test/x.py": '"A test."\n',
        "bad.py": "def (:\n",
        "half.py": '"a \\ud800 b"\n',
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_docstrings_in_order_without_duplicates_and_tests(library):
    report = ReadReport()
    topics = len(pydoc.Helper.topics)
    found = list(builtin_documents(report, library))[-5:]
    assert found == [b"About a.\n\nIndented.", b"About C.", b"About m.", b"About b.", b"a ? b"]
    assert report.duplicates >= 1
    assert topics > 0


def test_docstrings_are_those_of_inspect():
    path = Path(inspect.__file__)
    expected = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                expected.append((getattr(node, "lineno", 0), text))
    assert list(docstrings(path.read_bytes())) == [text for _, text in sorted(expected)]


def test_definitions_inside_every_kind_of_statement_are_found():
    source = b"""
if x:
    def a(): 'a'
else:
    def b(): 'b'
try:
    def c(): 'c'
except E:
    def d(): 'd'
else:
    def e(): 'e'
finally:
    def f(): 'f'
match x:
    case 1:
        async def g(): 'g'
with x:
    for y in x:
        class h: 'h'
"""
    assert "".join(docstrings(source)) == "abcdefgh"


def test_without_sources_the_error_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"holds no Python sources. Fix: give a text file of your own"):
        next(builtin_documents(library=tmp_path))


def test_the_whole_corpus():
    report = ReadReport()
    documents = list(read_documents(["builtin"], report=report))
    assert 1_500_000 < report.bytes < 3_500_000
    assert len(documents) == len(set(documents)) == report.documents > 5000
    assert report.duplicates > 50
    assert b"".join(documents).isascii() or report.replaced == 0
