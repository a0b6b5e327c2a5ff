"""Which rate and which decay each parameter has: by its role, its depth, and rules by name, in that order.

    role         example                                rate (muon)             decayed    penalised
    matrix       the trunk's: attention, feed-forward,  matrix_learning_rate    yes        yes
                 LSTM, experts [E, out, in]
    embedding    token and position tables              embedding_learning_rate if asked   yes
    head         an output matrix of its own, and what  head_learning_rate      if asked   yes
                 else stands above the trunk
    vector       norms, biases                          learning_rate           no         no

Layer-wise decay of rates: with L blocks and a factor f, the embeddings' rate is multiplied by f^(L + 1), block i's by
f^(L - i), and what stands above the blocks keeps its own. Source: ELECTRA, Clark et al. 2020, arXiv:2003.10555,
appendix A.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import nn

from textmill.errors import ConfigError
from textmill.training.config import GroupRule, TrainingConfig

BLOCK = re.compile(r"(?:^|\.)blocks\.(\d+)\.")


@dataclass(frozen=True, kw_only=True)
class ParameterSettings:
    """How one parameter is trained."""

    role: str
    learning_rate: float
    """The highest rate."""
    weight_decay: float
    """The decoupled decay."""


def roles(model: nn.Module) -> dict[str, str]:
    """What each trained parameter is: embedding, head, vector (norms, biases) or matrix.

    A head tied to an embedding is an embedding. A bias is a vector whatever its shape: one for each of E experts is
    [E, out], one for each of H heads [H, D].
    """
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    head, has_trunk = id(getattr(model, "output_weight", None)), hasattr(model, "trunk")
    found = {}
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            is_vector = weight.dim() < 2 or "bias" in name.rpartition(".")[2]
            role = "vector" if is_vector else "matrix"
            if role == "matrix" and (id(weight) == head or (has_trunk and not name.startswith("trunk."))):
                role = "head"
            found[name] = "embedding" if id(weight) in embeddings else role
    return found


def parameter_settings(role_of: Mapping[str, str], config: TrainingConfig) -> dict[str, ParameterSettings]:
    """The settings of each parameter, by name.

    >>> rule = GroupRule(pattern="^head", weight_decay=0.3)
    >>> config = TrainingConfig(learning_rate=0.01, layer_decay=0.5, groups=(rule,))
    >>> found = parameter_settings({"trunk.blocks.0.qkv": "vector", "trunk.norm": "vector", "head": "head"}, config)
    >>> [(each.learning_rate, each.weight_decay) for each in found.values()]
    [(0.005, 0.0), (0.01, 0.0), (0.01, 0.3)]

    Raises:
        ConfigError: a rule matches no parameter, or layers are to differ in a model without blocks.
    """
    matched = [(rule, _matched(rule, role_of)) for rule in config.groups]
    roles_now = dict(role_of)
    for rule, names in matched:
        if rule.role is not None:
            roles_now |= dict.fromkeys(names, rule.role)
    factors = _depth_factors(roles_now, config.layer_decay)
    found = {name: _by_role(role, factors[name], config) for name, role in roles_now.items()}
    for rule, names in matched:
        changes = {key: getattr(rule, key) for key in ("learning_rate", "weight_decay")}
        given = {key: value for key, value in changes.items() if value is not None}
        found |= {name: replace(found[name], **given) for name in names}
    return found


def _by_role(role: str, factor: float, config: TrainingConfig) -> ParameterSettings:
    rates = {
        "matrix": config.matrix_learning_rate if config.optimizer == "muon" else config.learning_rate,
        "embedding": config.embedding_learning_rate or config.learning_rate,
        "head": config.head_learning_rate or config.learning_rate,
        "vector": config.learning_rate,
    }
    decayed = role == "matrix" or (role in ("embedding", "head") and config.decay_embeddings)
    return ParameterSettings(
        role=role, learning_rate=rates[role] * factor, weight_decay=config.decay if decayed else 0.0
    )


def _matched(rule: GroupRule, names: Mapping[str, str]) -> list[str]:
    found = [name for name in names if re.search(rule.pattern, name)]
    if not found:
        like = ", ".join(list(names)[:3])
        raise ConfigError(
            f"training.groups: no trained parameter has a name with {rule.pattern!r} in it",
            fix=f"correct the regular expression; names look like {like}",
        )
    return found


def _depth_factors(role_of: Mapping[str, str], layer_decay: float) -> dict[str, float]:
    """By how much each parameter's rate is multiplied for its depth."""
    if layer_decay == 1.0:
        return dict.fromkeys(role_of, 1.0)
    blocks = {name: int(found[1]) for name in role_of if (found := BLOCK.search(name))}
    if not blocks:
        raise ConfigError(
            f"layer_decay={layer_decay} needs layers that are named blocks.0., blocks.1., ...; this model has none",
            fix="leave layer_decay out, or give rates by training.groups",
        )
    # above the blocks, in them, below them
    num_blocks = max(blocks.values()) + 1
    below = {name for name, role in role_of.items() if role == "embedding" or "embedding" in name}
    depth = dict.fromkeys(role_of, 0) | dict.fromkeys(below, num_blocks + 1)
    depth |= {name: num_blocks - block for name, block in blocks.items()}
    return {name: layer_decay**steps for name, steps in depth.items()}
