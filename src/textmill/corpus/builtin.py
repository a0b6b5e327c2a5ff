"""The built-in corpus: the prose of the running Python's own documentation, for a machine with no data.

It holds the help topics of `pydoc` and every docstring of the standard library, about 2.2 MB of real English. Nothing
is downloaded and nothing is imported but the topics: docstrings are found in the sources with `ast`, so `python -OO`
has them too. The text differs a little from one Python version to the next.

Each topic and each docstring is a document of its own. Exact duplicates (inherited wording) are left out, since one
of them in training and one held out would flatter a model.
"""

import ast
import hashlib
import importlib
import os
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

from textmill.corpus.report import ReadReport
from textmill.errors import DataError

SKIPPED_FOLDERS = frozenset({"test", "tests", "idle_test", "site-packages", "dist-packages", "lib2to3", "__pycache__"})
"""Tests, what isn't Python's own, and lib2to3, which newer versions lack."""

_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def builtin_documents(report: ReadReport | None = None, library: Path | None = None) -> Iterator[bytes]:
    """The topics by name, then the docstrings by module path and place in the source, as UTF-8.

    Args:
        report: counts the duplicates left out.
        library: the folder of the standard library's sources; the running Python's by default.

    Raises:
        DataError: the sources are not there.
    """
    library = Path(sysconfig.get_paths()["stdlib"]) if library is None else library
    modules = _modules(library)
    if not modules:
        raise DataError(
            f"the built-in corpus is not there: {library} holds no Python sources",
            fix="give a text file of your own, or use a Python that comes with its standard library",
        )
    seen: set[bytes] = set()
    for text in _texts(modules):
        # a docstring may hold half of a surrogate pair
        document = text.encode("utf-8", "replace")
        digest = hashlib.blake2b(document, digest_size=16).digest()
        if digest not in seen:
            seen.add(digest)
            yield document
        elif report is not None:
            report.duplicates += 1


def docstrings(source: bytes) -> Iterator[str]:
    """The docstrings in a module's source, in the order they stand there, cleaned as `inspect.cleandoc` does.

    >>> list(docstrings(b"'About the module.'\\ndef f():\\n    '''What f does.\\n\\n    More.\\n    '''"))
    ['About the module.', 'What f does.\\n\\nMore.']
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about odd escapes in other people's sources
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return  # a template or a test of the parser
    yield from _within(tree)


def _texts(modules: list[Path]) -> Iterator[str]:
    topics = _topics()
    for name in sorted(topics):
        yield topics[name]
    for module in modules:
        yield from docstrings(module.read_bytes())


def _modules(library: Path) -> list[Path]:
    found: list[Path] = []
    for parent, folders, files in os.walk(library):
        folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS]
        found += [Path(parent, name) for name in files if name.endswith(".py")]
    return sorted(found, key=lambda path: path.relative_to(library).parts)


def _topics() -> dict[str, str]:
    try:
        topics = importlib.import_module("pydoc_data.topics").topics
    except (ImportError, AttributeError):
        return {}  # some distributions leave them out; the docstrings alone will do
    return {name: text for name, text in topics.items() if isinstance(text, str)}


def _within(node: ast.AST) -> Iterator[str]:
    if isinstance(node, _Documented) and (text := ast.get_docstring(node)):
        yield text
    # definitions stand in statements alone, so expressions need no visit
    for name in ("body", "handlers", "orelse", "finalbody", "cases"):
        children = getattr(node, name, ())
        for child in children if isinstance(children, list) else ():
            yield from _within(child)
