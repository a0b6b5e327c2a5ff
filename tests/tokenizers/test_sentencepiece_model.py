import contextlib
import io
import random

import pytest
import sentencepiece

from textmill.errors import FormatError, NotSupportedError, TextmillError
from textmill.tokenizers.models import BpeModel, CharacterBpeModel, UnigramModel
from textmill.tokenizers.pipeline import byte_level
from textmill.tokenizers.protobuf import message
from textmill.tokenizers.sentencepiece_model import (
    byte_of,
    from_proto,
    read_model,
    read_vocab,
    to_proto,
    write_model,
)

TEXT = [f"The {word} of number {number} is here, is there." for number in range(30) for word in ("cat", "house", "ﬁsh")]
SAMPLES = ["The cat of number 7", "  blanks   around ", "", "①②③ ﬁne 日本", "is there\tis here\n"]


def trained(**options) -> bytes:
    model = io.BytesIO()
    settings = {"vocab_size": 38, "minloglevel": 2} | options
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(TEXT), model_writer=model, **settings)
    return model.getvalue()


@pytest.fixture(scope="module")
def unigram() -> bytes:
    return trained(user_defined_symbols=["<sep>"], control_symbols=["<cls>"])


@pytest.mark.parametrize(
    "options",
    [
        {"model_type": "unigram", "pad_id": 3},
        {"model_type": "unigram", "byte_fallback": True, "vocab_size": 360, "hard_vocab_limit": False},
        {
            "model_type": "bpe",
            "vocab_size": 80,
            "normalization_rule_name": "identity",
            "remove_extra_whitespaces": False,
        },
        {"model_type": "bpe", "vocab_size": 80, "user_defined_symbols": ["<sep>"], "treat_whitespace_as_suffix": True},
        {"model_type": "char", "vocab_size": 30, "hard_vocab_limit": False},
        {"model_type": "word", "vocab_size": 40, "hard_vocab_limit": False},
    ],
)
def test_a_model_that_is_read_and_written_encodes_the_same_in_sentencepiece(options):
    data = trained(**options)
    pipeline = from_proto(data)
    written = to_proto(pipeline)
    assert from_proto(written) == pipeline
    first = sentencepiece.SentencePieceProcessor(model_proto=data)
    again = sentencepiece.SentencePieceProcessor(model_proto=written)
    for text in SAMPLES:
        ids = first.encode(text)
        assert again.encode(text) == ids
        assert again.decode(ids) == first.decode(ids)
    names = ("unk_id", "bos_id", "eos_id", "pad_id", "vocab_size")
    assert [getattr(first, name)() for name in names] == [getattr(again, name)() for name in names]


def test_the_parts(unigram):
    pipeline = from_proto(unigram)
    assert isinstance(pipeline.model, UnigramModel)
    assert pipeline.model.precision == "float32"
    assert [token.content for token in pipeline.added] == ["<unk>", "<s>", "</s>", "<cls>"]
    assert pipeline.end_of_text == "</s>"
    (step,) = pipeline.normalizers
    assert (step.name, step.user_defined, step.squeeze_blanks) == ("nmt_nfkc", ("<sep>",), True)
    assert len(step.charsmap) > 1000


def test_files(tmp_path, unigram):
    pipeline = from_proto(unigram)
    write_model(pipeline, tmp_path / "m.model")
    assert read_model(tmp_path / "m.model") == pipeline
    rows = [line.split("\t") for line in (tmp_path / "m.vocab").read_text().splitlines()]
    assert [piece for piece, _ in rows] == pipeline.strings
    from_vocab = read_vocab(tmp_path / "m.vocab")
    assert [piece for piece, _ in from_vocab.model.pieces] == pipeline.strings
    assert from_vocab.model.unknown == pipeline.model.unknown


def test_damaged_models_end_in_a_clear_error(unigram):
    random.seed(0)
    for _ in range(300):
        data = bytearray(unigram)
        for _ in range(random.randint(1, 3)):
            data[random.randrange(len(data))] = random.randrange(256)
        damaged = bytes(data[: random.choice([len(data), random.randrange(len(data))])])
        with contextlib.suppress(TextmillError):
            from_proto(damaged)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "it has no pieces"),
        (message([(1, message([(1, "a"), (2, 0.0)]))]), "one unknown piece, it has 0"),
        (message([(1, message([(1, "a"), (2, 0.0)])), (1, message([(1, "a"), (2, 0.0)]))]), "'a' stands in it twice"),
        (message([(1, message([(1, b"\xff"), (2, 0.0)]))]), "piece 0 is not UTF-8"),
        (message([(1, message([(1, "a"), (2, float("nan"))]))]), "with the score nan"),
        (message([(1, message([(1, "?"), (3, 2)])), (1, message([(1, "<0xZ>"), (3, 6)]))]), "not of the form"),
    ],
)
def test_what_contradicts_itself(data, problem):
    with pytest.raises(FormatError, match=problem):
        from_proto(data)


def test_files_that_are_not_there_or_are_something_else(tmp_path):
    with pytest.raises(FormatError, match=r"cannot read .*No such file"):
        read_model(tmp_path / "none.model")
    (tmp_path / "text.model").write_text("some text")
    with pytest.raises(FormatError, match="is not a sentencepiece model"):
        read_model(tmp_path / "text.model")
    (tmp_path / "bad.vocab").write_text("piece without score\n")
    with pytest.raises(FormatError, match="line 1 is not a piece, a tabulator and a score"):
        read_vocab(tmp_path / "bad.vocab")


def test_what_a_model_cannot_hold():
    tokens = {bytes([byte]): byte for byte in range(256)}
    with pytest.raises(NotSupportedError, match="other steps than sentencepiece's"):
        to_proto(byte_level(BpeModel(tokens=tokens, merges=[]), "gpt2"))


def test_merges_become_scores():
    from textmill.tokenizers.sentencepiece_model import scores_of

    model = CharacterBpeModel(tokens={"a": 0, "b": 1, "ab": 2, "aab": 3}, merges=[("a", "b"), ("a", "ab")])
    assert scores_of(model) == {"a": -2.0, "b": -2.0, "ab": -0.0, "aab": -1.0}


def test_byte_pieces():
    assert [byte_of(f"<0x{byte:02X}>") for byte in range(256)] == list(range(256))
    assert byte_of("<0x1>") is byte_of("abc") is None
