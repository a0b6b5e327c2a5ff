"""Raw text in: files of any supported kind become a stream of documents."""

from textmill.corpus.inputs import BUILTIN, STDIN, Source, resolve_inputs
from textmill.corpus.readers import read_documents
from textmill.corpus.report import ReadReport

__all__ = ["BUILTIN", "STDIN", "ReadReport", "Source", "read_documents", "resolve_inputs"]
