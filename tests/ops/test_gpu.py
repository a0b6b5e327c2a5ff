"""A whole model's loss and gradients by the Triton kernels, against the same by torch's operations."""

import numpy as np
import torch

from textmill.data.batches import Batch
from textmill.models import Llama, LlamaConfig
from textmill.objectives import NextToken
from textmill.ops import gpu_kernels, training_kernels


def loss_and_gradients(model: Llama, batch: Batch) -> list[torch.Tensor]:
    model.zero_grad()
    loss = NextToken(z_loss=1e-3)(model, batch)["loss"]
    loss.backward()
    return [loss.detach(), *(weight.grad.clone() for weight in model.parameters() if weight.grad is not None)]


def test_a_model_by_the_kernels_is_the_model_by_torch(device: torch.device, monkeypatch) -> None:
    config = LlamaConfig(
        vocab_size=19, context_length=4, width=12, num_layers=1, num_heads=2, num_kv_heads=1, feed_forward_width=20,
        qk_norm=True,
    )  # fmt: skip
    model = Llama(config, seed=0).to(device)
    generator = np.random.default_rng(0)
    tokens = generator.integers(19, size=(2, 4))
    batch = Batch(tokens=tokens, targets=generator.integers(19, size=(2, 4)))
    ours = loss_and_gradients(model, batch)
    for chosen in ("serve", "take"):
        monkeypatch.setattr(gpu_kernels, chosen, lambda *tensors: False)
    monkeypatch.setattr(training_kernels, "serve", lambda *tensors: False)
    theirs = loss_and_gradients(model, batch)
    assert len(ours) == 1 + len(list(model.parameters()))
    for mine, its in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-5)
