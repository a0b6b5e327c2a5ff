"""One suite that every algorithm runs."""

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.errors import ConfigError, NotSupportedError
from textmill.tokenizers import Tokenizer

TEXT = [
    "The miller mills the meal, and the mill's wheel turns.\nThe wheel turned 12 times in 1999!",
    "Mehl aus der Mühle: das Rad dreht sich, dreht sich.",
    "磨坊的轮子转了十二次。轮子转了。",
    "def mill(meal):\n    return [grind(grain) for grain in meal]\n",
] * 6

SETTINGS = {
    "bpe": {"vocab_size": 320},
    "bpe, digits apart": {"vocab_size": 320, "digits": "single"},
    "super words": {"vocab_size": 340, "super_words": 300},
    "bpe, normalised": {"vocab_size": 320, "normalize": ("nfkc", "lowercase")},
    "characters": {"level": "characters", "vocab_size": 400},
    "end of word": {"end_of_word": "</w>", "vocab_size": 150},
    "wordpiece": {"algorithm": "wordpiece", "vocab_size": 150},
    "wordpiece, likelihood": {"algorithm": "wordpiece", "vocab_size": 150, "score": "likelihood"},
    "wordpiece, cased": {"algorithm": "wordpiece", "vocab_size": 150, "normalize": ("bert_cased",)},
    "unigram": {"algorithm": "unigram", "vocab_size": 110},
    "unigram, bytes": {"algorithm": "unigram", "vocab_size": 380, "byte_fallback": True, "normalize": ("identity",)},
    "unigram, split": {"algorithm": "unigram", "vocab_size": 150, "normalize": ("nfc",), "split": "whitespace_split"},
    "words": {"algorithm": "words", "vocab_size": 60},
    "chars": {"algorithm": "chars", "vocab_size": 70},
}
LOSSLESS = ("bpe", "super words", "bpe, digits apart", "characters", "unigram, bytes", "chars")
SAMPLES = ["The miller's wheel", "Mühle 19 turns\n", "轮子 mill", " two  blanks ", "", "unseen ✨ zebra"]


@pytest.fixture(scope="module")
def trained() -> dict[str, Tokenizer]:
    return {name: Tokenizer.train(TEXT, allow_fewer=True, **settings) for name, settings in SETTINGS.items()}


@pytest.fixture(params=SETTINGS)
def ours(request, trained) -> Tokenizer:
    return trained[request.param]


def test_ids_are_within_the_vocabulary_and_batches_agree(ours):
    batch = ours.encode_batch(SAMPLES)
    assert batch == [ours.encode(text) for text in SAMPLES]
    assert all(0 <= id < ours.vocab_size for ids in batch for id in ids)
    ids, offsets = ours.encode_documents([text.encode() for text in SAMPLES])
    assert [ids[a:b].tolist() for a, b in itertools.pairwise(offsets)] == batch
    assert [ours.count(text) for text in SAMPLES] == [len(ids) for ids in batch]


def test_training_is_the_same_with_threads_and_again(ours, request):
    settings = SETTINGS[request.node.callspec.params["ours"]]
    again = Tokenizer.train(TEXT, allow_fewer=True, threads=2, **settings)
    assert again.fingerprint() == ours.fingerprint()


def test_spans_lie_in_the_text_in_order(ours):
    for text in SAMPLES:
        ids, spans = ours.encode_with_spans(text)
        assert ids == ours.encode(text)
        assert all(0 <= start <= end <= len(text) for start, end in spans)
        assert [start for start, _ in spans] == sorted(start for start, _ in spans)


def test_what_is_saved_loads_as_the_same(ours, tmp_path):
    ours.save(tmp_path / "tok")
    again = Tokenizer.load(tmp_path / "tok")
    assert again.pipeline == ours.pipeline
    assert again.encode_batch(SAMPLES) == ours.encode_batch(SAMPLES)
    ids = ours.encode(SAMPLES[0])
    assert again.decode(ids) == ours.decode(ids)


def test_transformers_opens_the_folder(ours, tmp_path):
    transformers = pytest.importorskip("transformers")
    ours.save(tmp_path / "tok")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "tok")
    for text in SAMPLES:
        assert theirs(text, add_special_tokens=False)["input_ids"] == ours.encode(text)


@pytest.mark.parametrize("name", LOSSLESS)
def test_text_comes_back(trained, name):
    ours = trained[name]
    for text in [*TEXT[:4], "The wheel turned"]:
        assert ours.decode(ours.encode(text)) == text


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=40), name=st.sampled_from(["bpe", "bpe, digits apart", "characters"]))
def test_any_text_comes_back(trained, text, name):
    expected = text.encode("utf-8", "replace").decode()
    if "\ud800" <= max(text, default="") <= "\udfff":
        return
    assert trained[name].decode(trained[name].encode(text)) == expected.replace(
        "▁", " " if name == "characters" else "▁"
    )


@settings(max_examples=80, deadline=None)
@given(data=st.binary(max_size=60))
def test_any_bytes_are_encoded(trained, data):
    for ours in trained.values():
        ids = ours.encode_array(data)
        assert ids.dtype == np.int32
        ours.decode(ids)


def test_streamed_ids_come_out_joined(ours):
    ids = ours.encode(SAMPLES[0] + SAMPLES[2])
    stream = ours.stream()
    assert "".join([*map(stream.push, ids), stream.finish()]) == ours.decode(ids)


@pytest.mark.parametrize("name", ["bpe", "bpe, normalised", "wordpiece", "wordpiece, cased"])
def test_a_stream_of_text_has_the_ids_of_the_whole(trained, name):
    ours = trained[name]
    text = " ".join(TEXT * 120)
    random.seed(0)
    chunks, at = [], 0
    while at < len(text):
        size = random.choice([1, 7, 5000, 70_000])
        chunks.append(text[at : at + size])
        at += size
    found = list(ours.encode_stream(chunks))
    assert len(found) > 1
    assert np.concatenate(found).tolist() == ours.encode(text)


@pytest.mark.parametrize("name", ["unigram", "characters", "words", "bpe, digits apart"])
def test_what_cannot_be_streamed_says_so(trained, name):
    with pytest.raises(NotSupportedError, match="encoding a stream with this tokenizer"):
        trained[name].encode_stream(["text"])


@pytest.mark.parametrize(
    ("name", "noise"),
    [
        ("bpe", {"dropout": 0.3}),
        ("bpe, normalised", {"dropout": 0.3}),
        ("characters", {"dropout": 0.3}),
        ("end of word", {"dropout": 0.3}),
        ("wordpiece", {"dropout": 0.5}),
        ("unigram", {"alpha": 0.2}),
        ("unigram, split", {"alpha": 0.2}),
    ],
)
def test_sampled_segmentations_are_of_the_same_text(trained, name, noise):
    ours = trained[name]
    text = TEXT[0]
    draws = [ours.encode_sampled(text, seed=seed, **noise) for seed in range(8)]
    assert draws[3] == ours.encode_sampled(text, seed=3, **noise)
    assert len({tuple(ids) for ids in draws}) > 2
    assert {ours.decode(ids) for ids in draws} == {ours.decode(ours.encode(text))}


@pytest.mark.parametrize("name", ["bpe", "characters", "wordpiece", "end of word"])
def test_without_dropout_nothing_is_left_to_chance(trained, name):
    assert trained[name].encode_sampled(TEXT[0], seed=1, dropout=0.0) == trained[name].encode(TEXT[0])


def test_settings_of_another_model(trained):
    with pytest.raises(ConfigError, match="needs alpha"):
        trained["unigram"].encode_sampled("text", seed=0, dropout=0.1)
    with pytest.raises(ConfigError, match="needs dropout"):
        trained["bpe"].encode_sampled("text", seed=0, alpha=0.1)
    for name, kind, unused in (
        ("unigram", "unigram", "dropout"),
        ("bpe", "bpe", "alpha"),
        ("characters", "bpe", "alpha"),
    ):
        with pytest.raises(
            ConfigError, match=f"{unused} has no meaning for a {kind} model, got 0.1. Fix: leave it out"
        ):
            trained[name].encode_sampled("text", seed=0, dropout=0.1, alpha=0.1)
    for name in ("wordpiece", "wordpiece, cased"):
        with pytest.raises(ConfigError, match=r"alpha has no meaning for a wordpiece model, got 0\.2"):
            trained[name].encode_sampled("", seed=0, dropout=0.1, alpha=0.2)
        with pytest.raises(ConfigError, match="sampling from a wordpiece model needs dropout"):
            trained[name].encode_sampled("text", seed=0)
    for name in ("words", "chars"):
        with pytest.raises(ConfigError, match="of whole words is not possible"):
            trained[name].encode_sampled("text", seed=0, dropout=0.1)
    with pytest.raises(NotSupportedError, match="n best segmentations"):
        trained["bpe"].n_best("text", 2)


def test_n_best_begins_with_the_best(trained):
    ours = trained["unigram"]
    found = ours.n_best("the miller", 5)
    assert found[0][1] == ours.encode("the miller")
    assert [score for score, _ in found] == sorted((score for score, _ in found), reverse=True)
    assert len({tuple(ids) for _, ids in found}) == 5


@pytest.mark.parametrize("settings", [{}, {"end_of_word": "</w>"}])
def test_training_goes_on_where_it_stopped(settings):
    sizes = (300, 340) if not settings else (90, 120)
    first = Tokenizer.train(TEXT, vocab_size=sizes[0], **settings)
    resumed = Tokenizer.train(TEXT, vocab_size=sizes[1], start=first, **settings)
    assert resumed.fingerprint() == Tokenizer.train(TEXT, vocab_size=sizes[1], **settings).fingerprint()


def test_training_cannot_go_on_from_another_kind(trained):
    with pytest.raises(ConfigError, match="training of unigram can't go on from this tokenizer"):
        Tokenizer.train(TEXT, algorithm="unigram", vocab_size=100, start=trained["bpe"])
    with pytest.raises(ConfigError, match="training of bpe can't go on from this tokenizer"):
        Tokenizer.train(TEXT, vocab_size=300, start=trained["wordpiece"])


@pytest.mark.parametrize("algorithm", ["wordpiece", "unigram"])
def test_a_vocabulary_smaller_than_the_alphabet(algorithm):
    with pytest.raises(ConfigError, match=r"characters.*Fix: use .*[0-9]"):
        Tokenizer.train(TEXT, algorithm=algorithm, vocab_size=20)
