"""The trunk: a stack of Transformer blocks as one idea with choices.

Legend: B batch, T time, W width.

pre-norm:  x = x + attention(norm(x));  x = x + feed_forward(norm(x)); a last norm after the stack   (GPT-2, Llama)
post-norm: x = norm(x + attention(x));  x = norm(x + feed_forward(x))                     (Vaswani et al. 2017, GPT-1)

Recompute: what a sub-layer keeps for its gradient is dropped, and computed a second time in the backward pass.
Unpadded: many sequences in one row (`layers.segments`); no token sees another sequence.

A choice of another attention or feed-forward layer (sparse, experts) is one more class with the same `forward`.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from textmill.errors import ConfigError, DataError, NotSupportedError
from textmill.layers.attention import Attention, Pass, Rotation, Sight
from textmill.layers.cache import KVCache
from textmill.layers.config import RecomputeName, TransformerConfig
from textmill.layers.delta import IDENTITY, Delta
from textmill.layers.experts import Experts
from textmill.layers.feed_forward import FeedForward
from textmill.layers.norm import BatchNorm, new_norm
from textmill.layers.positions import Rotary
from textmill.layers.routing import ExpertLoad, RoutingLog
from textmill.layers.segments import Segments

__all__ = ["Block", "Transformer", "TransformerConfig"]


class Block(nn.Module):
    """Attention over the tokens, then a feed-forward layer on each, both added to the stream."""

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        self.attention_site, self.feed_forward_site = f"blocks.{layer}.attention", f"blocks.{layer}.feed_forward"
        self.attention_norm = new_norm(config) if layer or config.first_norm else None
        self.attention = Attention(config, self.attention_site, layer)
        self.feed_forward_norm = new_norm(config)
        site = self.feed_forward_site
        self.feed_forward = Experts(config, site, layer) if config.experts else FeedForward(config, site)
        self.pre = config.norm_position == "pre"
        self.dropout = config.dropout

    def forward(self, x: Float[Tensor, "B T W"], carried: Pass) -> Float[Tensor, "B T W"]:
        return self.feed_forward_part(self.attention_part(x, carried), carried)

    def attention_part(self, x: Float[Tensor, "B T W"], carried: Pass) -> Float[Tensor, "B T W"]:
        """The stream after attention."""
        inputs = _normed(self.attention_norm, x, carried) if self.pre else x
        x = x + self._dropped(carried.delta.stream(self.attention_site, self.attention(inputs, carried)))
        return x if self.pre else _normed(self.attention_norm, x, carried)

    def feed_forward_part(self, x: Float[Tensor, "B T W"], carried: Pass) -> Float[Tensor, "B T W"]:
        """The stream after the feed-forward layer."""
        inputs = _normed(self.feed_forward_norm, x, carried) if self.pre else x
        layer = self.feed_forward
        y = layer(inputs, carried) if isinstance(layer, Experts) else layer(inputs, carried.delta)
        x = x + self._dropped(carried.delta.stream(self.feed_forward_site, y))
        return x if self.pre else _normed(self.feed_forward_norm, x, carried)

    def recomputed(self, x: Float[Tensor, "B T W"], carried: Pass, what: RecomputeName) -> Float[Tensor, "B T W"]:
        """The same as `forward`, with `what` computed again in the backward pass."""
        if what == "block":
            return _again(self.__call__, x, carried)
        attention, feed_forward = self.attention_part, self.feed_forward_part
        x = _again(attention, x, carried) if what == "attention" else attention(x, carried)
        return _again(feed_forward, x, carried) if what == "feed_forward" else feed_forward(x, carried)

    def _dropped(self, y: Tensor) -> Tensor:
        return nn.functional.dropout(y, self.dropout) if self.training and self.dropout else y


def _normed(norm: nn.Module | None, x: Tensor, carried: Pass) -> Tensor:
    if norm is None:
        return x
    y: Tensor = norm(x, carried.real, count=not carried.second) if isinstance(norm, BatchNorm) else norm(x)
    return y


def _again(part: Callable[[Tensor, Pass], Tensor], x: Tensor, carried: Pass) -> Tensor:
    """part(x, carried), keeping x alone for the backward pass."""

    @contextmanager
    def second() -> Iterator[None]:
        carried.second = True
        yield
        carried.second = False

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), second()

    y: Tensor = checkpoint(part, x, carried, use_reentrant=False, context_fn=contexts)
    return y


class Transformer(nn.Module):
    """Token vectors in, hidden states out."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.recompute: RecomputeName = "none"
        """What each block computes a second time in the backward pass, instead of keeping it."""
        self.recompute_layers: Collection[int] | None = None
        """The layers that do so. None: all."""
        self.routing = RoutingLog()
        learned, rotary = config.positions == "learned", config.positions == "rotary"
        self.positions = nn.Embedding(config.context_length, config.width) if learned else None
        self.rotary = Rotary(config.head_dim, config.context_length, config.rotary) if rotary else None
        local = config.local_rotary
        self.local_rotary = None if local is None else Rotary(config.head_dim, config.context_length, local)
        self.embedding_norm = new_norm(config) if config.embedding_norm else None
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.num_layers))
        self.norm = new_norm(config) if config.norm_position == "pre" else None

    def forward(
        self,
        x: Float[Tensor, "B T W"],
        *,
        real: Bool[Tensor, "B T"] | None = None,
        cache: KVCache | None = None,
        delta: Delta | None = None,
        segments: Segments | None = None,
    ) -> Float[Tensor, "B T W"]:
        """The hidden state of each token, after the last norm.

        Args:
            real: False where the batch is padded; such tokens are unseen and take no position. A causal model needs
                none when the padding is on the right.
            cache: tokens read before; it takes up the new ones.
            delta: a light fine-tuning method.
            segments: x is one row of sequences, one after the other, with no padding; no token sees another sequence.

        Raises:
            ConfigError: more tokens than positions.
            NotSupportedError: segments with a cache, with padding, or with a delta that has a prompt.
        """
        delta = IDENTITY if delta is None else delta
        prompt = delta.prompt() if cache is None or cache.length == 0 else None
        if segments is not None:
            _check_unpadded(x, segments, real, cache, prompt)
        num_prompt = 0
        if prompt is not None:
            num_prompt = prompt.shape[-2]
            x = torch.cat((prompt.to(x.dtype).expand(x.shape[0], -1, -1), x), 1)
            real = None if real is None else nn.functional.pad(real, (num_prompt, 0), value=True)
        positions = self._positions(x, real, cache, segments)
        carried = Pass(
            delta=delta,
            cache=cache,
            rotation=_turned(self.rotary, positions, x, segments),
            local_rotation=_turned(self.local_rotary or self.rotary, positions, x, segments),
            sight=Sight(None, self.config.causal) if segments is not None else self._sight(x, real, cache),
            real=real,
            segments=segments,
            positions=positions if isinstance(positions, Tensor) and segments is None else None,
        )
        if self.positions is not None:
            x = x + self.positions.weight[positions]
        if self.embedding_norm is not None:
            x = _normed(self.embedding_norm, x, carried)
        if self.training and self.config.dropout:
            x = nn.functional.dropout(x, self.config.dropout)
        for layer, block in enumerate(self.blocks):
            what = self._recompute_in(layer)
            x = block(x, carried) if what == "none" else block.recomputed(x, carried, what)  # type: ignore[operator]
        self.routing = RoutingLog(tuple(carried.routed))
        if cache is not None:
            cache.advance(x.shape[1])
        if self.norm is not None:
            x = _normed(self.norm, x, carried)
        return x[:, num_prompt:] if num_prompt else x

    def router_losses(self) -> dict[str, Tensor]:
        """`balance` and `router_z` of the last pass (`layers.routing`), each summed over its tokens and the layers.

        Balance is taken within the pass: the parts of a batch that is cut are each balanced by themselves. Empty
        without experts.
        """
        return self.routing.losses()

    def expert_load(self) -> list[ExpertLoad]:
        """How the tokens of the last pass were spread over the experts, layer by layer. Empty without experts."""
        return self.routing.load()

    def _recompute_in(self, layer: int) -> RecomputeName:
        if self.recompute == "none" or not (self.training and torch.is_grad_enabled()):
            return "none"
        if self.recompute_layers is not None and layer not in self.recompute_layers:
            return "none"
        return self.recompute

    def _positions(
        self, x: Tensor, real: Tensor | None, cache: KVCache | None, segments: Segments | None
    ) -> slice | Tensor:
        """The position of each token: a range for all rows, or [B, T]."""
        start, T = (0 if cache is None else cache.length), x.shape[1]
        longest = start + T if segments is None else segments.longest
        if longest > self.config.context_length:
            raise ConfigError(
                f"the model has positions for {self.config.context_length} tokens, got {longest}",
                fix="cut the text, or use a model with a longer context_length",
            )
        if segments is not None:
            return segments.positions.unsqueeze(0)
        if cache is not None and cache.lengths is not None:
            return cache.lengths.unsqueeze(1) + torch.arange(T, device=x.device)
        if real is not None:
            return (real.cumsum(1) - 1).clamp_(min=0)
        return slice(start, start + T)

    def _sight(self, x: Tensor, real: Tensor | None, cache: KVCache | None) -> Sight:
        """No mask is made where the kernel's own causal order, or none, is enough."""
        T = x.shape[1]
        if real is not None:
            assert cache is None, "padding on the left and a cache: read the rows one by one, or pad on the right"
            # padding sees itself, so that no row of the softmax is empty
            mask = real[:, None, None, :] | torch.eye(T, dtype=torch.bool, device=x.device)
            return Sight(mask.tril() if self.config.causal else mask, False)
        if cache is None or cache.length == 0:
            return Sight(None, self.config.causal and T > 1)
        columns = torch.arange(cache.length + T, device=x.device)
        if cache.lengths is not None:
            return Sight((columns <= cache.lengths[:, None])[:, None, None, :], False)
        if T == 1:
            return Sight(None, False)
        return Sight(columns <= (cache.length + torch.arange(T, device=x.device))[:, None], False)


def _turned(rotary: Rotary | None, positions: slice | Tensor, x: Tensor, segments: Segments | None) -> Rotation | None:
    """The rotation of each token; in an unpadded pass, of each position that a sequence may have."""
    if rotary is None:
        return None
    return rotary.at(positions if segments is None else slice(0, segments.longest), x.dtype)


def _check_unpadded(
    x: Tensor, segments: Segments, real: Tensor | None, cache: KVCache | None, prompt: Tensor | None
) -> None:
    """
    Raises:
        DataError: the segments are of another stream.
        NotSupportedError: an unpadded pass together with a cache, with padding or with a prompt.
    """
    if x.shape[0] != 1 or x.shape[1] != len(segments.positions):
        raise DataError(
            f"an unpadded pass is one row of {len(segments.positions)} tokens, got {x.shape[0]} rows of {x.shape[1]}",
            fix="make the segments from the starts of this very stream",
        )
    if real is not None or cache is not None:
        raise NotSupportedError(
            f"an unpadded pass has no {'padding' if real is not None else 'cache'}",
            fix="leave out the segments, or the other",
        )
    if prompt is not None:
        raise NotSupportedError(
            "a delta with a prompt puts vectors before each text, which an unpadded pass has no room for",
            fix="use padded rows, or prefix tuning",
        )
