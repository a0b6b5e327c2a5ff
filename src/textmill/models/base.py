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

from textmill.errors import ConfigError, NotSupportedError
from textmill.layers.cache import KVCache
from textmill.layers.config import RecomputeName, TransformerConfig
from textmill.layers.delta import Delta
from textmill.layers.experts import StackedLinear
from textmill.layers.positions import Rotary
from textmill.layers.segments import Segments
from textmill.layers.transformer import Transformer
from textmill.models.configs import GPTConfig, Initialisation, LlamaConfig
from textmill.models.foreign import Row, State, read_foreign, with_prefix, without, write_foreign

Config = GPTConfig | LlamaConfig


OUTPUT_PROJECTIONS = (".attention.out", ".feed_forward.down", ".shared.down")
"""The matrices that write into the residual stream."""


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
        self.trunk: Any = self.new_trunk()
        self.head = self.new_head()
        self.add_parts()
        self.delta: Delta | None = None
        """A light fine-tuning method, or None. Set it to have the trunk call it."""
        self.initialise(seed, init or config.DEFAULT_INIT)

    @staticmethod
    def trunk_settings(config: Any) -> TransformerConfig:
        """The trunk that `config` asks for."""
        raise NotImplementedError

    def new_trunk(self) -> nn.Module:
        """What lies between the embedding and the output matrix; a model that is no Transformer gives its own."""
        return Transformer(self.trunk_config)

    def new_head(self) -> nn.Linear | None:
        """The output layer; None where the embedding serves as one."""
        return None if self.config.tied else nn.Linear(self.config.width, self.config.vocab_size, bias=False)

    def add_parts(self) -> None:
        """Further weights that a subclass has; called before they are drawn."""

    @property
    def is_encoder(self) -> bool:
        """Whether each token sees the whole text, and not only what comes before it."""
        return not getattr(self.trunk_config, "causal", True)

    @property
    def output_weight(self) -> Float[Tensor, "V W"]:
        """The matrix of `logits`, for losses that never form them."""
        return self.embedding.weight if self.head is None else self.head.weight

    @property
    def output_bias(self) -> Float[Tensor, " V"] | None:
        """What `logits` adds to each token's logit, for losses that never form them; None: nothing."""
        return None

    def head_states(self, hidden: Float[Tensor, "*rows W"]) -> Float[Tensor, "*rows W"]:
        """What the output matrix multiplies: the hidden states, unless the head has layers of its own before it."""
        return hidden

    def embed(
        self,
        tokens: Int[Tensor, "B T"],
        types: Int[Tensor, "B T"] | None = None,  # noqa: ARG002
    ) -> Float[Tensor, "B T W"]:
        """One vector a token, without its position.

        Args:
            types: 0 for the tokens of a pair's first sentence, 1 for those of its second. Most models don't tell the
                two apart, and pass over them.

        Raises:
            ConfigError: a token beyond the vocabulary.
        """
        return looked_up(self.embedding.weight, tokens, "token ids")

    def hidden(
        self,
        embedded: Float[Tensor, "B T W"],
        real: Bool[Tensor, "B T"] | None = None,
        cache: KVCache | None = None,
        segments: Segments | None = None,
    ) -> Float[Tensor, "B T W"]:
        """The last hidden states; see `Transformer.forward`."""
        # a trunk that knows no segments fails on them, and on them alone
        more = {} if segments is None else {"segments": segments}
        states: Tensor = self.trunk(embedded, real=real, cache=cache, delta=self.delta, **more)
        return states

    def logits(self, hidden: Float[Tensor, "*rows W"]) -> Float[Tensor, "*rows V"]:
        """The unnormalised log probability of each token coming next, or standing there in an encoder."""
        return F.linear(self.head_states(hidden), self.output_weight, self.output_bias)

    def forward(
        self,
        tokens: Int[Tensor, "B T"],
        real: Bool[Tensor, "B T"] | None = None,
        types: Int[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T V"]:
        return self.logits(self.hidden(self.embed(tokens, types), real))

    def num_parameters(self, *, embeddings: bool = True) -> int:
        """Numbers to train, each counted once; without the token and position tables and the head if so asked."""
        if embeddings:
            return sum(p.numel() for p in self.parameters())
        return sum(p.numel() for name, p in self.trunk.named_parameters() if not name.startswith("positions."))

    def new_cache(self, num_rows: int, capacity: int | None = None) -> KVCache:
        """An empty cache for `num_rows` sequences of at most `capacity` tokens (default: the context length).

        Raises:
            NotSupportedError: the model is an encoder, whose tokens see what comes after them.
        """
        trunk = self.trunk_config
        if self.is_encoder:
            raise NotSupportedError(
                f"{type(self).__name__} is an encoder: it fills in masked tokens and does not write on",
                fix="generate with a model that reads from left to right, such as a GPT",
            )
        shape = (num_rows, trunk.num_kv_heads, capacity or trunk.context_length, trunk.head_dim)
        weight = self.embedding.weight
        return KVCache(trunk.num_layers, shape, dtype=weight.dtype, device=weight.device)

    def set_recompute(self, recompute: RecomputeName) -> None:
        """What of each block training computes twice instead of keeping it."""
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
                draw(module.weight, init.std, init.truncation, generator)
            elif isinstance(module, nn.Linear | StackedLinear):
                std = init.std if init.matrices == "std" else module.in_features**-0.5
                output = init.output_projections if name.endswith(OUTPUT_PROJECTIONS) else "plain"
                if name == "head":
                    output = init.head
                if output == "scaled":
                    std /= math.sqrt(2 * self.trunk_config.num_layers)
                draw(module.weight, 0.0 if output == "zero" else std, init.truncation, generator)
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
        if not self.config.model_type.startswith("textmill-"):
            foreign = with_prefix(foreign, self.PREFIX, others=("lm_head.weight",))
        foreign = without(foreign, self.BUFFERS)
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


def looked_up(table: Float[Tensor, "V W"], ids: Int[Tensor, "B T"], what: str) -> Float[Tensor, "B T W"]:
    """The table's rows at `ids`.

    Raises:
        ConfigError: an id that has no row; on a CPU alone, since a GPU would have to be waited for.
    """
    try:
        return F.embedding(ids, table)
    except IndexError:
        raise ConfigError(
            f"{what} must be in [0, {len(table)}), got {int(ids.min())} to {int(ids.max())}",
            fix="use the tokenizer that the model was made for",
        ) from None


def draw(weight: Tensor, std: float, truncation: float | None, generator: torch.Generator) -> None:
    """Fills the weight with normal draws, none farther than `truncation` standard deviations from 0."""
    if truncation is None or std == 0:
        weight.normal_(0.0, std, generator=generator)
    else:
        nn.init.trunc_normal_(weight, 0.0, std, -truncation * std, truncation * std, generator=generator)
