"""Mixtral: Llama with experts in the place of the feed-forward layer.

Source: Jiang et al. 2024, arXiv:2401.04088, section 2.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from torch import Tensor

from textmill.layers.config import TransformerConfig
from textmill.models.configs import MixtralConfig
from textmill.models.foreign import STACKED, Row, State, own_names
from textmill.models.llama import ROWS as LLAMA
from textmill.models.llama import Llama

MOE = "model.layers.{i}.block_sparse_moe."
EXPERTS = (
    Row("trunk.blocks.{i}.feed_forward.router.weight", f"{MOE}gate.weight"),
    Row("trunk.blocks.{i}.feed_forward.gate.weight", f"{MOE}experts.{{e}}.w1.weight", STACKED),
    Row("trunk.blocks.{i}.feed_forward.down.weight", f"{MOE}experts.{{e}}.w2.weight", STACKED),
    Row("trunk.blocks.{i}.feed_forward.up.weight", f"{MOE}experts.{{e}}.w3.weight", STACKED),
)
SHARED = tuple(
    Row(f"trunk.blocks.{{i}}.feed_forward.shared.{part}.weight", "no name elsewhere") for part in ("gate", "up", "down")
)
BLOCK = tuple(row for row in LLAMA if ".feed_forward." not in row.ours)

PACKED = re.compile(
    r"(?P<layer>(?:model\.)?layers\.\d+\.)mlp\.(?P<what>gate\.weight|experts\.gate_up_proj|experts\.down_proj)"
)


class Mixtral(Llama):
    """A Llama whose tokens each use `top_k` of its experts."""

    NAMES: ClassVar = {"mixtral": (*BLOCK, *EXPERTS), "textmill-mixtral": own_names((*BLOCK, *EXPERTS, *SHARED))}

    @staticmethod
    def trunk_settings(config: MixtralConfig) -> TransformerConfig:  # type: ignore[override]
        return replace(Llama.trunk_settings(config), experts=config.experts)

    def from_foreign(self, foreign: Mapping[str, Tensor]) -> State:
        """The weights of MixtralForCausalLM, one tensor an expert or packed, or our own, under our names.

        Raises:
            FormatError: a weight is missing, left over, or of the wrong shape.
        """
        return super().from_foreign(unpacked(foreign))


def unpacked(foreign: Mapping[str, Tensor]) -> State:
    """Weights with one tensor an expert, from files that pack them (transformers 5's names inside the model).

    There, experts.gate_up_proj is [E, 2 F, W] with the gate's rows first, and experts.down_proj is [E, W, F].
    """
    state: State = {}
    for name, tensor in foreign.items():
        found = PACKED.fullmatch(name)
        if found is None:
            state[name] = tensor
            continue
        moe = f"{found['layer']}block_sparse_moe."
        if found["what"] == "gate.weight":
            state[f"{moe}gate.weight"] = tensor
        elif found["what"] == "experts.down_proj":
            state |= {f"{moe}experts.{e}.w2.weight": matrix for e, matrix in enumerate(tensor)}
        else:
            for e, matrix in enumerate(tensor):
                state[f"{moe}experts.{e}.w1.weight"], state[f"{moe}experts.{e}.w3.weight"] = matrix.chunk(2)
    return state
