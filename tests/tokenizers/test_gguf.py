import contextlib
import random
import struct

import pytest

from textmill.errors import FormatError, NotSupportedError, TextmillError
from textmill.tokenizers.byte_level import BYTE_CHARACTERS
from textmill.tokenizers.gguf import metadata, read_gguf
from textmill.tokenizers.models import CharacterBpeModel, UnigramModel, WordPieceModel

gguf = pytest.importorskip("gguf")

PIECES = ["<unk>", "<s>", "</s>", "<0x0A>", "▁", "a", "b", "▁a", "▁ab"]
SCORES = [0.0, 0.0, 0.0, 0.0, -9.0, -7.0, -8.0, -1.0, -2.0]
TYPES = [2, 3, 3, 6, 1, 1, 1, 1, 4]


def written(path, model, tokens, **more):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(77)
    writer.add_tokenizer_model(model)
    writer.add_token_list(tokens)
    for name, value in more.items():
        getattr(writer, f"add_{name}")(value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


@pytest.fixture
def llama(tmp_path):
    more = {"token_scores": SCORES, "token_types": TYPES, "add_space_prefix": True, "eos_token_id": 2}
    return written(tmp_path / "m.gguf", "llama", PIECES, **more)


def test_sentencepiece_bpe(llama):
    pipeline = read_gguf(llama)
    assert isinstance(pipeline.model, CharacterBpeModel)
    assert pipeline.model.tokens == {piece: id for id, piece in enumerate(PIECES)}
    assert pipeline.model.kinds == {
        "<unk>": "unknown",
        "<s>": "control",
        "</s>": "control",
        "<0x0A>": "byte",
        "▁ab": "user_defined",
    }
    assert (pipeline.model.byte_fallback, pipeline.end_of_text) == (True, "</s>")
    assert pipeline.normalizers[0].user_defined == ("▁ab",)


def test_unigram(tmp_path):
    path = written(
        tmp_path / "m.gguf", "t5", PIECES, token_scores=SCORES, token_types=TYPES, remove_extra_whitespaces=True
    )
    pipeline = read_gguf(path)
    assert isinstance(pipeline.model, UnigramModel)
    assert pipeline.model.pieces[7] == ("▁a", -1.0)
    assert pipeline.normalizers[0].squeeze_blanks


def test_byte_level(tmp_path):
    tokens = [*BYTE_CHARACTERS, "ab", "<|end|>"]
    more = {"token_merges": ["a b"], "token_types": [1] * 257 + [3], "tokenizer_pre": "llama-bpe", "eos_token_id": 257}
    pipeline = read_gguf(written(tmp_path / "m.gguf", "gpt2", tokens, **more))
    assert pipeline.model.tokens[b"ab"] == 256
    assert (pipeline.special_tokens, pipeline.end_of_text) == ({"<|end|>": 257}, "<|end|>")
    path = written(tmp_path / "n.gguf", "gpt2", tokens, **(more | {"tokenizer_pre": "exotic"}))
    with pytest.raises(NotSupportedError, match="has the splitter 'exotic'"):
        read_gguf(path)


def test_bert(tmp_path):
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁cat", "s"]
    pipeline = read_gguf(written(tmp_path / "m.gguf", "bert", tokens, token_types=[3, 3, 3, 3, 1, 1]))
    assert isinstance(pipeline.model, WordPieceModel)
    assert list(pipeline.model.tokens) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "cat", "##s"]


def test_only_the_tokenizer_is_read(llama):
    assert all(key.startswith("tokenizer.") for key in metadata(llama))


def test_damaged_files_end_in_a_clear_error(llama):
    random.seed(0)
    whole = llama.read_bytes()
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(random.randint(1, 3)):
            data[random.randrange(len(data))] = random.randrange(256)
        llama.write_bytes(bytes(data[: random.choice([len(data), random.randrange(len(data))])]))
        with contextlib.suppress(TextmillError):
            read_gguf(llama)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "cannot read"),
        (b"GGUF", "cut off at byte 4"),
        (b"GGML" + bytes(40), "begins with b'GGML'"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 40), "it has 1099511627776 entries"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 0), "holds no tokenizer"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 8, 1 << 60), "a list of 115292"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 4, 1 << 60), "cut off in a list"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<I", 77), "unknown type 77"),
    ],
)
def test_hostile_headers(tmp_path, content, problem):
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=problem):
        read_gguf(path)
