import json

import pytest

from textmill.errors import FormatError, NotSupportedError, OutputError
from textmill.tokenizers import files
from textmill.tokenizers.models import BpeModel
from textmill.tokenizers.pipeline import AddedToken, byte_level

BYTES = {bytes([byte]): byte for byte in range(256)}
PIPELINE = byte_level(
    BpeModel(tokens=BYTES, merges=[]),
    "gpt2",
    added=(AddedToken(content="<|endoftext|>", id=256), AddedToken(content="<stop>", id=257)),
    end_of_text="<stop>",
)


def test_a_folder_and_a_file_round_trip(tmp_path):
    files.save(PIPELINE, tmp_path / "folder")
    assert files.load(tmp_path / "folder") == PIPELINE
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["tokenizer.json", "tokenizer_config.json"]
    files.save(PIPELINE, tmp_path / "one.json")
    assert files.load(tmp_path / "one.json") == PIPELINE


def test_the_config_says_what_transformers_needs(tmp_path):
    files.save(PIPELINE, tmp_path)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text()) == {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "add_prefix_space": False,
        "bos_token": "<stop>",
        "eos_token": "<stop>",
        "additional_special_tokens": ["<|endoftext|>"],
    }


@pytest.mark.parametrize("config", [{"eos_token": {"content": "<stop>"}}, {"eos_token": 5}, [], {"eos_token": "?"}])
def test_the_end_of_text_of_foreign_folders(tmp_path, config):
    files.save(PIPELINE, tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    schema = json.loads((tmp_path / "tokenizer.json").read_text())
    # which foreign files do not have
    del schema["model"]["textmill_end_of_text"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(schema))
    expected = "<stop>" if config == {"eos_token": {"content": "<stop>"}} else "<|endoftext|>"
    assert files.load(tmp_path).end_of_text == expected


def test_a_vocabulary_and_merges_in_a_folder(tmp_path):
    files.save(PIPELINE, tmp_path)
    vocab = json.loads((tmp_path / "tokenizer.json").read_text())["model"]["vocab"]
    for name, merges in (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")):
        folder = tmp_path / name
        folder.mkdir()
        del vocab["<stop>"]
        (folder / name).write_text(json.dumps(vocab))
        (folder / merges).write_text("#version: 0.2\n")
        assert files.load(folder).special_tokens == {"<|endoftext|>": 256}
        vocab["<stop>"] = 257


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("nothing", FormatError, "nothing does not exist. Fix: check the path"),
        ("", FormatError, "holds no tokenizer. Fix: it needs tokenizer.json, tokenizer.model, tekken.json"),
        ("model.bin", NotSupportedError, "model.bin is not a tokenizer file that is known here. Fix: give a folder"),
        ("model.gguf", FormatError, "model.gguf is not a GGUF file: it is cut off at byte 4"),
    ],
)
def test_paths_that_hold_no_tokenizer(tmp_path, name, error, message):
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    (tmp_path / "model.bin").write_bytes(b"GGUF")
    with pytest.raises(error, match=message):
        files.load(tmp_path / name)


def test_paths_that_cannot_be_written(tmp_path):
    with pytest.raises(NotSupportedError, match=r"writing \.gguf files. Fix: write a \.model"):
        files.save(PIPELINE, tmp_path / "x.gguf")
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        files.save(PIPELINE, tmp_path / "taken" / "tokenizer")
