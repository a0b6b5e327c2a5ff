"""bf16 working weights with fp32 masters.

In bf16 the model holds weights of 16 bits, which its products read; the optimiser updates masters of 32 bits, which
are what is trained, checkpointed and saved. A step costs no casts of weights inside the model (autocast makes them
anew each step), and its gradients take half the memory. In fp32 model and masters are the same tensors.

Source: Micikevicius et al. 2018, arXiv:1710.03740, section 3.1, with bf16's range in place of loss scaling.
"""

import torch
from torch import Tensor, nn

from textmill.errors import ConfigError
from textmill.layers.norm import BatchNorm


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 faster than fp32: a CPU with AVX-512 BF16 or AMX, CUDA from sm_80 on."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    known = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(supported is not None and supported() for supported in known)


def chosen_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The dtype of working weights that the setting `precision` stands for on this device.

    Raises:
        ConfigError: bf16 is asked for where it would be slower than fp32.
    """
    if precision == "fp32":
        return torch.float32
    if has_fast_bf16(device):
        return torch.bfloat16
    if precision == "bf16":
        raise ConfigError(
            "precision=bf16 needs hardware that multiplies it (AVX-512 BF16, AMX, or CUDA from sm_80);"
            f" this {device.type} device doesn't",
            fix="use precision=fp32, or auto, which takes bf16 only where it helps",
        )
    return torch.float32


class Weights:
    """A model's weights in working precision, and their fp32 masters by name.

    `masters` holds every parameter, the frozen ones too, so that `restore` gives all of them back unrounded.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        self.working = dict(model.named_parameters())
        self.dtype = dtype
        self.masters: dict[str, nn.Parameter] = self.working
        self._tables: list[tuple[Tensor, Tensor]] = []
        if dtype != torch.float32:
            self.masters = {
                name: nn.Parameter(weight.detach().float().clone(), requires_grad=weight.requires_grad)
                for name, weight in self.working.items()
            }
            for name, weight in self.working.items():
                weight.data = self.masters[name].detach().to(dtype)
            # tables such as the cosines of rotary positions, which meet activations; running statistics are no table
            # but learned, and keep their precision
            learned = {id(table) for norm in model.modules() if isinstance(norm, BatchNorm) for table in norm.buffers()}
            tables = [table for table in model.buffers() if table.is_floating_point() and id(table) not in learned]
            self._tables = [(table, table.data) for table in tables]
            for table, exact in self._tables:
                table.data = exact.to(dtype)
        self.trained = {name: master for name, master in self.masters.items() if master.requires_grad}
        stored = model.state_dict(keep_vars=True)
        self._statistics = {name: table for name, table in model.named_buffers() if name in stored}
        """What training changes beside weights: the running statistics of batch norms."""

    def stored(self) -> dict[str, Tensor]:
        """All that a checkpoint has to keep of the model."""
        return {**self.masters, **self._statistics}

    @torch.no_grad()
    def collect_gradients(self) -> None:
        """Adds the gradients of a backward pass to the masters' and drops them."""
        if self.masters is self.working:
            return
        for name, master in self.trained.items():
            weight = self.working[name]
            if weight.grad is not None:
                master.grad = weight.grad.float() if master.grad is None else master.grad.add_(weight.grad)
                weight.grad = None

    def drop_gradients(self) -> None:
        for master in self.trained.values():
            master.grad = None

    @torch.no_grad()
    def publish(self) -> None:
        """Rounds the masters into the working weights."""
        if self.masters is not self.working:
            for name, master in self.trained.items():
                self.working[name].copy_(master)

    @torch.no_grad()
    def load(self, tensors: dict[str, Tensor]) -> None:
        """Takes from a checkpoint what `stored` gave, then publishes it."""
        for name, kept in self.stored().items():
            kept.copy_(tensors[name])
        self.publish()

    def restore(self) -> None:
        """Gives the model its masters back: fp32 weights and tables, without gradients."""
        for name, weight in self.working.items():
            weight.grad = None
            if self.masters is not self.working:
                weight.data = self.masters[name].detach()
        for table, exact in self._tables:
            table.data = exact
