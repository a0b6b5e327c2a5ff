"""AdamW and Muon, which parameter goes to which, and their state by parameter name.

AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) is torch's, fused. Muon (Jordan et al. 2024,
https://kellerjordan.github.io/posts/muon) moves a matrix along the semi-orthogonal matrix nearest to its gradient's
running mean: by the same amount in all directions, where the gradient itself is dominated by few.

    M <- momentum M + G
    X <- (1 - rate * decay) X - rate * sqrt(max(1, rows / columns)) newton_schulz(G + momentum M)
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from textmill.errors import FormatError
from textmill.training.config import TrainingConfig
from textmill.training.precision import has_fast_bf16

QUINTIC = (3.4445, -4.7750, 2.0315)
"""a, b, c of x -> a x + b x^3 + c x^5, chosen by Jordan for a steep rise at 0. Five turns bring singular values from
0.01 to 1 into about [0.7, 1.2]; nearer to 1 isn't needed."""
ITERATIONS = 5


def newton_schulz(matrices: Float[Tensor, "batch rows columns"]) -> Float[Tensor, "batch rows columns"]:
    """Matrices with the same singular vectors and all singular values near 1 (0 stays 0): near U V^T of U S V^T.

    Runs in bf16 where the hardware has it, whose error is small beside that of the iteration.
    """
    a, b, c = QUINTIC
    wide = matrices.shape[-2] <= matrices.shape[-1]
    X = matrices if wide else matrices.mT
    # the spectral norm is at most the Frobenius norm, so all singular values begin in [0, 1]
    X = X / (X.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    X = X.bfloat16() if has_fast_bf16(X.device) else X.float()
    for _ in range(ITERATIONS):
        A = X @ X.mT
        # X <- a X + (b A + c A^2) X
        X = torch.baddbmm(X, torch.baddbmm(A, A, A, beta=b, alpha=c), X, beta=a)
    return X if wide else X.mT


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised. For matrices only, or stacks of them in the last two axes."""

    def __init__(self, params: Any, *, lr: float = 0.02, momentum: float = 0.95, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One update of every matrix that has a gradient."""
        assert closure is None, "the trainer computes gradients before it steps"
        for group in self.param_groups:
            matrices = [weight for weight in group["params"] if weight.grad is not None]
            for same in _by_shape(matrices):
                self._update(same, group)

    def _update(self, weights: list[Tensor], group: Mapping[str, float]) -> None:
        """Matrices of one shape at once: their products run as one batch."""
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        means = [self._running_mean(weight) for weight in weights]
        torch._foreach_mul_(means, group["momentum"])
        torch._foreach_add_(means, gradients)
        ahead = torch.stack(torch._foreach_add(gradients, means, alpha=group["momentum"]))
        rows, columns = weights[0].shape[-2:]
        directions = newton_schulz(ahead.view(-1, rows, columns)).view_as(ahead)
        rate = group["lr"] * max(1.0, rows / columns) ** 0.5
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(weights, list(directions.to(weights[0].dtype).unbind()), alpha=-rate)

    def _running_mean(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        return state["momentum"]


def roles(model: nn.Module) -> dict[str, str]:
    """What each trained parameter is: embedding, head, vector (norms, biases) or matrix.

    A head tied to an embedding is an embedding.
    """
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    head = id(getattr(model, "output_weight", None))
    found = {}
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            role = "vector" if weight.dim() < 2 else "matrix"
            if id(weight) == head:
                role = "head"
            found[name] = "embedding" if id(weight) in embeddings else role
    return found


class Optimizers:
    """The optimisers of a run over named weights, stepped as one."""

    def __init__(self, weights: Mapping[str, nn.Parameter], role_of: Mapping[str, str], config: TrainingConfig) -> None:
        self.names: dict[Tensor, str] = {weight: name for name, weight in weights.items()}
        muon: list[dict[str, Any]] = []
        adamw: list[dict[str, Any]] = []
        for role, rate in _rates(config).items():
            members = [weight for name, weight in weights.items() if role_of[name] == role]
            decayed = role == "matrix" or (role in ("embedding", "head") and config.decay_embeddings)
            group = {"params": members, "lr": rate, "weight_decay": config.weight_decay if decayed else 0.0}
            if members:
                (muon if role == "matrix" and config.optimizer == "muon" else adamw).append(group)
        self.parts: list[torch.optim.Optimizer] = []
        if muon:
            self.parts.append(Muon(muon, momentum=config.momentum))
        if adamw:
            betas = (config.betas[0], config.betas[1])
            self.parts.append(torch.optim.AdamW(adamw, betas=betas, fused=True))
        self.groups = [group for part in self.parts for group in part.param_groups]
        for group in self.groups:
            group["highest_lr"] = group["lr"]

    def step(self, multiplier: float) -> float:
        """Updates all weights with `multiplier` times their highest rates; the largest rate used."""
        for group in self.groups:
            group["lr"] = group["highest_lr"] * multiplier
        for part in self.parts:
            part.step()
        return max(float(group["lr"]) for group in self.groups)

    def state(self) -> dict[str, Tensor]:
        """All state, flat: `<parameter name>/<what>` -> tensor."""
        return {
            f"{self.names[weight]}/{key}": value
            for part in self.parts
            for weight, values in part.state.items()
            for key, value in values.items()
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Takes the state up again.

        Raises:
            FormatError: it belongs to other parameters.
        """
        by_name: dict[str, dict[str, Tensor]] = {}
        for key, value in state.items():
            name, _, what = key.rpartition("/")
            by_name.setdefault(name, {})[what] = value
        unknown = sorted(set(by_name) - set(self.names.values()))
        if unknown:
            raise FormatError(f"the optimiser's state holds {unknown[0]!r}, which the model lacks", fix="use --fresh")
        for part in self.parts:
            for group in part.param_groups:
                for weight in group["params"]:
                    saved = by_name.get(self.names[weight], {})
                    part.state[weight] = {what: value.to(weight.device, copy=True) for what, value in saved.items()}


def _rates(config: TrainingConfig) -> dict[str, float]:
    """The highest rate of each role."""
    rate = config.learning_rate
    return {
        "matrix": config.matrix_learning_rate if config.optimizer == "muon" else rate,
        "embedding": config.embedding_learning_rate or rate,
        "head": config.head_learning_rate or rate,
        "vector": rate,
    }


def _by_shape(weights: Iterable[Tensor]) -> list[list[Tensor]]:
    shapes: dict[torch.Size, list[Tensor]] = {}
    for weight in weights:
        shapes.setdefault(weight.shape, []).append(weight)
    return list(shapes.values())
