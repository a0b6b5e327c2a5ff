import json

import pytest

from benchmarks import texts


def test_documents_are_the_text_again_and_end_with_their_line() -> None:
    whole = b"".join(b"line %d\n" % n for n in range(1000)) + b"no end"
    cut = texts.documents(whole, size=100)
    assert b"".join(cut) == whole
    assert all(document.endswith(b"\n") for document in cut[:-1])
    assert max(map(len, cut)) < 120
    assert texts.documents(b"") == []


def test_text_is_cached_cut_at_a_line_and_utf8(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "CACHE", tmp_path)
    monkeypatch.setattr(texts, "_english", lambda: iter(["first line", "zweite Zeile, größer", "third"]))
    assert texts.text("english") == "first line\nzweite Zeile, größer\nthird".encode()
    assert texts.text("english", 15) == b"first line\n"
    assert (tmp_path / "english.txt").exists()


def test_the_mixed_file_holds_documents_of_all_kinds(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "CACHE", tmp_path)
    monkeypatch.setattr(texts, "data_folder", lambda: None)
    monkeypatch.setattr(texts, "text", lambda kind, most=None: f"{kind} \u6771\n".encode() * 50)
    rows = [json.loads(line)["text"] for line in texts.mixed_file(300).read_text("utf-8").splitlines()]
    assert rows[0].startswith("english")
    assert rows[-1].startswith("code")
