"""BERT: an encoder, with the heads it is trained by.

    x = norm(word + type + position);  trunk as in `layers.transformer`, post-norm, every token sees all
    masked token:  states = norm(gelu(dense(hidden)));  logits = states E^T + bias
    sentence pair: logits = W tanh(dense(hidden of [CLS])) + b

Legend: B batch, T time, R sequences, W width.
Sources: Devlin et al. 2018, arXiv:1810.04805; pre-norm: Xiong et al. 2020, arXiv:2002.04745; the detector of replaced
tokens: Clark et al. 2020, arXiv:2003.10555.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from textmill.errors import NotSupportedError
from textmill.layers.config import TransformerConfig
from textmill.models.base import LanguageModel, looked_up
from textmill.models.configs import BertConfig
from textmill.models.configs.bert import Heads
from textmill.models.foreign import SEPARATE_QKV, Row, State, own_names, with_prefix, without
from textmill.models.heads import MaskedHead, ReplacedHead

LAYER = "bert.encoder.layer.{i}."


def _both(ours: str, theirs: str) -> tuple[Row, Row]:
    """The rows of a weight and its bias."""
    return Row(f"{ours}.weight", f"{theirs}.weight"), Row(f"{ours}.bias", f"{theirs}.bias")


def _qkv(part: str) -> Row:
    theirs = tuple(f"{LAYER}attention.self.{name}.{part}" for name in ("query", "key", "value"))
    return Row(f"trunk.blocks.{{i}}.attention.qkv.{part}", theirs, SEPARATE_QKV)


ROWS = (
    Row("embedding.weight", "bert.embeddings.word_embeddings.weight"),
    Row("types.weight", "bert.embeddings.token_type_embeddings.weight"),
    Row("trunk.positions.weight", "bert.embeddings.position_embeddings.weight"),
    *_both("trunk.embedding_norm", "bert.embeddings.LayerNorm"),
    _qkv("weight"),
    _qkv("bias"),
    *_both("trunk.blocks.{i}.attention.out", f"{LAYER}attention.output.dense"),
    *_both("trunk.blocks.{i}.attention_norm", f"{LAYER}attention.output.LayerNorm"),
    *_both("trunk.blocks.{i}.feed_forward.up", f"{LAYER}intermediate.dense"),
    *_both("trunk.blocks.{i}.feed_forward.down", f"{LAYER}output.dense"),
    *_both("trunk.blocks.{i}.feed_forward_norm", f"{LAYER}output.LayerNorm"),
    *_both("masked_head.dense", "cls.predictions.transform.dense"),
    *_both("masked_head.norm", "cls.predictions.transform.LayerNorm"),
    Row("masked_head.bias", "cls.predictions.bias"),
    *_both("pooler", "bert.pooler.dense"),
    *_both("pair_head", "cls.seq_relationship"),
)
OWN_ROWS = (
    *own_names(ROWS),
    *_both("trunk.norm", "trunk.norm"),
    *_both("replaced_head.dense", "replaced_head.dense"),
    *_both("replaced_head.out", "replaced_head.out"),
)


class Bert(LanguageModel):
    """`BertConfig.heads` says which heads it has; asking for one that it lacks raises NotSupportedError."""

    NAMES: ClassVar = {"bert": ROWS, "textmill-bert": OWN_ROWS}
    PREFIX: ClassVar = "bert."
    # also the second copies that some files keep of the tied matrix and of its bias
    BUFFERS: ClassVar = r"\.position_ids|cls\.predictions\.decoder\.(weight|bias)"

    def add_parts(self) -> None:
        config: BertConfig = self.config
        self.types = nn.Embedding(config.num_types, config.width)
        masked, pooled = config.heads in ("pretraining", "masked_token"), config.heads in ("pretraining", "pooler")
        self.masked_head = (
            MaskedHead(config.width, config.vocab_size, config.feed_forward, config.norm_eps, inner_bias=True)
            if masked
            else None
        )
        self.pooler = nn.Linear(config.width, config.width) if pooled else None
        self.pair_head = nn.Linear(config.width, 2) if config.heads == "pretraining" else None
        replaced = config.heads == "replaced_token"
        self.replaced_head = ReplacedHead(config.width, config.feed_forward) if replaced else None

    @staticmethod
    def trunk_settings(config: BertConfig) -> TransformerConfig:
        return TransformerConfig(
            num_layers=config.num_layers,
            width=config.width,
            num_heads=config.num_heads,
            num_kv_heads=config.num_heads,
            head_dim=config.width // config.num_heads,
            feed_forward_width=config.feed_forward_width or 4 * config.width,
            context_length=config.context_length,
            norm="layer",
            norm_position=config.norm_position,
            norm_eps=config.norm_eps,
            embedding_norm=True,
            positions="learned",
            feed_forward=config.feed_forward,
            causal=False,
            dropout=config.dropout,
            attention_dropout=config.attention_dropout,
        )

    def embed(self, tokens: Int[Tensor, "B T"], types: Int[Tensor, "B T"] | None = None) -> Float[Tensor, "B T W"]:
        """The sum of each token's vector and its type's; without types, all are of type 0.

        Raises:
            ConfigError: a token beyond the vocabulary, or a type beyond the types.
        """
        words = super().embed(tokens)
        if types is None:
            return words + self.types.weight[0]
        return words + looked_up(self.types.weight, types, "token types")

    @property
    def output_bias(self) -> Float[Tensor, " V"] | None:
        return None if self.masked_head is None else self.masked_head.bias

    def head_states(self, hidden: Float[Tensor, "*rows W"]) -> Float[Tensor, "*rows W"]:
        """norm(gelu(dense(hidden))), what the output matrix multiplies.

        Raises:
            NotSupportedError: the model has no head for masked tokens.
        """
        if self.masked_head is None:
            raise self._lacks("a head for masked tokens", "masked_token")
        states: Tensor = self.masked_head(hidden)
        return states

    def pooled(self, first: Float[Tensor, "R W"]) -> Float[Tensor, "R W"]:
        """tanh(dense(first)): a vector of each sequence, from the hidden state of its first token.

        Raises:
            NotSupportedError: the model has no pooler.
        """
        if self.pooler is None:
            raise self._lacks("a pooler", "pooler")
        return torch.tanh(self.pooler(first))

    def pair_logits(self, first: Float[Tensor, "R W"]) -> Float[Tensor, "R 2"]:
        """The logits of "the second sentence follows the first" and of its opposite, from the first tokens' states.

        Raises:
            NotSupportedError: the model has no head for pairs.
        """
        if self.pair_head is None:
            raise self._lacks("a head for sentence pairs", "pretraining")
        logits: Tensor = self.pair_head(self.pooled(first))
        return logits

    def replaced_logits(self, hidden: Float[Tensor, "*rows W"]) -> Float[Tensor, "*rows"]:
        """The logit of each token having been replaced.

        Raises:
            NotSupportedError: the model has no detector.
        """
        if self.replaced_head is None:
            raise self._lacks("a detector of replaced tokens", "replaced_token")
        logits: Tensor = self.replaced_head(hidden)
        return logits

    def _lacks(self, part: str, heads: Heads) -> NotSupportedError:
        return NotSupportedError(
            f"this BERT has no {part.removeprefix('a ')} (its heads are {self.config.heads!r})",
            fix=f"make or load one with heads={heads!r}",
        )

    @classmethod
    def with_weights(cls, config: BertConfig, foreign: Mapping[str, Tensor]) -> Self:
        """As `LanguageModel.with_weights`, with all the heads that the file has, whatever config.json names.

        Published files often hold more than their config.json says, or, where it says BertModel, no pooler.
        """
        if config.model_type == "bert":
            config = replace(config, heads=_heads_in(_current_names(foreign), config.heads))
        return super().with_weights(config, foreign)

    def from_foreign(self, foreign: Mapping[str, Tensor]) -> State:
        if self.config.model_type == "bert":
            foreign = _current_names(foreign)
            if self.pooler is None:
                foreign = without(foreign, r"bert\.pooler\.dense\.(weight|bias)")
            if self.pair_head is None:
                foreign = without(foreign, r"cls\.seq_relationship\.(weight|bias)")
        return super().from_foreign(foreign)


def _current_names(foreign: Mapping[str, Tensor]) -> State:
    """Names as transformers writes them today: with the prefix, weight and bias for TensorFlow's gamma and beta."""
    heads = tuple(name for name in foreign if name.startswith("cls."))
    ends = {".gamma": ".weight", ".beta": ".bias"}
    current: dict[str, Any] = {}
    for name, weight in with_prefix(foreign, Bert.PREFIX, others=heads).items():
        end = next((end for end in ends if name.endswith(end)), "")
        current[name.removesuffix(end) + ends.get(end, "")] = weight
    return current


def _heads_in(names: Mapping[str, Tensor], named: Heads) -> Heads:
    """The heads whose weights are there; what config.json names, where the file holds none of them."""
    masked, pooler = "cls.predictions.bias" in names, "bert.pooler.dense.weight" in names
    if masked and pooler and "cls.seq_relationship.weight" in names:
        return "pretraining"
    if masked and named != "pretraining":
        return "masked_token"
    if named in ("pooler", "none"):
        return "pooler" if pooler else "none"
    return named
