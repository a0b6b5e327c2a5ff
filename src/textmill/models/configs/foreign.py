"""Reading the ecosystem's `config.json` strictly, and rotary positions in both of its spellings."""

from collections.abc import Mapping
from typing import Any

from textmill.errors import FormatError, NotSupportedError
from textmill.layers.config import RotaryConfig


def refuse_unless(foreign: Mapping[str, Any], **expected: Any) -> None:
    """Raises `NotSupportedError` for the first of these settings that is present with another value."""
    for name, value in expected.items():
        if foreign.get(name) not in (None, value):
            raise NotSupportedError(
                f"the model's config.json sets {name} to {foreign[name]!r}, which changes its arithmetic; "
                f"only {value!r} is supported",
                fix="choose another model",
            )
    if foreign.get("quantization_config") is not None:
        raise NotSupportedError("the model's config.json sets quantization_config", fix="use the unquantised weights")


class Reader:
    """Reads settings of a foreign configuration with the type of their default."""

    def __init__(self, foreign: Mapping[str, Any]) -> None:
        self.foreign = foreign

    def __call__(self, name: str, default: Any) -> Any:
        value = self.foreign.get(name)
        if value is None:
            return default
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if isinstance(default, float) and number:
            return float(value)
        if type(value) is not type(default):
            raise FormatError(f"config.json: {name} must be like {default!r}, got {value!r}")
        return value

    def choice(self, name: str, default: str, table: Mapping[str, str]) -> Any:
        value = self(name, default)
        if value not in table:
            raise NotSupportedError(
                f"the model's config.json sets {name} to {value!r}; supported are {', '.join(sorted(table))}"
            )
        return table[value]


def rotary_to_foreign(rotary: RotaryConfig) -> dict[str, Any] | None:
    if rotary.scaling == "none":
        return None
    foreign: dict[str, Any] = {"rope_type": rotary.scaling, "factor": rotary.factor}
    if rotary.scaling == "llama3":
        foreign |= {
            "low_freq_factor": rotary.low_frequency_factor,
            "high_freq_factor": rotary.high_frequency_factor,
            "original_max_position_embeddings": rotary.original_context_length,
        }
    return foreign


def rotary_from_foreign(foreign: Mapping[str, Any]) -> RotaryConfig:
    """Both spellings: `rope_theta` beside `rope_scaling`, and transformers 5's `rope_parameters`."""
    scaling = foreign.get("rope_parameters") or foreign.get("rope_scaling") or {}
    if not isinstance(scaling, Mapping):
        raise FormatError(f"config.json: rope_scaling must be an object, got {scaling!r}")
    read = Reader(scaling)
    theta = read("rope_theta", Reader(foreign)("rope_theta", 10_000.0))
    if foreign.get("partial_rotary_factor", scaling.get("partial_rotary_factor")) not in (None, 1, 1.0):
        raise NotSupportedError("the model's config.json sets partial_rotary_factor", fix="choose another model")
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind in ("default", None):
        return RotaryConfig(theta=theta)
    if kind == "linear":
        return RotaryConfig(theta=theta, scaling="linear", factor=read("factor", 1.0))
    if kind == "llama3":
        return RotaryConfig(
            theta=theta,
            scaling="llama3",
            factor=read("factor", 8.0),
            low_frequency_factor=read("low_freq_factor", 1.0),
            high_frequency_factor=read("high_freq_factor", 4.0),
            original_context_length=read("original_max_position_embeddings", 8192),
        )
    raise NotSupportedError(
        f"the model's config.json sets rope_type to {kind!r}; supported are default, linear, llama3"
    )
