"""What the recurrent language models share: an embedding, recurrent layers, and the embedding as output matrix.

    h_t = stack(embedding[token_t], h_(t-1))        p(next token) = softmax(E h_t)

Legend: B batch, T time, W width.
Sources: Mikolov et al. 2010, "Recurrent neural network based language model"; output matrix and embedding in one, Inan
et al. 2017, arXiv:1611.01462, and Press and Wolf 2017, arXiv:1608.05859; dropouts, Merity et al. 2017,
arXiv:1708.02182.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from textmill.layers.memory import Memory
from textmill.layers.recurrent import RecurrentConfig, RecurrentLayer, RecurrentStack
from textmill.models.base import draw
from textmill.models.carrying import CarryingModel
from textmill.models.configs.initialisation import Initialisation
from textmill.models.configs.recurrent import RecurrentModelConfig


class RecurrentModel(CarryingModel):
    """A stack of recurrent layers that predicts tokens; `config.cell` says which."""

    @staticmethod
    def trunk_settings(config: RecurrentModelConfig) -> RecurrentConfig:  # type: ignore[override]
        return RecurrentConfig(
            cell=config.cell,
            num_layers=config.num_layers,
            width=config.width,
            hidden_width=config.hidden_width or config.width,
            input_dropout=config.input_dropout,
            layer_dropout=config.layer_dropout,
            output_dropout=config.output_dropout,
            weight_drop=config.weight_drop,
        )

    def new_trunk(self) -> nn.Module:
        return RecurrentStack(self.trunk_config)  # type: ignore[arg-type]

    def embed(self, tokens: Int[Tensor, "B T"], types: Int[Tensor, "B T"] | None = None) -> Float[Tensor, "B T W"]:
        """One vector a token. While training, `embedding_dropout` forgets words: all of a word's places in the batch.

        Raises:
            ConfigError: a token beyond the vocabulary.
        """
        embedded = super().embed(tokens, types)
        rate = self.config.embedding_dropout
        if not self.training or not rate:
            return embedded
        # one number a word of the vocabulary: 0, or what keeps the mean
        kept = embedded.new_empty(self.config.vocab_size).bernoulli_(1 - rate).div_(1 - rate)
        return embedded * kept[tokens].unsqueeze(-1)

    def new_memory(self, num_rows: int) -> Memory:
        """Zeros: for each layer its state, and an LSTM's cell, [num_rows, width of the layer]."""
        return self.trunk.new_memory(num_rows)

    def hidden_with_memory(
        self, embedded: Float[Tensor, "B T W"], memory: Memory
    ) -> tuple[Float[Tensor, "B T W"], Memory]:
        """The last layer's state after each token, and every layer's after the last."""
        hidden, memory = self.trunk(embedded, memory)
        return hidden, memory

    @torch.no_grad()
    def initialise(self, seed: int, init: Initialisation) -> None:
        """Draws all weights anew, as for other models; an LSTM's forget gates begin open, with a bias of 1.

        Source of the last: Jozefowicz et al. 2015, "An Empirical Exploration of Recurrent Network Architectures", 2.2.
        """
        super().initialise(seed, init)
        if self.embedding.weight.is_meta:
            return
        generator = torch.Generator(self.embedding.weight.device).manual_seed(seed + 1)
        for layer in self.trunk.blocks:
            assert isinstance(layer, RecurrentLayer)
            for weight in (layer.input_weight, layer.hidden_weight):
                std = init.std if init.matrices == "std" else weight.shape[1] ** -0.5
                draw(weight, std, init.truncation, generator)
            layer.input_bias.zero_()
            layer.hidden_bias.zero_()
            if layer.cell == "lstm":
                layer.input_bias[layer.width : 2 * layer.width] = 1.0
