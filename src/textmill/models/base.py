"""`LanguageModel`: tokens -> vectors -> hidden states -> logits, as three steps.

Legend: B batch, T time, W width, V vocabulary.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from textmill.layers.cache import KVCache
from textmill.layers.config import TransformerConfig
from textmill.layers.delta import Delta
from textmill.layers.positions import Rotary
from textmill.layers.transformer import Transformer
from textmill.models.configs import GPTConfig, Initialisation, LlamaConfig
from textmill.models.foreign import Row, State, read_foreign, with_prefix, without, write_foreign

Config = GPTConfig | LlamaConfig


class LanguageModel(nn.Module):
    """A Transformer that predicts tokens. Subclasses give the trunk's settings and the table of foreign names."""

    NAMES: ClassVar[Mapping[str, Sequence[Row]]]
    """Foreign names of the weights, by `config.model_type`."""
    PREFIX: ClassVar[str]
    """What foreign names of the trunk begin with; files of a bare trunk leave it out."""
    BUFFERS: ClassVar[str] = r"\.rotary_emb\.inv_freq"
    """Foreign names that are tables and no weights, as a regular expression."""

    config: Any

    def __init__(self, config: Config, *, seed: int = 0, init: Initialisation | None = None) -> None:
        super().__init__()
        self.config = config
        self.trunk_config = self.trunk_settings(config)
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.trunk = Transformer(self.trunk_config)
        self.head = None if config.tied else nn.Linear(config.width, config.vocab_size, bias=False)
        self.delta: Delta | None = None
        """A light fine-tuning method, or None. Set it to have the trunk call it."""
        self.initialise(seed, init or config.DEFAULT_INIT)

    @staticmethod
    def trunk_settings(config: Any) -> TransformerConfig:
        """The trunk that `config` asks for."""
        raise NotImplementedError

    @property
    def output_weight(self) -> Float[Tensor, "V W"]:
        """The matrix of `logits`, for losses that never form them."""
        return self.embedding.weight if self.head is None else self.head.weight

    def embed(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T W"]:
        """One vector a token, without its position."""
        return F.embedding(tokens, self.embedding.weight)

    def hidden(
        self,
        embedded: Float[Tensor, "B T W"],
        real: Bool[Tensor, "B T"] | None = None,
        cache: KVCache | None = None,
    ) -> Float[Tensor, "B T W"]:
        """The last hidden states; see `Transformer.forward`."""
        states: Tensor = self.trunk(embedded, real=real, cache=cache, delta=self.delta)
        return states

    def logits(self, hidden: Float[Tensor, "*rows W"]) -> Float[Tensor, "*rows V"]:
        """The unnormalised log probability of each token coming next."""
        return F.linear(hidden, self.output_weight)

    def forward(self, tokens: Int[Tensor, "B T"], real: Bool[Tensor, "B T"] | None = None) -> Float[Tensor, "B T V"]:
        return self.logits(self.hidden(self.embed(tokens), real))

    def num_parameters(self, *, embeddings: bool = True) -> int:
        """Numbers to train, each counted once; without the token and position tables and the head if so asked."""
        trunk = sum(p.numel() for p in self.trunk.blocks.parameters())
        trunk += sum(p.numel() for p in self.trunk.norm.parameters()) if self.trunk.norm is not None else 0
        return sum(p.numel() for p in self.parameters()) if embeddings else trunk

    def new_cache(self, num_rows: int, capacity: int | None = None) -> KVCache:
        """An empty cache for `num_rows` sequences of at most `capacity` tokens (default: the context length)."""
        trunk = self.trunk_config
        shape = (num_rows, trunk.num_kv_heads, capacity or trunk.context_length, trunk.head_dim)
        weight = self.embedding.weight
        return KVCache(trunk.num_layers, shape, dtype=weight.dtype, device=weight.device)

    def set_recompute(self, recompute: bool) -> None:
        """Whether training computes each block's activations twice instead of keeping them."""
        self.trunk.recompute = recompute

    @torch.no_grad()
    def lay_out_for_decoding(self) -> None:
        """Stores the blocks' tall fp32 matrices column by column, where a CPU multiplies one row up to twice as fast.

        Shapes and values stay. Worth it for a model that generates, not for one that is trained.
        """
        for module in self.trunk.modules():
            if isinstance(module, nn.Linear) and module.out_features > module.in_features:
                weight = module.weight
                if weight.is_cpu and weight.dtype == torch.float32 and weight.is_contiguous():
                    weight.data = weight.data.t().contiguous().t()

    @torch.no_grad()
    def initialise(self, seed: int, init: Initialisation) -> None:
        """Draws all weights anew: the same for the same seed, whatever the global generator's state."""
        if self.embedding.weight.is_meta:
            return
        generator = torch.Generator(self.embedding.weight.device).manual_seed(seed)
        for name, module in self.named_modules():
            if isinstance(module, nn.Embedding):
                module.weight.normal_(0.0, init.std, generator=generator)
            elif isinstance(module, nn.Linear):
                std = init.std if init.matrices == "std" else module.in_features**-0.5
                output = init.output_projections if name.endswith((".attention.out", ".feed_forward.down")) else "plain"
                if name == "head":
                    output = init.head
                if output == "scaled":
                    std /= math.sqrt(2 * self.trunk_config.num_layers)
                module.weight.normal_(0.0, 0.0 if output == "zero" else std, generator=generator)
                if module.bias is not None:
                    module.bias.zero_()

    def to_foreign(self, state: Mapping[str, Tensor] | None = None) -> State:
        """The weights (default: the model's own, without its delta) under the names of the ecosystem's twin."""
        if state is None:
            state = {name: weight for name, weight in self.state_dict().items() if not name.startswith("delta.")}
        return write_foreign(state, self.NAMES[self.config.model_type], self.trunk_config)

    def from_foreign(self, foreign: Mapping[str, Tensor]) -> State:
        """The weights of the ecosystem's twin under our names.

        Raises:
            FormatError: a weight is missing, left over, or of the wrong shape.
        """
        foreign = without(with_prefix(foreign, self.PREFIX, others=("lm_head.weight",)), self.BUFFERS)
        if self.head is None:
            # some files keep a second copy of the tied matrix
            foreign = without(foreign, r"^lm_head\.weight")
        shapes = {name: weight.shape for name, weight in self.state_dict().items() if not name.startswith("delta.")}
        return read_foreign(foreign, self.NAMES[self.config.model_type], shapes, self.trunk_config)

    @classmethod
    def with_weights(cls, config: Any, foreign: Mapping[str, Tensor]) -> Self:
        """A model that takes over the given tensors, under foreign names, without drawing or copying weights."""
        with torch.device("meta"):
            model = cls(config)
        model.load_state_dict(model.from_foreign(foreign), assign=True)
        for module in model.modules():
            if isinstance(module, Rotary):
                module.fill_tables(model.embedding.weight.device)
        return model.requires_grad_(True)
