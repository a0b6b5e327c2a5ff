"""Mixtral: Llama with experts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from textmill.layers.experts_config import ExpertsConfig
from textmill.models.configs.foreign import Reader, refuse_unless, rotary_from_foreign
from textmill.models.configs.llama import LlamaConfig
from textmill.models.configs.own import own_from_foreign, own_to_foreign


@dataclass(frozen=True, kw_only=True)
class MixtralConfig(LlamaConfig):
    """Mixtral (Jiang et al. 2024, arXiv:2401.04088): Llama, with experts in the place of the feed-forward layer.

    `feed_forward_width` is the width of one expert. With experts as in Mixtral (`normalise`, nothing shared, no
    `qk_norm`) a folder is saved as transformers' MixtralForCausalLM, whose configuration has no place for
    `capacity_factor` and `router_z`, which matter while training only; with others under a name of our own.
    """

    KIND: ClassVar[str] = "mixtral"
    experts: ExpertsConfig = field(default_factory=ExpertsConfig)

    @property
    def model_type(self) -> str:
        """`mixtral` where the ecosystem has the same arithmetic, else a name of our own."""
        same = self.experts.normalise and self.experts.shared_width is None
        same = same and not self.qk_norm and self.attention.kind == "dense"
        return "mixtral" if same else "textmill-mixtral"

    def to_foreign(self) -> dict[str, Any]:
        """The settings under the names of transformers' MixtralConfig."""
        if self.model_type != "mixtral":
            return own_to_foreign(self, "TextmillMixtral")
        llama = super().to_foreign()
        for name in ("mlp_bias", "pretraining_tp", "attention_bias"):
            llama.pop(name)
        return llama | {
            "architectures": ["MixtralForCausalLM"],
            "num_local_experts": self.experts.num_experts,
            "num_experts_per_tok": self.experts.top_k,
            "router_jitter_noise": self.experts.jitter,
            # theirs is k times the mean over the layers, ours the sum
            "router_aux_loss_coef": self.experts.balance * self.num_layers / self.experts.top_k,
            "sliding_window": None,
        }

    @classmethod
    def from_foreign(cls, foreign: Mapping[str, Any]) -> Self:
        """The settings in a MixtralConfig.

        Raises:
            NotSupportedError: a setting that changes the arithmetic and isn't here, by name.
        """
        if foreign.get("model_type") == "textmill-mixtral":
            return own_from_foreign(cls, foreign)
        refuse_unless(foreign, attention_bias=False, mlp_bias=False, sliding_window=None)
        read = Reader(foreign)
        num_layers, top_k = read("num_hidden_layers", 32), read("num_experts_per_tok", 2)
        experts = ExpertsConfig(
            num_experts=read("num_local_experts", 8),
            top_k=top_k,
            jitter=read("router_jitter_noise", 0.0),
            balance=round(read("router_aux_loss_coef", 0.001) * top_k / max(1, num_layers), 12),
        )
        return cls(
            vocab_size=read("vocab_size", 32_000),
            context_length=read("max_position_embeddings", 131_072),
            width=read("hidden_size", 4096),
            num_layers=num_layers,
            num_heads=read("num_attention_heads", 32),
            num_kv_heads=read("num_key_value_heads", 8),
            head_dim=None if foreign.get("head_dim") is None else read("head_dim", 0),
            feed_forward_width=read("intermediate_size", 14_336),
            feed_forward=read.choice("hidden_act", "silu", cls.ACTIVATIONS),
            rotary=rotary_from_foreign({"rope_theta": 1_000_000.0, **foreign}),
            attention_dropout=read("attention_dropout", 0.0),
            norm_eps=read("rms_norm_eps", 1e-5),
            tied=read("tie_word_embeddings", False),
            experts=experts,
        )
