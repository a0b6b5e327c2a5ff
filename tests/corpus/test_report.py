from textmill.corpus.report import FileReport, ReadReport


def test_sums_and_summary():
    first = FileReport(documents=3, bytes=1000, replaced=2, empty=1)
    second = FileReport(documents=1, bytes=5, skipped=4)
    report = ReadReport(files={"a": first, "b": second}, duplicates=1)
    assert (report.documents, report.bytes, report.replaced, report.skipped, report.empty) == (4, 1005, 2, 4, 1)
    assert report.summary() == (
        "4 documents, 1,005 bytes, 2 files, 2 invalid sequences replaced by U+FFFD, 4 documents skipped (not UTF-8),"
        " 1 empty document dropped, 1 duplicate dropped"
    )
