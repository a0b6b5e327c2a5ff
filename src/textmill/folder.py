"""`ModelFolder`: the one artefact that commands hand to one another.

    config.json             the architecture, under the ecosystem's names
    model.safetensors       the weights, under the ecosystem's names
    tokenizer.json, ...     the tokenizer
    generation_config.json  the tokens that begin and end a text
    run.json                how the folder was made, and the SHA-256 of each file above

`transformers` opens such a folder, and we open theirs, which has no run.json. Pickle is never loaded.
Nothing heavy is imported until `model` or `tokenizer` is used.
"""

import importlib
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from textmill.config import to_json
from textmill.errors import ConfigError, FormatError, NotSupportedError, OutputError
from textmill.files import claim_output, read_json, replacing_folder, sha256_file, write_json

if TYPE_CHECKING:
    from torch import Tensor

    from textmill.models.base import LanguageModel
    from textmill.tokenizers import Tokenizer

CONFIG, WEIGHTS, INDEX, GENERATION, RUN = (
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "generation_config.json",
    "run.json",
)
OURS = (CONFIG, WEIGHTS, INDEX, GENERATION, RUN)
"""Files that a saved folder replaces; what else stands there, a model card say, is kept."""

Precision = Literal["fp32", "bf16", "fp16", "file"]


@dataclass(frozen=True)
class Kind:
    """Which classes a folder's `model_type` stands for, as module:name, imported when needed."""

    config: str
    model: str

    def config_class(self) -> Any:
        return _imported(self.config)

    def model_class(self) -> Any:
        return _imported(self.model)


KINDS: dict[str, Kind] = {
    "bert": Kind("textmill.models.configs:BertConfig", "textmill.models.bert:Bert"),
    "gpt2": Kind("textmill.models.configs:GPTConfig", "textmill.models.gpt:GPT"),
    "mixtral": Kind("textmill.models.configs:MixtralConfig", "textmill.models.mixtral:Mixtral"),
    "modernbert": Kind("textmill.models.configs:ModernBertConfig", "textmill.models.modern_bert:ModernBert"),
    "openai-gpt": Kind("textmill.models.configs:GPTConfig", "textmill.models.gpt:GPT"),
    "llama": Kind("textmill.models.configs:LlamaConfig", "textmill.models.llama:Llama"),
    "qwen3": Kind("textmill.models.configs:LlamaConfig", "textmill.models.llama:Llama"),
    "textmill-bert": Kind("textmill.models.configs:BertConfig", "textmill.models.bert:Bert"),
    "textmill-gpt": Kind("textmill.models.configs:GPTConfig", "textmill.models.gpt:GPT"),
    "textmill-gru": Kind("textmill.models.configs:GruConfig", "textmill.models.gru:Gru"),
    "textmill-llama": Kind("textmill.models.configs:LlamaConfig", "textmill.models.llama:Llama"),
    "textmill-lstm": Kind("textmill.models.configs:LstmConfig", "textmill.models.lstm:Lstm"),
    "textmill-mixtral": Kind("textmill.models.configs:MixtralConfig", "textmill.models.mixtral:Mixtral"),
    "textmill-nnlm": Kind("textmill.models.configs:NnlmConfig", "textmill.models.nnlm:Nnlm"),
    "textmill-rnn": Kind("textmill.models.configs:RnnConfig", "textmill.models.rnn:Rnn"),
    "textmill-transformer-xl": Kind(
        "textmill.models.configs:TransformerXlConfig", "textmill.models.transformer_xl:TransformerXl"
    ),
}
"""What a folder can hold, by config.json's `model_type`. A new architecture, estimator or delta adds a line."""


class ModelFolder:
    """A model folder on disk. Its parts are read when they are first asked for."""

    def __init__(self, path: str | os.PathLike[str], *, precision: Precision = "fp32", verify: bool = True) -> None:
        self.path = Path(path)
        self.precision = precision
        self.verify = verify
        if not self.path.is_dir():
            raise FormatError(f"there is no model folder at {self.path}", fix="check the path")
        if not (self.path / CONFIG).is_file():
            raise FormatError(
                f"{self.path} holds no {CONFIG}, so it is not a model folder", fix="give the folder that -o named"
            )

    def __repr__(self) -> str:
        return f"ModelFolder({str(self.path)!r})"

    @cached_property
    def run(self) -> dict[str, Any]:
        """What run.json says: how the folder was made. Empty for a folder made elsewhere."""
        path = self.path / RUN
        return _object(path) if path.is_file() else {}

    @cached_property
    def foreign_config(self) -> dict[str, Any]:
        """config.json as it stands."""
        self._check(CONFIG)
        return _object(self.path / CONFIG)

    @cached_property
    def kind(self) -> Kind:
        model_type = self.foreign_config.get("model_type")
        if not isinstance(model_type, str):
            raise FormatError(f"{self.path / CONFIG} names no model_type", fix="fetch the folder again")
        if model_type not in KINDS:
            raise NotSupportedError(
                f"{self.path} holds a {model_type!r} model; supported are {', '.join(sorted(KINDS))}",
                fix="choose another model",
            )
        return KINDS[model_type]

    @cached_property
    def config(self) -> Any:
        """The model's settings, such as a `GPTConfig`."""
        return self.kind.config_class().from_foreign(self.foreign_config)

    @cached_property
    def model(self) -> "LanguageModel":
        """The model in evaluation mode, on the CPU, in `precision`."""
        weights = self._weights()
        try:
            model: LanguageModel = self.kind.model_class().with_weights(self.config, weights)
        except FormatError as error:
            raise FormatError(f"{self.path}: {error.problem}", fix=error.fix) from None
        return model.eval()

    @cached_property
    def tokenizer(self) -> "Tokenizer":
        from textmill.tokenizers import Tokenizer

        for name in ("tokenizer.json", "tokenizer_config.json"):
            self._check(name)
        return Tokenizer.load(self.path)

    @cached_property
    def end_ids(self) -> tuple[int, ...]:
        """The tokens that end a text: from generation_config.json, else config.json, else the tokenizer's."""
        generation = self.path / GENERATION
        found = _object(generation).get("eos_token_id") if generation.is_file() else None
        found = self.foreign_config.get("eos_token_id") if found is None else found
        if found is None and (self.path / "tokenizer.json").is_file():
            found = self.tokenizer.end_of_text_id
        ids = found if isinstance(found, list) else [] if found is None else [found]
        if not all(type(token) is int for token in ids):
            raise FormatError(f"{self.path}: eos_token_id must be a token's id or a list of them, got {found!r:.60}")
        return tuple(ids)

    def facts(self, *, weights: bool = False) -> dict[str, Any]:
        """What the folder holds, without reading the weights: architecture, parameters, settings, how it was made."""
        shapes = {name: shape for file in self._weight_files() for name, shape in _shapes(self.path / file).items()}
        settings, named = to_json(self.config), self.foreign_config.get("architectures")
        facts: dict[str, Any] = {
            "architecture": named[0] if isinstance(named, list) and named else self.foreign_config["model_type"],
            "parameters": sum(math.prod(shape) for shape in shapes.values()),
            "weight_bytes": sum((self.path / file).stat().st_size for file in self._weight_files()),
            "settings": settings,
            "run": {name: value for name, value in self.run.items() if name != "files"},
        }
        if weights:
            facts["weights"] = {name: " x ".join(map(str, shape)) for name, shape in sorted(shapes.items())}
        return facts

    def _weights(self) -> "dict[str, Tensor]":
        import torch

        weights: dict[str, Tensor] = {}
        for name in self._weight_files():
            self._check(name)
            weights |= _read_safetensors(self.path / name)
        if self.precision == "file":
            return weights
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]
        return {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in weights.items()}

    def _weight_files(self) -> list[str]:
        if (self.path / WEIGHTS).is_file():
            return [WEIGHTS]
        if (self.path / INDEX).is_file():
            table = _object(self.path / INDEX).get("weight_map")
            if not isinstance(table, dict) or not all(isinstance(name, str) for name in table.values()):
                raise FormatError(f"{self.path / INDEX} has no weight_map", fix="fetch the folder again")
            names = sorted(set(table.values()))
            for name in names:
                if Path(name).name != name or not (self.path / name).is_file():
                    raise FormatError(f"{self.path / INDEX} names {name!r}, which isn't there", fix="fetch it again")
            return names
        pickles = [entry.name for entry in self.path.iterdir() if entry.suffix in (".bin", ".pt", ".pth", ".ckpt")]
        if pickles:
            raise NotSupportedError(
                f"{self.path} has its weights in {sorted(pickles)[0]}: a pickle can run programs and is never loaded",
                fix="where you trust it, convert it: AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW) "
                "with transformers writes model.safetensors",
            )
        raise FormatError(f"{self.path} holds no {WEIGHTS}", fix="fetch the folder again")

    def _check(self, name: str) -> None:
        """Compares a file with the checksum that run.json has for it."""
        files = self.run.get("files")
        expected = files.get(name) if isinstance(files, dict) else None
        if expected is None or not self.verify:
            return
        path = self.path / name
        if not path.is_file():
            raise FormatError(f"{path} is missing", fix="copy the folder again, or make it again by the same command")
        if sha256_file(path) != expected:
            raise FormatError(
                f"{path} is not the file that was saved: its SHA-256 differs from the one in {RUN}",
                fix=f"copy the folder again; if you changed the file on purpose, delete its line in {RUN}",
            )


def load(path: str | os.PathLike[str], *, precision: Precision = "fp32", verify: bool = True) -> ModelFolder:
    """The model folder at `path`: ours, or one that transformers saved.

    Args:
        precision: of the weights in memory; "file": as they are stored.
        verify: compare each file with its checksum in run.json when it is read.

    Raises:
        FormatError: no such folder. Broken or tampered files raise it when they are first read.
    """
    return ModelFolder(path, precision=precision, verify=verify)


def save_folder(
    path: str | os.PathLike[str],
    *,
    model: "LanguageModel",
    tokenizer: "Tokenizer | None" = None,
    run: Mapping[str, Any] | None = None,
    force: bool = False,
) -> ModelFolder:
    """The folder just written, whole or not at all. Other files that stand there are kept.

    Args:
        run: how the folder was made; written to run.json with the checksum of every file.
        force: write into a folder that holds something else.

    Raises:
        ConfigError: the tokenizer has more tokens than the model.
        OutputError: it can't be written, or holds something else.
    """
    path = Path(path)
    if tokenizer is not None and tokenizer.vocab_size > model.config.vocab_size:
        raise ConfigError(
            f"the tokenizer has {tokenizer.vocab_size} tokens, the model only {model.config.vocab_size}",
            fix="save the model with the tokenizer it was trained with",
        )
    existed = path.exists()
    claim_output(path, marker=CONFIG, force=force)
    with replacing_folder(path) as folder:
        _write_parts(folder, model, tokenizer)
        checksums = {file.name: sha256_file(file) for file in sorted(folder.iterdir()) if file.is_file()}
        write_json(folder / RUN, {**(run or {}), "files": checksums})
        if existed:
            keep_others(path, folder)
    return ModelFolder(path)


def _write_parts(folder: Path, model: "LanguageModel", tokenizer: "Tokenizer | None") -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    end_id = None if tokenizer is None else tokenizer.end_of_text_id
    padding_id = None if tokenizer is None else tokenizer.special_tokens.get("[PAD]")
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.to_foreign().items()}
    dtype = str(model.embedding.weight.dtype).removeprefix("torch.")
    ids = {"bos_token_id": end_id, "eos_token_id": end_id}
    config = {**model.config.to_foreign(), **ids, "dtype": dtype, "torch_dtype": dtype}
    if padding_id is not None:
        # the ecosystem's encoders take 0 where none is named, and never train that token's vector
        config["pad_token_id"] = padding_id
    write_json(folder / CONFIG, config)
    write_json(folder / GENERATION, {"_from_model_config": True, **ids})
    try:
        save_file(weights, str(folder / WEIGHTS), metadata={"format": "pt"})
    except SafetensorError as error:
        # its writer tells of a full disk in a way of its own
        raise OutputError(
            f"cannot write {WEIGHTS}: {error}", fix="free some space or choose another output folder"
        ) from error
    if tokenizer is not None:
        tokenizer.save(folder)


def keep_others(old: Path, new: Path) -> None:
    """Copies what a saved folder does not replace from the old folder into the one that takes its place."""
    for entry in old.iterdir():
        ours = entry.name in OURS or entry.suffix == ".safetensors" or (new / entry.name).exists()
        if ours or entry.name.startswith("."):
            continue
        if entry.is_dir():
            shutil.copytree(entry, new / entry.name, symlinks=True)
        else:
            shutil.copy2(entry, new / entry.name, follow_symlinks=False)


def _read_safetensors(path: Path) -> "dict[str, Tensor]":
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights: dict[str, Tensor] = load_file(str(path))
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise FormatError(f"{path} is not a whole safetensors file ({error})", fix="copy it again") from None
    return weights


def _shapes(path: Path) -> dict[str, list[int]]:
    """Names and shapes from the head of a safetensors file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path} is not a whole safetensors file ({error})", fix="copy it again") from None


def _object(path: Path) -> dict[str, Any]:
    value = read_json(path)
    if not isinstance(value, dict):
        raise FormatError(f"{path} must hold a JSON object", fix="fetch the folder again")
    return value


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
