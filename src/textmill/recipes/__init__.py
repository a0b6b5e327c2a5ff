"""Whole runs that ship with the package. A recipe is a dataclass of settings and a function that returns the stages.

`run("quickstart", out="runs/mine", corpus="my.txt")` is `textmill run quickstart -o runs/mine --set corpus=my.txt`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textmill import config
from textmill.errors import ConfigError, FormatError
from textmill.files import read_json
from textmill.recipes import architectures, pretrain, quickstart
from textmill.recipes.stages import RECORD, Reporter, Silent, Stage, run_stages


@dataclass(frozen=True)
class Recipe:
    """A named run."""

    name: str
    settings: type
    """A frozen dataclass whose defaults work."""
    stages: Callable[[Any, bool], Sequence[Stage]]
    """(settings, quiet) -> what to do, in order."""
    closing: Callable[[Path, Mapping[str, Any]], None] | None = None
    """Shows the result on the terminal."""


RECIPES: dict[str, Recipe] = {
    "quickstart": Recipe("quickstart", quickstart.Quickstart, quickstart.stages, quickstart.show_result),
    "pretrain": Recipe("pretrain", pretrain.Pretrain, pretrain.stages),
    **{
        name: Recipe(name, settings, architectures.stages, architectures.show_result)
        for name, settings in architectures.ARCHITECTURES.items()
    },
}


def run(recipe: str = "quickstart", *, out: str | Path | None = None, fresh: bool = False, **settings: Any) -> Path:
    """Runs a recipe and returns the run's folder. Settings with parts are given as `training={"steps": 100}`.

    Raises:
        ConfigError: an unknown recipe or setting.
    """
    chosen, resolved = resolve(recipe, ())
    merged = _merged(config.to_json(resolved), settings)
    resolved = config.from_json(chosen.settings, merged, where=f"the settings of {chosen.name}")
    folder = Path(out) if out is not None else Path("runs") / chosen.name
    run_resolved(chosen, resolved, folder, fresh=fresh, force=False, quiet=True, reporter=Silent())
    return folder


def resolve(name: str, assignments: Sequence[str]) -> tuple[Recipe, Any]:
    """The recipe and its settings, from a recipe's name, a run.json, or a run's folder.

    Raises:
        ConfigError: no such recipe or setting.
        FormatError: the run.json is damaged.
    """
    path = Path(name)
    if name in RECIPES:
        recipe = RECIPES[name]
        settings = recipe.settings()
    elif path.exists():
        record = read_json(path / RECORD if path.is_dir() else path)
        named = record.get("recipe") if isinstance(record, dict) else None
        if not isinstance(named, str) or named not in RECIPES:
            raise FormatError(
                f"{path} is not the record of a recipe's run", fix="name a run.json that textmill run wrote"
            )
        recipe = RECIPES[named]
        settings = config.from_json(recipe.settings, record.get("settings", {}), where=f"{path}: settings")
    else:
        raise ConfigError(f"there is no recipe {name!r}", fix="choose from " + ", ".join(RECIPES))
    return recipe, config.override(settings, assignments)


def run_resolved(
    recipe: Recipe, settings: Any, out: Path, *, fresh: bool, force: bool, quiet: bool, reporter: Reporter
) -> dict[str, Mapping[str, Any]]:
    """Runs a recipe with settings that `resolve` gave; returns the facts of its stages."""
    stages = recipe.stages(settings, quiet)
    return run_stages(out, recipe.name, settings, stages, fresh=fresh, force=force, reporter=reporter)


def _merged(base: Any, changes: Any) -> Any:
    if isinstance(base, Mapping) and isinstance(changes, Mapping):
        return {**base, **{key: _merged(base.get(key), value) for key, value in changes.items()}}
    return changes
