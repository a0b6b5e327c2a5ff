"""The trunk: a stack of Transformer blocks as one idea with choices.

Legend: B batch, T time, W width.

pre-norm:  x = x + attention(norm(x));  x = x + feed_forward(norm(x)); a last norm after the stack   (GPT-2, Llama)
post-norm: x = norm(x + attention(x));  x = norm(x + feed_forward(x))                     (Vaswani et al. 2017, GPT-1)

A choice of another attention or feed-forward layer (sparse, experts) is one more class with the same `forward`.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from textmill.errors import ConfigError
from textmill.layers.attention import Attention, Pass
from textmill.layers.cache import KVCache
from textmill.layers.config import TransformerConfig
from textmill.layers.delta import IDENTITY, Delta
from textmill.layers.feed_forward import FeedForward
from textmill.layers.norm import NORMS
from textmill.layers.positions import Rotary

__all__ = ["Block", "Transformer", "TransformerConfig"]


class Block(nn.Module):
    """Attention over the tokens, then a feed-forward layer on each, both added to the stream."""

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        norm = NORMS[config.norm]
        self.attention_site, self.feed_forward_site = f"blocks.{layer}.attention", f"blocks.{layer}.feed_forward"
        self.attention_norm = norm(config.width, config.norm_eps)
        self.attention = Attention(config, self.attention_site, layer)
        self.feed_forward_norm = norm(config.width, config.norm_eps)
        self.feed_forward = FeedForward(config, self.feed_forward_site)
        self.pre = config.norm_position == "pre"
        self.dropout = config.dropout

    def forward(self, x: Float[Tensor, "B T W"], carried: Pass) -> Float[Tensor, "B T W"]:
        delta = carried.delta
        if self.pre:
            x = x + self._dropped(delta.stream(self.attention_site, self.attention(self.attention_norm(x), carried)))
            y = self.feed_forward(self.feed_forward_norm(x), delta)
            return x + self._dropped(delta.stream(self.feed_forward_site, y))
        x = self.attention_norm(x + self._dropped(delta.stream(self.attention_site, self.attention(x, carried))))
        y = self.feed_forward(x, delta)
        z: Tensor = self.feed_forward_norm(x + self._dropped(delta.stream(self.feed_forward_site, y)))
        return z

    def _dropped(self, y: Tensor) -> Tensor:
        return nn.functional.dropout(y, self.dropout) if self.training and self.dropout else y


class Transformer(nn.Module):
    """Token vectors in, hidden states out."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.recompute = False
        """Compute each block's activations a second time in the backward pass, instead of keeping them."""
        learned, rotary = config.positions == "learned", config.positions == "rotary"
        self.positions = nn.Embedding(config.context_length, config.width) if learned else None
        self.rotary = Rotary(config.head_dim, config.context_length, config.rotary) if rotary else None
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.num_layers))
        self.norm = NORMS[config.norm](config.width, config.norm_eps) if config.norm_position == "pre" else None

    def forward(
        self,
        x: Float[Tensor, "B T W"],
        *,
        real: Bool[Tensor, "B T"] | None = None,
        cache: KVCache | None = None,
        delta: Delta | None = None,
    ) -> Float[Tensor, "B T W"]:
        """The hidden state of each token, after the last norm.

        Args:
            real: False where the batch is padded; such tokens are unseen and take no position. A causal model needs
                none when the padding is on the right.
            cache: tokens read before; it takes up the new ones.
            delta: a light fine-tuning method.

        Raises:
            ConfigError: more tokens than positions.
        """
        delta = IDENTITY if delta is None else delta
        prompt = delta.prompt() if cache is None or cache.length == 0 else None
        num_prompt = 0
        if prompt is not None:
            num_prompt = prompt.shape[-2]
            x = torch.cat((prompt.to(x.dtype).expand(x.shape[0], -1, -1), x), 1)
            real = None if real is None else nn.functional.pad(real, (num_prompt, 0), value=True)
        positions = self._positions(x, real, cache)
        if self.positions is not None:
            x = x + self.positions.weight[positions]
        if self.training and self.config.dropout:
            x = nn.functional.dropout(x, self.config.dropout)
        mask, causal = self._mask(x, real, cache)
        rotation = None if self.rotary is None else self.rotary.at(positions, x.dtype)
        carried = Pass(delta=delta, cache=cache, rotation=rotation, mask=mask, causal=causal)
        recompute = self.recompute and self.training and torch.is_grad_enabled()
        for block in self.blocks:
            x = checkpoint(block, x, carried, use_reentrant=False) if recompute else block(x, carried)
        if cache is not None:
            cache.advance(x.shape[1])
        if self.norm is not None:
            x = self.norm(x)
        return x[:, num_prompt:] if num_prompt else x

    def _positions(self, x: Tensor, real: Tensor | None, cache: KVCache | None) -> slice | Tensor:
        """The position of each token: a range for all rows, or [B, T]."""
        start, T = (0 if cache is None else cache.length), x.shape[1]
        if start + T > self.config.context_length:
            raise ConfigError(
                f"the model has positions for {self.config.context_length} tokens, got {start + T}",
                fix="cut the text, or use a model with a longer context_length",
            )
        if cache is not None and cache.lengths is not None:
            return cache.lengths.unsqueeze(1) + torch.arange(T, device=x.device)
        if real is not None:
            return (real.cumsum(1) - 1).clamp_(min=0)
        return slice(start, start + T)

    def _mask(self, x: Tensor, real: Tensor | None, cache: KVCache | None) -> tuple[Tensor | None, bool]:
        """(mask, causal) for `Pass`. No mask is made where the kernel's own causal order, or none, is enough."""
        T = x.shape[1]
        if real is not None:
            assert cache is None, "padding on the left and a cache: read the rows one by one, or pad on the right"
            # padding sees itself, so that no row of the softmax is empty
            mask = real[:, None, None, :] | torch.eye(T, dtype=torch.bool, device=x.device)
            return (mask.tril() if self.config.causal else mask), False
        if cache is None or cache.length == 0:
            return None, self.config.causal and T > 1
        columns = torch.arange(cache.length + T, device=x.device)
        if cache.lengths is not None:
            return (columns <= cache.lengths[:, None])[:, None, None, :], False
        if T == 1:
            return None, False
        return columns <= (cache.length + torch.arange(T, device=x.device))[:, None], False
