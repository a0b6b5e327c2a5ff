import re
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.corpus import stats as module
from textmill.corpus.stats import corpus_stats

DOCUMENTS = [
    "The end. The END!\n",
    "日本語テキスト 12",
    "",
    "naïve façade’s\x00\x1b\ttab\n",
    "The end. The END!\n",
    "\ufffd—",
]


def test_figures_of_a_known_corpus():
    stats = corpus_stats(text.encode() for text in DOCUMENTS)
    joined = "".join(DOCUMENTS)
    assert stats.documents == 6
    assert stats.bytes == len(joined.encode())
    assert stats.characters == len(joined)
    assert stats.lines == 5
    assert stats.words == sum(len(text.split()) for text in DOCUMENTS)
    assert stats.duplicate_documents == 1
    assert stats.control_characters == 2
    assert stats.replacement_characters == 1
    assert stats.document_bytes["0%"] == 0
    assert stats.document_bytes["100%"] == max(len(text.encode()) for text in DOCUMENTS)
    assert list(stats.common_words.items())[:2] == [("end", 4), ("the", 4)]
    assert stats.common_words["façade’s"] == 1


def test_scripts():
    stats = corpus_stats(["abcÀé 日本かな 12 Привет 안녕 !".encode()])
    counts = {name: round(share * stats.characters) for name, share in stats.scripts.items()}
    assert counts == {"latin": 5, "han": 2, "kana": 2, "digits": 2, "cyrillic": 6, "hangul": 2, "space": 5, "other": 1}
    assert abs(sum(stats.scripts.values()) - 1) < 1e-12


def test_an_empty_corpus():
    stats = corpus_stats([])
    assert (stats.documents, stats.bytes, stats.scripts, stats.common_words) == (0, 0, {}, {})


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=8))
def test_agrees_with_the_definition(texts):
    stats = corpus_stats(text.encode() for text in texts)
    sizes = [len(text.encode()) for text in texts] or [0]
    words = Counter(word for text in texts for word in re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text.lower()))
    assert stats.characters == sum(map(len, texts))
    assert stats.document_bytes["50%"] == np.quantile(sizes, 0.5, method="nearest")
    assert stats.common_words == dict(sorted(words.items(), key=lambda item: (-item[1], item[0]))[:20])


def test_the_tally_stays_small(monkeypatch):
    monkeypatch.setattr(module, "_MOST_TALLIED", 100)
    monkeypatch.setattr(module, "_BATCH_BYTES", 1000)
    texts = (f"common common w{number}".encode() for number in range(2000))
    assert next(iter(corpus_stats(texts).common_words.items())) == ("common", 4000)
