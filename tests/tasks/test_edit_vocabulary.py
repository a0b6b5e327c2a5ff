"""A model follows its tokenizer: logits of tokens that stay are what they were."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from textmill.errors import ConfigError, OutputError
from textmill.folder import ModelFolder, load, save_folder
from textmill.models import GPT, GPTConfig, Llama, LlamaConfig
from textmill.tasks.edit_vocabulary import edit_model, moved_rows, named_ids
from textmill.tokenizers import Tokenizer
from textmill.tokenizers.surgery import Edit, add_words, extend, prune

TEXTS = [f"paragraph {number}: the list of items that number {number} returns" for number in range(30)]
NEW_TEXTS = ["die Liste der Dinge, die eine Nummer liefert; die Liste ist lang"] * 3
SIZES = {"vocab_size": 300, "context_length": 24, "width": 16, "num_layers": 2, "num_heads": 2}
# a vocabulary of 300 for a tokenizer of 296: some models are padded
MODELS = {
    "gpt2, tied": lambda: GPT(GPTConfig(**SIZES)),
    "gpt2, untied, bf16": lambda: GPT(GPTConfig(**SIZES, tied=False)).bfloat16(),
    "gpt1": lambda: GPT(GPTConfig(**SIZES, form="gpt1")),
    "llama": lambda: Llama(LlamaConfig(**SIZES)),
    "llama, tied": lambda: Llama(LlamaConfig(**SIZES, tied=True)),
    "qwen3": lambda: Llama(LlamaConfig(**SIZES, qk_norm=True)),
}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS, vocab_size=296)


@pytest.fixture(params=MODELS)
def folder(request: pytest.FixtureRequest, tokenizer: Tokenizer, tmp_path: Path) -> ModelFolder:
    return save_folder(tmp_path / "model", model=MODELS[request.param](), tokenizer=tokenizer, run={"seed": 7})


@pytest.fixture
def tied(tokenizer: Tokenizer, tmp_path: Path) -> ModelFolder:
    return save_folder(tmp_path / "model", model=GPT(GPTConfig(**SIZES)), tokenizer=tokenizer)


def logits(folder: ModelFolder, ids: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return folder.model(torch.tensor([ids]))[0]


def test_pruning_keeps_the_logits_of_what_stays(folder: ModelFolder, tokenizer: Tokenizer, tmp_path: Path) -> None:
    edit = prune(tokenizer, TEXTS[:3], vocab_size=280, keep=named_ids(folder))
    made = edit_model(folder, edit, tmp_path / "out")
    assert made.config == dataclasses.replace(folder.config, vocab_size=280)
    kept = np.flatnonzero(edit.old_to_new >= 0)
    ids = [id for id in tokenizer.encode(TEXTS[0]) if id in kept][:20]
    moved = edit.old_to_new[ids].tolist()
    assert [made.tokenizer.id_to_token(id) for id in moved] == [tokenizer.id_to_token(id) for id in ids]
    torch.testing.assert_close(logits(made, moved), logits(folder, ids)[:, kept], rtol=1e-5, atol=1e-5)


def test_extending_keeps_the_logits_of_old_ids(folder: ModelFolder, tokenizer: Tokenizer, tmp_path: Path) -> None:
    edit = extend(tokenizer, NEW_TEXTS, 10)
    made = edit_model(folder, edit, tmp_path / "out")
    assert made.config.vocab_size == 306
    ids = tokenizer.encode(TEXTS[0])[:20]
    torch.testing.assert_close(logits(made, ids)[:, :296], logits(folder, ids)[:, :296], rtol=1e-5, atol=1e-5)
    for id, pieces in edit.new_pieces.items():
        rows = load(folder.path, precision="file").model.embedding.weight
        mean = rows[list(pieces)].float().mean(dim=0).to(rows.dtype)
        torch.testing.assert_close(load(made.path, precision="file").model.embedding.weight[id], mean)


def test_other_weights_are_untouched_bit_for_bit(folder: ModelFolder, tokenizer: Tokenizer, tmp_path: Path) -> None:
    made = edit_model(folder, extend(tokenizer, NEW_TEXTS, 10), tmp_path / "out")
    before, after = (load(place.path, precision="file").model.state_dict() for place in (folder, made))
    assert before.keys() == after.keys()
    for name, weight in before.items():
        assert weight.dtype == after[name].dtype
        same = slice(0, 296) if name in ("embedding.weight", "head.weight") else slice(None)
        assert torch.equal(weight[same], after[name][same]), name


def test_transformers_opens_the_result(folder: ModelFolder, tokenizer: Tokenizer, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    for number, edit in enumerate((extend(tokenizer, NEW_TEXTS, 10), prune(tokenizer, TEXTS, vocab_size=270))):
        made = edit_model(folder, edit, tmp_path / str(number))
        theirs = AutoModelForCausalLM.from_pretrained(made.path, dtype=torch.float32).eval()
        words = AutoTokenizer.from_pretrained(made.path)
        ids = words(NEW_TEXTS[0], add_special_tokens=False)["input_ids"]
        assert ids == edit.tokenizer.encode(NEW_TEXTS[0])
        with torch.inference_mode():
            found = theirs(torch.tensor([ids[:20]])).logits[0]
        torch.testing.assert_close(found, logits(made, ids[:20]), rtol=1e-4, atol=1e-4)
        assert theirs.config.eos_token_id == made.tokenizer.end_of_text_id
        assert theirs.generation_config.eos_token_id == made.tokenizer.end_of_text_id


def test_the_files(tied: ModelFolder, tokenizer: Tokenizer, tmp_path: Path) -> None:
    config = json.loads((tied.path / "config.json").read_text())
    (tied.path / "config.json").write_text(json.dumps(config | {"pad_token_id": -1, "summary_type": "first"}))
    (tied.path / "run.json").unlink()
    edit = prune(tokenizer, TEXTS, vocab_size=270)
    made = edit_model(tied, edit, tmp_path / "out", multiple_of=64)
    config = json.loads((made.path / "config.json").read_text())
    assert (config["vocab_size"], config["pad_token_id"], config["summary_type"]) == (320, -1, "first")
    assert made.model.embedding.weight.shape == (320, 16)
    assert made.model.head is None
    torch.testing.assert_close(
        made.model.embedding.weight[300], tied.model.embedding.weight[:296].mean(dim=0), rtol=1e-5, atol=1e-6
    )
    ids = json.loads((made.path / "ids.json").read_text())
    assert ids["old_to_new"] == edit.old_to_new.tolist()
    assert made.run["task"] == "edit-vocabulary"
    assert made.run["tokens"] == {"kept": 270, "gone": 26, "new": 0}
    assert set(made.run["files"]) >= {"config.json", "model.safetensors", "tokenizer.json", "ids.json"}
    assert made.end_ids == (made.tokenizer.end_of_text_id,)


def test_lists_of_end_tokens_follow(tied: ModelFolder, tokenizer: Tokenizer, tmp_path: Path) -> None:
    last = tokenizer.vocab_size - 1
    (tied.path / "run.json").unlink()
    (tied.path / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, last], "max_length": 9}))
    assert named_ids(tied) == {0, last}
    edit = prune(tokenizer, ["a"], min_count=1, keep=named_ids(tied))
    made = edit_model(tied, edit, tmp_path / "out")
    assert made.end_ids == (0, made.tokenizer.vocab_size - 1)
    assert json.loads((made.path / "generation_config.json").read_text())["max_length"] == 9
    with pytest.raises(ConfigError, match=f"takes away token {last}, which is the eos_token_id"):
        edit_model(tied, prune(tokenizer, ["a"], min_count=1), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_new_rows(tokenizer: Tokenizer) -> None:
    edit = Edit(
        tokenizer=tokenizer, old_to_new=np.array([0, -1, 1], dtype=np.int32), new_pieces={2: (0, 1), 3: (), 4: (2, 2)}
    )
    rows = torch.tensor([[1.0], [3.0], [8.0], [99.0]])
    assert moved_rows(rows, edit, 6).flatten().tolist() == [1.0, 8.0, 2.0, 4.0, 8.0, 4.0]
    assert moved_rows(rows, edit, 5, new_rows="zero").flatten().tolist() == [1.0, 8.0, 0.0, 0.0, 0.0]
    weighted = moved_rows(rows, edit, 5, new_rows="weighted", weights={0: 3.0, 1: 1.0, 2: 1.0})
    assert weighted.flatten().tolist() == [1.0, 8.0, 1.5, 4.0, 8.0]


def test_weighted_by_bytes(tied: ModelFolder, tokenizer: Tokenizer, tmp_path: Path) -> None:
    edit = add_words(tokenizer, ["paragraphs"])
    made = edit_model(tied, edit, tmp_path / "out", new_rows="weighted")
    (id, pieces), *_ = edit.new_pieces.items()
    rows = tied.model.embedding.weight
    sizes = torch.tensor([float(len(tokenizer.id_to_bytes(piece))) for piece in pieces])
    torch.testing.assert_close(made.model.embedding.weight[id], (sizes / sizes.sum()) @ rows[list(pieces)])


def test_what_is_refused(tied: ModelFolder, tokenizer: Tokenizer, tmp_path: Path) -> None:
    edit = extend(tokenizer, NEW_TEXTS, 10)
    with pytest.raises(ConfigError, match="another folder"):
        edit_model(tied, edit, tied.path)
    with pytest.raises(ConfigError, match="edit is of 306 tokens, the folder's tokenizer has 296"):
        edit_model(tied, extend(edit.tokenizer, ["qx"], 1), tmp_path / "out")
    with pytest.raises(ConfigError, match="multiple of 1 or more, got 0"):
        edit_model(tied, edit, tmp_path / "out", multiple_of=0)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="already holds something else"):
        edit_model(tied, edit, tmp_path / "full")
    edit_model(tied, edit, tmp_path / "full", force=True)
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine"
