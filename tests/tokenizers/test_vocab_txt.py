import pytest
import tokenizers

from textmill.errors import FormatError, NotSupportedError
from textmill.tokenizers.models import BpeModel
from textmill.tokenizers.pipeline import byte_level
from textmill.tokenizers.vocab_txt import read_vocab_txt, write_vocab_txt

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", ",", "é"]


@pytest.fixture
def vocab(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    return path


def test_the_parts(vocab):
    pipeline = read_vocab_txt(vocab)
    assert pipeline.strings == TOKENS
    assert pipeline.special_tokens == {token: id for id, token in enumerate(TOKENS[:5])}
    assert pipeline.normalizers[0].lowercase
    assert dict(pipeline.finish[0].special_tokens) == {"[CLS]": (2,), "[SEP]": (3,)}


def test_case_comes_from_the_vocabulary_or_the_configuration(vocab):
    vocab.write_text("\n".join([*TOKENS, "The"]))
    assert not read_vocab_txt(vocab).normalizers[0].lowercase
    assert read_vocab_txt(vocab, lowercase=True).normalizers[0].lowercase
    (vocab.parent / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    assert read_vocab_txt(vocab).normalizers[0].lowercase


def test_what_is_written_opens_in_tokenizers(vocab, tmp_path):
    pipeline = read_vocab_txt(vocab)
    write_vocab_txt(pipeline, tmp_path / "again.txt")
    assert read_vocab_txt(tmp_path / "again.txt") == pipeline
    theirs = tokenizers.BertWordPieceTokenizer(str(tmp_path / "again.txt"))
    assert theirs.encode("The cats, dogs").tokens == ["[CLS]", "the", "cat", "##s", ",", "[UNK]", "[SEP]"]


def test_windows_line_ends(vocab):
    vocab.write_bytes("\r\n".join(TOKENS).encode())
    assert read_vocab_txt(vocab).strings == TOKENS


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[UNK]\na\na\n", r"line 3: the token 'a' stands in line 2 already. Fix: a vocab.txt has each token once"),
        (b"a\nb\n", r"is no vocab.txt: it has no line \[UNK\]"),
        (b"[UNK]\n\xff\n", "cannot read .*utf-8"),
        (b"", r"is no vocab.txt: it has no line \[UNK\]"),
    ],
)
def test_damaged_files(vocab, content, problem):
    vocab.write_bytes(content)
    with pytest.raises(FormatError, match=problem):
        read_vocab_txt(vocab)


def test_a_tokenizer_of_another_kind(tmp_path):
    pipeline = byte_level(BpeModel(tokens={bytes([byte]): byte for byte in range(256)}, merges=[]), "gpt2")
    with pytest.raises(NotSupportedError, match=r"not WordPiece. Fix: write a tokenizer.json"):
        write_vocab_txt(pipeline, tmp_path / "vocab.txt")
