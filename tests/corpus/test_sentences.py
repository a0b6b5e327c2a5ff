import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.corpus.sentences import line_sentences, text_sentences


def split(text: str) -> list[str]:
    return [sentence.decode().strip() for sentence in text_sentences(text.encode())]


@pytest.mark.parametrize(
    "sentences",
    [
        ["One.", "Two!", "Three?", "Four"],
        ['"What?" he said.', '"Nothing," I said.', '"Nothing!"', '"Good."'],
        ["Mr. Lee met Dr. Wu, Prof. Ng et al. Today.", "They left."],
        ["It cost 3.50 or 1,000.25 at textmill.org, v1.2 etc. and so on.", "Then more."],
        ["J. K. Rowling left at 4 A. M. with the U.S. Army, e.g. Smith.", "It was late."],
        ["So did I.", "He left in 1999.", "See Fig. 3 and No. 7."],
        ["1. Open the lid.", "2. Close it."],
        ["Wait... and see.", "Wait...", "Really?!", "(He did.)", "[Yes.]"],
        ["a heading without a stop", "A new paragraph.", "Its second sentence."],
        ["今天很好。", "明天呢？", "我不知道!", "他说：“走吧！”", "（然后。）", "后来……没有了。"],
        ["「行こう。」", "彼は３．５円を払った。", "終わり"],
        ["He said 你好。", "Then he left."],
    ],
)
def test_sentences_are_found(sentences):
    english = "\n\n" if sentences[0].startswith("a heading") else " "
    text = sentences[0] + english + " ".join(sentences[1:])
    assert split(text) == sentences


def test_chinese_needs_no_spaces_between_sentences():
    assert split("你好！我叫小明？是的。好") == ["你好！", "我叫小明？", "是的。", "好"]


def test_a_line_end_alone_ends_nothing_and_a_blank_line_does():
    assert split("one\ntwo\n \t\nthree\n\n\n\nfour\n\n") == ["one\ntwo", "three", "four"]
    assert split("one\r\n\r\ntwo") == ["one", "two"]


@given(st.text(alphabet='aB .!?。！”"\n1我', max_size=60))
def test_nothing_is_lost_and_no_sentence_is_blank(text):
    sentences = text_sentences(text.encode())
    assert b"".join(sentences) == text.encode()
    assert all(sentence.strip() for sentence in sentences) or not text.strip()


@given(st.binary(max_size=60))
def test_any_bytes_come_back(data):
    assert b"".join(text_sentences(data)) == data


@pytest.mark.parametrize("text", ["e.g. ", ".", ".)", "。", "\n ", " \n\n", "a!”", "1. ", ' "', "我!"])
def test_no_text_takes_long(text):
    begun = time.thread_time()
    text_sentences((text * 100_000).encode())
    # what looks back over all of a long text at each mark takes hours
    assert time.thread_time() - begun < 10


def test_lines():
    assert line_sentences(b"") == []
    assert line_sentences(b" One. Still one.\r\n\n\t\nTwo\n") == [b"One. Still one.", b"Two"]
