"""The stages that every run from text begins with."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from textmill.data.shards import TokenShards
from textmill.data.spec import ShardSpec
from textmill.errors import ConfigError, DataError, FormatError
from textmill.recipes.text import SHARDS, TOKENIZER, Text, corpus_identity, read, shards_stage, tokenizer_stage
from textmill.tokenizers import Tokenizer
from textmill.tokenizers.spec import TokenizerSpec

PARAGRAPHS = [f"paragraph {number} says that it is number {number}" for number in range(40)]


@pytest.fixture
def settings(tmp_path: Path) -> Text:
    (tmp_path / "text.txt").write_text("\n\n".join(PARAGRAPHS))
    return Text(
        corpus=str(tmp_path / "text.txt"),
        documents="paragraph",
        tokenizer=TokenizerSpec(vocab_size=280),
        shards=ShardSpec(validation_fraction=0.25),
    )


def change(settings: Text, **changes: Any) -> Text:
    return Text(**{**{name: getattr(settings, name) for name in vars(settings)}, **changes})


def silent(done: int, total: int | None) -> None:
    """Where nobody watches."""


def run(settings: Text, folder: Path) -> list[Mapping[str, Any]]:
    return [stage.run(folder, {}, silent) for stage in (tokenizer_stage(settings), shards_stage(settings))]


def test_every_document_is_in_one_split(settings: Text, tmp_path: Path) -> None:
    learnt, shards = run(settings, tmp_path / "run")
    tokenizer = Tokenizer.load(tmp_path / "run" / TOKENIZER)
    assert learnt["vocab_size"] == tokenizer.vocab_size == 280
    texts: dict[str, list[str]] = {}
    for split in ("train", "validation"):
        opened = TokenShards.open(tmp_path / "run" / SHARDS, split)  # type: ignore[arg-type]
        opened.check_tokenizer(tokenizer.fingerprint())
        whole = tokenizer.decode(opened.window(0, opened.num_tokens))
        texts[split] = whole.split("<|endoftext|>")[:-1]
    assert sorted(texts["train"] + texts["validation"]) == sorted(PARAGRAPHS)
    assert len(texts["train"]) == shards["train"]["documents"]
    assert len(texts["validation"]) == shards["held_out"]["documents"] >= 1


def test_the_tokenizer_learns_from_the_training_split_alone(settings: Text, tmp_path: Path) -> None:
    run(settings, tmp_path / "run")
    tokenizer = Tokenizer.load(tmp_path / "run" / TOKENIZER)
    train = TokenShards.open(tmp_path / "run" / SHARDS, "train")
    texts = tokenizer.decode(train.window(0, train.num_tokens)).split("<|endoftext|>")[:-1]
    assert Tokenizer.train(texts, settings.tokenizer).fingerprint() == tokenizer.fingerprint()


def test_a_tokenizer_may_be_taken_from_elsewhere(settings: Text, tmp_path: Path) -> None:
    Tokenizer.train(["something else " * 9], vocab_size=265).save(tmp_path / "other")
    taken = change(settings, tokenizer_from=str(tmp_path / "other"))
    run(taken, tmp_path / "run")
    theirs = Tokenizer.load(tmp_path / "other").fingerprint()
    assert Tokenizer.load(tmp_path / "run" / TOKENIZER).fingerprint() == theirs
    assert tokenizer_stage(taken).inputs["tokenizer"] == theirs
    with pytest.raises(FormatError, match="does not exist"):
        tokenizer_stage(change(settings, tokenizer_from=str(tmp_path / "nowhere")))


def test_the_identity_of_a_text_tells_changes(settings: Text, tmp_path: Path) -> None:
    before = corpus_identity(settings)
    assert corpus_identity(settings) == before
    (tmp_path / "text.txt").write_text("other")
    assert corpus_identity(settings) != before
    builtin = corpus_identity(Text())
    assert builtin == corpus_identity(Text(corpus=("builtin",)))
    assert builtin != before
    with pytest.raises(DataError, match="does not exist"):
        corpus_identity(Text(corpus=str(tmp_path / "nowhere.txt")))


def test_what_can_be_read_only_once_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for corpus in ("-", ("builtin", "-"), str(tmp_path / "pipe")):
        with pytest.raises(ConfigError, match=r"a run reads its text more than once, which .* can't give"):
            tokenizer_stage(Text(corpus=corpus))


def test_several_inputs_are_read_in_order(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.txt").write_text(f"from {name}")
    text = Text(corpus=tuple(str(tmp_path / f"{name}.txt") for name in ("b", "a")))
    assert list(read(text, silent)) == [b"from b", b"from a"]
