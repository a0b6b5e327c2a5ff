"""The `config.json` of architectures that no other library has: our own settings under our own names."""

from collections.abc import Mapping
from typing import Any, TypeVar

from textmill.config import from_json, to_json
from textmill.errors import ConfigError, FormatError

C = TypeVar("C")

BESIDE = frozenset(
    {"model_type", "architectures", "bos_token_id", "eos_token_id", "pad_token_id", "dtype", "torch_dtype"}
)
"""What stands in config.json beside the settings."""


def own_to_foreign(config: Any, architecture: str) -> dict[str, Any]:
    """The settings under their own names, with what tells the architecture."""
    settings = {name: value for name, value in to_json(config).items() if name != "kind"}
    return {"model_type": config.model_type, "architectures": [architecture], **settings}


def own_from_foreign(cls: type[C], foreign: Mapping[str, Any]) -> C:
    """The settings that `own_to_foreign` wrote.

    Raises:
        FormatError: a setting is unknown, of the wrong type, or out of range; names it.
    """
    settings = {name: value for name, value in foreign.items() if name not in BESIDE}
    try:
        return from_json(cls, settings, where="config.json")
    except ConfigError as error:
        raise FormatError(error.problem, fix="copy the folder again") from None
