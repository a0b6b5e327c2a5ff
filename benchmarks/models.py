"""Models, tokenizers and token shards as both sides of a comparison use them, kept in the cache."""

import dataclasses
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import texts
from benchmarks.harness import CACHE
from textmill import config


def kept(name: str, settings: Any, make: Callable[[Path], None]) -> Path:
    """A folder of the cache that `make` filled; another one for other settings."""
    path = CACHE / f"{name}-{config.fingerprint(settings)[:12]}"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
            make(Path(temporary))
            shutil.copytree(temporary, path)
    return path


def english_tokenizer(most_bytes: int, algorithm: Any, vocab_size: int) -> tuple[Any, bytes]:
    """A tokenizer trained on English text, and the text."""
    from textmill import Tokenizer
    from textmill.tokenizers import TokenizerSpec

    text = texts.text("english", most_bytes)
    spec = TokenizerSpec(algorithm=algorithm, vocab_size=vocab_size, allow_fewer=True)
    return Tokenizer.train([text.decode(errors="ignore")], spec=spec), text


def folder() -> Path:
    """A model folder with the quickstart's architecture, seeded weights and a tokenizer trained on the built-in corpus.

    Kept in the cache under the settings' fingerprint, so that a changed quickstart makes a new one.
    """
    settings = quickstart()
    path = CACHE / f"quickstart-{config.fingerprint(settings)[:12]}"
    if not (path / "model").exists():
        _make(path, settings)
    return path / "model"


def shards() -> Path:
    """The built-in corpus as the quickstart's token shards."""
    return folder().parent / "shards"


def quickstart() -> Any:
    """The settings of the quickstart."""
    from textmill.recipes.quickstart import Quickstart

    return Quickstart()


def _make(path: Path, settings: Any) -> None:
    import textmill.models.gpt
    import textmill.models.llama
    from textmill.folder import save_folder
    from textmill.recipes.text import shards_stage, tokenizer_stage
    from textmill.tokenizers import Tokenizer

    for stage in (tokenizer_stage(settings), shards_stage(settings)):
        stage.run(path, {}, lambda _done, _total: None)
    tokenizer = Tokenizer.load(path / "tokenizer")
    model_config = dataclasses.replace(settings.model, vocab_size=tokenizer.vocab_size)
    classes = {"GPTConfig": textmill.models.gpt.GPT, "LlamaConfig": textmill.models.llama.Llama}
    model = classes[type(model_config).__name__](model_config, seed=0)
    save_folder(path / "model", model=model, tokenizer=tokenizer)
