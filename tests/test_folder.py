"""Model folders: what is written, what is read, and every way a folder can be broken."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from textmill.errors import ConfigError, FormatError, NotSupportedError, OutputError
from textmill.files import sha256_file
from textmill.folder import KINDS, load, save_folder
from textmill.models import GPT, GPTConfig
from textmill.tokenizers import Tokenizer

CONFIG = GPTConfig(vocab_size=300, context_length=16, width=16, num_layers=1, num_heads=2)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["the cat sat on the mat, the hat"] * 3, algorithm="bpe", vocab_size=262)


@pytest.fixture
def folder(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    save_folder(tmp_path / "model", model=GPT(CONFIG), tokenizer=tokenizer, run={"seed": 7})
    return tmp_path / "model"


def change_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_is_written(folder: Path, tokenizer: Tokenizer) -> None:
    names = {file.name for file in folder.iterdir()}
    assert {"config.json", "model.safetensors", "generation_config.json", "run.json", "tokenizer.json"} <= names
    opened = load(folder)
    assert opened.run["seed"] == 7
    assert opened.run["files"] == {name: sha256_file(folder / name) for name in names - {"run.json"}}
    assert opened.config == CONFIG
    assert opened.tokenizer.fingerprint() == tokenizer.fingerprint()
    assert opened.end_ids == (tokenizer.end_of_text_id,)
    assert not opened.model.training


def test_transformers_reads_the_tokenizer_too(folder: Path, tokenizer: Tokenizer) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(folder)
    text = "the cat sat 猫 on 12 mats"
    assert theirs(text, add_special_tokens=False)["input_ids"] == tokenizer.encode(text)
    assert theirs.eos_token_id == tokenizer.end_of_text_id


def test_precision(folder: Path, tmp_path: Path) -> None:
    assert load(folder).model.embedding.weight.dtype == torch.float32
    assert load(folder, precision="bf16").model.embedding.weight.dtype == torch.bfloat16
    save_folder(tmp_path / "half", model=GPT(CONFIG).bfloat16())
    assert json.loads((tmp_path / "half" / "config.json").read_text())["dtype"] == "bfloat16"
    assert load(tmp_path / "half", precision="file").model.embedding.weight.dtype == torch.bfloat16
    assert load(tmp_path / "half").model.embedding.weight.dtype == torch.float32


def test_facts(folder: Path) -> None:
    facts = load(folder).facts(weights=True)
    assert facts["architecture"] == "GPT2LMHeadModel"
    assert facts["parameters"] == GPT(CONFIG).num_parameters()
    assert facts["settings"]["width"] == 16
    assert facts["run"] == {"seed": 7}
    assert facts["weights"]["transformer.wte.weight"] == "300 x 16"


def test_saving_again_replaces_ours_and_keeps_the_rest(folder: Path) -> None:
    (folder / "README.md").write_text("a card")
    (folder / "plots").mkdir()
    (folder / "plots" / "loss.png").write_bytes(b"png")
    save_folder(folder, model=GPT(CONFIG, seed=1), run={"seed": 8})
    assert (folder / "README.md").read_text() == "a card"
    assert (folder / "plots" / "loss.png").read_bytes() == b"png"
    assert load(folder).run["seed"] == 8
    assert torch.equal(load(folder).model.embedding.weight, GPT(CONFIG, seed=1).embedding.weight)


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="already holds something else"):
        save_folder(tmp_path, model=GPT(CONFIG))
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_failed_save_leaves_the_old_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OutputError, match="the disk is full"):
        save_folder(folder, model=GPT(CONFIG, seed=1))
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert [entry.name for entry in folder.parent.iterdir()] == ["model"]


def test_a_tokenizer_larger_than_the_model(tmp_path: Path, tokenizer: Tokenizer) -> None:
    small = GPTConfig(vocab_size=100, context_length=16, width=16, num_layers=1, num_heads=2)
    with pytest.raises(ConfigError, match=f"the tokenizer has {tokenizer.vocab_size} tokens, the model only 100"):
        save_folder(tmp_path / "model", model=GPT(small), tokenizer=tokenizer)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_tampered_file(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[-2] ^= 1
    (folder / name).write_bytes(data)
    opened = load(folder)
    with pytest.raises(FormatError, match=rf"{name} is not the file that was saved.*Fix: copy the folder again"):
        _ = (opened.model, opened.tokenizer)


@pytest.mark.parametrize("keep", [0, 5, 200, -4])
@pytest.mark.parametrize("with_run", [True, False])
def test_truncated_weights(folder: Path, keep: int, with_run: bool) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    if not with_run:
        (folder / "run.json").unlink()
    with pytest.raises(FormatError, match=r"model\.safetensors is not (the file that was saved|a whole safetensors)"):
        _ = load(folder).model


def test_missing_weights_are_named(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(FormatError, match=r"holds no model\.safetensors"):
        _ = load(folder).model


def test_pickles_are_never_loaded(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(NotSupportedError, match=r"pytorch_model\.bin: a pickle can run programs.*save_pretrained"):
        _ = load(folder).model


@pytest.mark.parametrize("place", ["../secret.safetensors", "absent.safetensors"])
def test_an_index_may_only_name_files_beside_it(folder: Path, place: str) -> None:
    (folder / "model.safetensors").rename(folder.parent / "secret.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": place}}))
    with pytest.raises(FormatError, match=r"index\.json names '.*', which isn't there"):
        _ = load(folder).model


def test_other_folders(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="there is no model folder at"):
        load(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match=r"holds no config\.json, so it is not a model folder"):
        load(tmp_path / "empty")
    (folder / "run.json").unlink()
    change_json(folder / "config.json", model_type="whisper")
    with pytest.raises(NotSupportedError, match="holds a 'whisper' model; supported are bert, gpt2, llama"):
        _ = load(folder).config
    change_json(folder / "config.json", model_type=None)
    with pytest.raises(FormatError, match="names no model_type"):
        _ = load(folder).config
    (folder / "config.json").write_text("[]")
    with pytest.raises(FormatError, match="must hold a JSON object"):
        _ = load(folder).config


def test_weights_of_another_size_name_the_folder(folder: Path) -> None:
    (folder / "run.json").unlink()
    change_json(folder / "config.json", n_positions=8)
    with pytest.raises(FormatError, match=r"model: the weights transformer\.wpe\.weight \[16, 16\] don't fit"):
        _ = load(folder).model


def test_every_kind_can_be_imported() -> None:
    for kind in KINDS.values():
        assert hasattr(kind.config_class(), "from_foreign")
        assert hasattr(kind.model_class(), "with_weights")


def test_settings_need_no_torch() -> None:
    names = ("textmill.folder", "textmill.models.configs", "textmill.generation.config", "textmill.layers.config")
    program = f"import sys, {', '.join(names)}; print({{'torch', 'numba', 'numpy'}} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip() == "set()"
