"""Predict each token from all those before it in its stream, as far back as the model remembers.

    hidden_s, memory_s = model.hidden_with_memory(embed(tokens_s), memory_(s-1))
    loss_s = sum of -log p(target | hidden_s)

Batch s begins with the memory that batch s - 1 left, through which no gradient flows: backpropagation through time,
truncated at the batch's border. A model takes part by two methods:

    new_memory(num_rows) -> memory                           what is remembered of nothing
    hidden_with_memory(embedded, memory) -> hidden, memory   see `layers/memory.py` for what a memory may be

Sources: Williams and Peng 1990, "An Efficient Gradient-Based Algorithm for On-Line Training of Recurrent Network
Trajectories"; Mikolov et al. 2010, "Recurrent neural network based language model".
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from textmill.data.streams import StreamBatch
from textmill.errors import ConfigError, DataError, NotSupportedError
from textmill.layers.memory import Memory, RowMemory, detached, from_named, named_tensors
from textmill.objectives.base import Figures, as_tensor
from textmill.ops.cross_entropy import linear_cross_entropy


class CarriedNextToken:
    """As `NextToken`, over batches of streams, with a memory that goes from batch to batch.

    The memory is kept by rows, so that a batch cut into parts finds for each part its own. A model in evaluation mode
    has a memory apart: measuring on held-out text between two steps leaves the training's as it was.

    Args:
        label_smoothing, z_loss: as in `NextToken`.
        activation: adds this times the mean square of the last layer's outputs, after dropout, while training.
        temporal_activation: adds this times the mean square of their change from token to token, before dropout, while
            training. Merity et al. 2017, arXiv:1708.01009, eq. 1 and 2, for a model that keeps its activations.

    Raises:
        ConfigError: a negative weight.
    """

    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        z_loss: float = 0.0,
        activation: float = 0.0,
        temporal_activation: float = 0.0,
    ) -> None:
        for name, value in (("activation", activation), ("temporal_activation", temporal_activation)):
            if value < 0:
                raise ConfigError(f"{name} must be >= 0, got {value}", fix="AWD-LSTM uses 2 and 1")
        self.label_smoothing, self.z_loss = label_smoothing, z_loss
        self.activation, self.temporal_activation = activation, temporal_activation
        self._memories = {True: RowMemory(), False: RowMemory()}
        self._stored: Mapping[str, Tensor] = {}

    def __repr__(self) -> str:
        names = ("label_smoothing", "z_loss", "activation", "temporal_activation")
        return f"CarriedNextToken({', '.join(f'{name}={getattr(self, name)}' for name in names)})"

    @property
    def weights(self) -> Mapping[str, float]:
        return {"loss": 1.0} | {
            name: weight
            for name, weight in (("activation", self.activation), ("temporal_activation", self.temporal_activation))
            if weight
        }

    def counts(self, batch: StreamBatch) -> Mapping[str, int]:
        """Targets that count; tokens, and steps from one to the next, for what is added."""
        rows, time = batch.tokens.shape
        counts = {"loss": batch.num_targets(), "activation": rows * time, "temporal_activation": rows * (time - 1)}
        return {name: counts[name] for name in self.weights}

    def __call__(self, model: Any, batch: StreamBatch) -> Mapping[str, Tensor]:
        """The sums over the batch's targets, in nats; the memory goes on.

        Raises:
            DataError: the batch continues one that wasn't seen.
        """
        return self._losses(model, batch, self.label_smoothing, self.z_loss)

    def measure(self, model: Any, batch: StreamBatch) -> Figures:
        """The losses without smoothing and z-loss, so that perplexities are those of the model's probabilities."""
        return self._losses(model, batch, 0.0, 0.0), {}

    def _losses(self, model: Any, batch: StreamBatch, label_smoothing: float, z_loss: float) -> dict[str, Tensor]:
        first, stop = batch.first_row, batch.first_row + batch.num_rows()
        memories = self._memories[model.training]
        memory = self._before(model, batch, memories)
        if model.training and len(self.weights) > 1:
            _keep_outputs(model)
        hidden, memory = model.hidden_with_memory(model.embed(as_tensor(batch.tokens, model)), memory)
        memories.put(first, stop, detached(memory))
        loss = linear_cross_entropy(
            model.head_states(hidden.flatten(0, 1)),
            model.output_weight,
            as_tensor(batch.targets, model).flatten(),
            model.output_bias,
            softcap=getattr(model, "logit_softcap", None),
            label_smoothing=label_smoothing,
            z_loss=z_loss,
        )
        return {"loss": loss} | self._added(model, loss)

    def state(self) -> dict[str, Tensor]:
        """The training's memory as named tensors, for a checkpoint."""
        memory = self._memories[True].all()
        return dict(self._stored) if memory is None else dict(named_tensors(memory))

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Goes on with the memory that `state` gave."""
        self._memories[True] = RowMemory()
        self._stored = dict(tensors)

    def _before(self, model: Any, batch: StreamBatch, memories: RowMemory) -> Memory:
        """What is remembered when the batch begins."""
        stored: Mapping[str, Tensor] = {}
        if model.training:
            stored, self._stored = self._stored, {}
        if not batch.continues:
            return model.new_memory(batch.num_rows())
        if stored:
            memories.put(0, len(next(iter(stored.values()))), from_named(stored, model.new_memory(batch.num_rows())))
        memory = memories.take(batch.first_row, batch.first_row + batch.num_rows())
        if memory is None:
            raise DataError(
                "the batch continues another, of which nothing is remembered",
                fix="begin with a batch that doesn't continue, or load the objective's state",
            )
        return memory

    def _added(self, model: Any, loss: Tensor) -> dict[str, Tensor]:
        """The sums over tokens of the mean squares over the width; 0 when not training."""
        names = [name for name in self.weights if name != "loss"]
        if not names or not model.training:
            return {name: torch.zeros_like(loss) for name in names}
        plain, dropped = model.trunk.last_outputs()
        sums = {"activation": dropped, "temporal_activation": plain[:, 1:] - plain[:, :-1]}
        return {name: sums[name].float().square().mean(-1).sum() for name in names}


def _keep_outputs(model: Any) -> None:
    if not hasattr(model.trunk, "keep_outputs"):
        raise NotSupportedError(
            f"{type(model).__name__} has no recurrent layers whose outputs could be held small",
            fix="leave activation and temporal_activation out",
        )
    model.trunk.keep_outputs = True
