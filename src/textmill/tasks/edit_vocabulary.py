"""A model folder with another vocabulary: the rows of its embeddings follow their tokens.

The matrices are those that the model's class calls `embedding` and `head`; tied, they are one. A token that stays keeps
its row bit for bit. A new token's row is the mean of the rows of the tokens that spelled it before. Every other weight
is copied bit for bit.

Source: the mean is that of Gee et al. 2022, "Fast Vocabulary Transfer for Language Model Compression".
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

import textmill
from textmill.errors import ConfigError, OutputError
from textmill.files import claim_output, read_json, replacing_folder, sha256_file, write_json
from textmill.folder import CONFIG, GENERATION, RUN, WEIGHTS, ModelFolder, keep_others, load
from textmill.tokenizers.surgery import Edit

NewRows = Literal["mean", "weighted", "zero"]
"""What a new token's row is: the mean of the rows it replaces, that mean weighted by their bytes, or zeros."""

EMBEDDINGS = ("embedding.weight", "head.weight")
"""Our names of the matrices with a row for each token; a model with tied embeddings has the first alone."""
IDS_FILE = "ids.json"
_LISTS_OF_IDS = ("suppress_tokens", "begin_suppress_tokens")


def edit_model(
    folder: ModelFolder,
    edit: Edit,
    out: Path,
    *,
    new_rows: NewRows = "mean",
    multiple_of: int = 1,
    force: bool = False,
) -> ModelFolder:
    """The folder written to `out`: the model with the edited vocabulary, its tokenizer, and the ids in ids.json.

    Args:
        multiple_of: the number of rows is rounded up to a multiple of this; the spare ones are the mean of all rows.
        force: write into a folder that holds something else.

    Raises:
        ConfigError: the edit is of another tokenizer than the folder's, takes away a token that the folder's settings
            name, or `out` is the folder itself.
        OutputError: it can't be written, or holds something else.
    """
    if multiple_of < 1:
        raise ConfigError(f"rows are rounded up to a multiple of 1 or more, got {multiple_of}", fix="use 64 or 128")
    if out.exists() and out.resolve() == folder.path.resolve():
        raise ConfigError(f"the output must be another folder than the model's, got {out}", fix="choose another -o")
    # as they are stored, so that nothing is rounded
    source = load(folder.path, precision="file", verify=folder.verify)
    if len(edit.old_to_new) != source.tokenizer.vocab_size or source.config.vocab_size < len(edit.old_to_new):
        raise ConfigError(
            f"the edit is of {len(edit.old_to_new)} tokens, the folder's tokenizer has {source.tokenizer.vocab_size} "
            f"and its model {source.config.vocab_size}",
            fix="edit the tokenizer that is in the folder",
        )
    size = -(-edit.tokenizer.vocab_size // multiple_of) * multiple_of
    settings = _settings(source, edit, size)
    weights = _weights(source, edit, size, new_rows)
    existed = out.exists()
    claim_output(out, marker=CONFIG, force=force)
    with replacing_folder(out) as parts:
        for name, value in settings.items():
            write_json(parts / name, value)
        _save(weights, parts / WEIGHTS)
        edit.tokenizer.save(parts)
        write_json(parts / IDS_FILE, edit.to_json(), indent=None)
        checksums = {file.name: sha256_file(file) for file in sorted(parts.iterdir()) if file.is_file()}
        write_json(parts / RUN, {**_how(source, edit, new_rows), "files": checksums})
        if existed:
            keep_others(out, parts)
    return load(out)


def moved_rows(
    rows: Tensor, edit: Edit, size: int, *, new_rows: NewRows = "mean", weights: Mapping[int, float] | None = None
) -> Tensor:
    """[size, width]: the matrix with a row for each new id, in the type of the old one.

    Args:
        weights: of old ids, in a weighted mean.
    """
    old_to_new = torch.from_numpy(edit.old_to_new.copy()).long()
    mean = rows[: len(old_to_new)].float().mean(dim=0)
    moved = mean.to(rows.dtype).expand(size, -1).clone()
    kept = old_to_new >= 0
    moved[old_to_new[kept]] = rows[: len(old_to_new)][kept]
    for id, pieces in edit.new_pieces.items():
        if new_rows == "zero":
            moved[id] = 0
        elif pieces:
            shares = torch.tensor([1.0 if weights is None else weights[piece] for piece in pieces])
            moved[id] = ((shares / shares.sum()) @ rows[list(pieces)].float()).to(rows.dtype)
    return moved


def _weights(source: ModelFolder, edit: Edit, size: int, new_rows: NewRows) -> dict[str, Tensor]:
    """All weights under foreign names."""
    model, tokenizer = source.model, source.tokenizer
    lengths: dict[int, float] | None = None
    if new_rows == "weighted":
        used = {piece for pieces in edit.new_pieces.values() for piece in pieces}
        lengths = {piece: float(max(1, len(tokenizer.id_to_bytes(piece)))) for piece in used}
    state = {name: weight for name, weight in model.state_dict().items() if not name.startswith("delta.")}
    for name in EMBEDDINGS:
        if name in state:
            state[name] = moved_rows(state[name], edit, size, new_rows=new_rows, weights=lengths)
    return {name: weight.detach().cpu().contiguous() for name, weight in model.to_foreign(state).items()}


def _save(weights: dict[str, Tensor], path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(weights, str(path), metadata={"format": "pt"})
    except SafetensorError as error:
        # its writer tells of a full disk in a way of its own
        raise OutputError(
            f"cannot write {path.name}: {error}", fix="free some space or choose another output folder"
        ) from error


def _settings(source: ModelFolder, edit: Edit, size: int) -> dict[str, dict[str, Any]]:
    """config.json and generation_config.json with the new size, and with the new ids of the tokens that they name."""
    config = _with_ids(source.foreign_config, edit, CONFIG) | {"vocab_size": size}
    path = source.path / GENERATION
    generation = read_json(path) if path.is_file() else None
    if not isinstance(generation, dict):
        named = ("bos_token_id", "eos_token_id", "pad_token_id")
        generation = {"_from_model_config": True} | {
            name: source.foreign_config[name] for name in named if name in source.foreign_config
        }
    return {CONFIG: config, GENERATION: _with_ids(generation, edit, GENERATION)}


def _with_ids(settings: Mapping[str, Any], edit: Edit, where: str) -> dict[str, Any]:
    def moved(name: str, value: Any) -> Any:
        if isinstance(value, list):
            return [moved(name, item) for item in value]
        # what lies outside, such as -1, names no token
        if type(value) is not int or not 0 <= value < len(edit.old_to_new):
            return value
        new = int(edit.old_to_new[value])
        if new < 0:
            raise ConfigError(
                f"the edit takes away token {value}, which is the {name} in the model's {where}", fix="keep that token"
            )
        return new

    names = (name for name in settings if name.endswith("_token_id") or name in _LISTS_OF_IDS)
    return {**settings, **{name: moved(name, settings[name]) for name in names}}


def named_ids(folder: ModelFolder) -> set[int]:
    """The ids that the folder's settings name: pruning must keep them."""
    settings = [folder.foreign_config]
    if (folder.path / GENERATION).is_file():
        generation = read_json(folder.path / GENERATION)
        settings += [generation] if isinstance(generation, dict) else []
    values = [value for table in settings for name, value in table.items() if name.endswith("_token_id")]
    ids = [id for value in values for id in (value if isinstance(value, list) else [value])]
    return {id for id in ids if type(id) is int and 0 <= id < folder.tokenizer.vocab_size}


def _how(source: ModelFolder, edit: Edit, new_rows: NewRows) -> dict[str, Any]:
    kept = int((edit.old_to_new >= 0).sum())
    return {
        "textmill": textmill.__version__,
        "task": "edit-vocabulary",
        "new_rows": new_rows,
        "tokens": {"kept": kept, "gone": len(edit.old_to_new) - kept, "new": len(edit.new_pieces)},
        "tokenizer": edit.tokenizer.fingerprint(),
        "start": {
            "tokenizer": source.tokenizer.fingerprint(),
            "run": {name: value for name, value in source.run.items() if name != "files"},
        },
    }
