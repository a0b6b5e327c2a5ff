"""Real text to measure on: English, Chinese and code, several megabytes each.

English and Chinese come from the folder TEXTMILL_DATA (by default `shared/data` beside the checkout), code from the
standard library and the packages of the running Python. Without that folder, English is the built-in corpus and
Chinese is left out. What was put together is kept in `benchmarks/.cache`.
"""

import json
import lzma
import os
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import CACHE, ROOT, SkippedError

KINDS = ("english", "chinese", "code")
DOCUMENT_BYTES = 16 << 10


def data_folder() -> Path | None:
    """Where the data sets are, None when they aren't here."""
    folder = Path(os.environ.get("TEXTMILL_DATA", ROOT.parent / "shared" / "data"))
    return folder if folder.is_dir() else None


def text(kind: str, most_bytes: int | None = None) -> bytes:
    """UTF-8 text of one kind, from its front when `most_bytes` says so, ending at a line's end.

    Raises:
        SkippedError: the data is not here.
    """
    path = CACHE / f"{kind}.txt"
    if not path.exists():
        makers = {"english": _english, "chinese": _chinese, "code": _code}
        made = "\n".join(makers[kind]()).encode("utf-8", "ignore")
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        unfinished.write_bytes(made)
        unfinished.replace(path)
    whole = path.read_bytes()
    if most_bytes is None or len(whole) <= most_bytes:
        return whole
    return whole[: whole.rindex(b"\n", 0, most_bytes) + 1]


def documents(whole: bytes, size: int = DOCUMENT_BYTES) -> list[bytes]:
    """The text in pieces of about `size` bytes, each ending with its line."""
    found = []
    start = 0
    while start < len(whole):
        newline = whole.find(b"\n", min(start + size, len(whole)))
        end = len(whole) if newline < 0 else newline + 1
        found.append(whole[start:end])
        start = end
    return found


def mixed_file(most_bytes: int) -> Path:
    """A file of JSON lines, {"text": document}, that holds so many bytes of English, Chinese and code."""
    path = CACHE / f"mixed-{most_bytes}.jsonl"
    if not path.exists():
        kinds = KINDS if data_folder() else ("english", "code")
        pieces = [documents(text(kind, most_bytes // len(kinds))) for kind in kinds]
        missing = most_bytes - sum(len(document) for piece in pieces for document in piece)
        pieces.append(documents(text("code")[-missing:].decode("utf-8", "ignore").encode()) if missing > 0 else [])
        unfinished = path.with_suffix(f".{os.getpid()}")
        with open(unfinished, "w", encoding="utf-8") as file:
            for document in (document for piece in pieces for document in piece):
                file.write(json.dumps({"text": document.decode()}, ensure_ascii=False) + "\n")
        unfinished.replace(path)
    return path


def _english() -> Iterator[str]:
    folder = data_folder()
    if folder is None:
        from textmill.corpus import read_documents

        yield from (document.decode() for document in read_documents(["builtin"]))
        return
    for name in (
        "norvig-big/big.txt.xz",
        "wiki-demo/wiki_demo.txt.xz",
        "wikitext-2/valid.txt.xz",
        "wikitext-2/test.txt.xz",
        "tinyshakespeare/input.txt.xz",
    ):
        yield _unpacked(folder / name)
    for name in ("imdb-slice/train_2000.jsonl.xz", "imdb-slice/test_1000.jsonl.xz"):
        yield from (json.loads(line)["text"] for line in _lines(folder / name))


def _chinese() -> Iterator[str]:
    folder = data_folder()
    if folder is None:
        raise SkippedError("no Chinese text here: set TEXTMILL_DATA to the folder of data sets")
    # 中国/ns 人民/n, and [中央/n 台/n]nt around compounds: words without tags and spaces are the newspaper's text
    tagged = _unpacked(folder / "peoples-daily-199801/199801.txt.xz")
    yield re.sub(r"(^|(?<= ))\[|/[A-Za-z]+(\][A-Za-z]+)? *", "", tagged, flags=re.MULTILINE)
    for path in sorted((folder / "chinese-poetry").glob("*.json.xz")):
        for poem in json.loads(_unpacked(path)):
            lines = poem.get("paragraphs") or poem.get("content") or poem.get("para") or []
            yield "\n".join([str(poem.get("title") or poem.get("rhythmic") or poem.get("chapter") or ""), *lines])
    for name in ("thucnews-titles/dev.txt", "thucnews-titles/test.txt"):
        lines = (folder / name).read_text(encoding="utf-8").split("\n")
        yield "\n".join(line.partition("\t")[0] for line in lines)
    for name in ("msra-ner/train.jsonl.xz", "msra-ner/test.jsonl.xz"):
        yield "\n".join(json.loads(line)["text"] for line in _lines(folder / name))
    yield "\n".join(line.partition("\t")[2] for line in _lines(folder / "chnsenticorp/train.tsv.xz")[1:])


def _code() -> Iterator[str]:
    """Sources of the standard library, then of installed packages, until there are 40 MB."""
    paths = sysconfig.get_paths()
    size = 0
    seen: set[Path] = set()
    for root in (Path(paths["stdlib"]), Path(paths["purelib"])):
        for path in sorted(root.rglob("*.py")):
            if path in seen or (root == Path(paths["stdlib"]) and "site-packages" in path.parts):
                continue
            seen.add(path)
            try:
                source = path.read_text(encoding="utf-8")
            except (UnicodeDecodeError, OSError):
                continue
            yield source
            size += len(source)
            if size > 40_000_000:
                return


def _unpacked(path: Path) -> str:
    with lzma.open(path, "rt", encoding="utf-8") as file:
        return file.read()


def _lines(path: Path) -> list[str]:
    # not splitlines(), which also cuts at characters that JSON strings may hold
    return [line for line in _unpacked(path).split("\n") if line]
