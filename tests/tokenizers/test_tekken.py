import base64
import json
from pathlib import Path

import pytest

from textmill.errors import FormatError, NotSupportedError
from textmill.tokenizers import Tokenizer
from textmill.tokenizers.models import BpeModel
from textmill.tokenizers.pipeline import AddedToken, byte_level
from textmill.tokenizers.tekken import read_tekken, write_tekken

TOKENS = [*(bytes([byte]) for byte in range(256)), b"ab", b" ab"]
TEXT = "abracadabra ab 12345 Ünïcode's\n\n  日本語 x"


def schema(**config) -> dict:
    vocab = [{"rank": rank, "token_bytes": base64.b64encode(token).decode()} for rank, token in enumerate(TOKENS)]
    settings = {"pattern": r"\p{L}+|[^\p{L}]+", "default_vocab_size": 261, "default_num_special_tokens": 4}
    return {"config": settings | {"version": "v3"} | config, "vocab": vocab}


def written(tmp_path: Path, value: object) -> Path:
    path = tmp_path / "tekken.json"
    path.write_text(json.dumps(value))
    return path


def test_ids_are_ranks_after_the_special_tokens(tmp_path):
    pipeline = read_tekken(written(tmp_path, schema()))
    assert pipeline.special_tokens == {"<unk>": 0, "<s>": 1, "</s>": 2, "[INST]": 3}
    # the last token is beyond default_vocab_size
    assert (pipeline.model.tokens[b"ab"], b" ab" in pipeline.model.tokens) == (260, False)
    assert pipeline.end_of_text == "</s>"


def test_special_tokens_of_the_file_and_their_fillers(tmp_path):
    special = [{"rank": 2, "token_str": "<end>", "is_control": True}]
    pipeline = read_tekken(written(tmp_path, schema() | {"special_tokens": special}))
    assert list(pipeline.special_tokens) == ["<SPECIAL_0>", "<SPECIAL_1>", "<end>", "<SPECIAL_3>"]


def test_mistral_common_reads_what_is_written(tmp_path):
    tekken = pytest.importorskip("mistral_common.tokens.tokenizers.tekken")
    names = ("<unk>", "<s>", "</s>")
    pipeline = byte_level(
        BpeModel(tokens={token: 3 + rank for rank, token in enumerate(TOKENS)}, merges=None),
        "o200k",
        added=tuple(AddedToken(content=name, id=id) for id, name in enumerate(names)),
        end_of_text="</s>",
    )
    path = tmp_path / "tekken.json"
    write_tekken(pipeline, path)
    theirs = tekken.Tekkenizer.from_file(path)
    ours = Tokenizer(read_tekken(path))
    assert ours.encode(TEXT) == theirs.encode(TEXT, False, False) == Tokenizer(pipeline).encode(TEXT)


def test_published_files():
    """mistral-common carries two."""
    tekken = pytest.importorskip("mistral_common.tokens.tokenizers.tekken")
    import mistral_common

    for path in sorted((Path(mistral_common.__file__).parent / "data").glob("tekken_*.json")):
        ours = Tokenizer(read_tekken(path))
        assert ours.encode(TEXT) == tekken.Tekkenizer.from_file(path).encode(TEXT, False, False)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ([], "is not a tekken.json: it needs 'config' and 'vocab'"),
        (schema(pattern=7), "config.pattern must be a regular expression, got 7"),
        (schema(default_vocab_size=1 << 40), "default_vocab_size must be a number from 0 to 16777216"),
        (schema(default_num_special_tokens=-1), "default_num_special_tokens must be a number from 0"),
        (schema(default_vocab_size=100), "no token for byte 96"),
        (schema() | {"vocab": [{"rank": 1, "token_bytes": "AA=="}]}, "entry 0 of vocab needs the rank 0"),
        (schema() | {"vocab": [{"rank": 0, "token_bytes": "???"}]}, "entry 0 of vocab needs"),
        (schema() | {"special_tokens": [{"rank": 9, "token_str": "<x>"}]}, "a rank below 4"),
        (schema() | {"special_tokens": {}}, "special_tokens must be a list"),
    ],
)
def test_damaged_files(tmp_path, value, problem):
    with pytest.raises(FormatError, match=problem):
        read_tekken(written(tmp_path, value))


def test_what_a_tekken_file_cannot_hold(tmp_path):
    tokens = {token: rank for rank, token in enumerate(TOKENS)}
    with pytest.raises(NotSupportedError, match="not byte-level BPE by ranks"):
        write_tekken(byte_level(BpeModel(tokens=tokens, merges=[]), "gpt2"), tmp_path / "t.json")
    after = byte_level(BpeModel(tokens=tokens, merges=None), "gpt2", added=(AddedToken(content="<s>", id=258),))
    with pytest.raises(NotSupportedError, match="do not have the first ids"):
        write_tekken(after, tmp_path / "t.json")
