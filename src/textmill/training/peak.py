"""How many operations a second the machine makes at most: what utilisation is measured against."""

import time

import torch

CUDA = (
    # name in torch.cuda.get_device_name, dense bf16 with fp32 sums, fp32 without TF32; NVIDIA's data sheets
    ("GB200", 2.5e15, 8.0e13),
    ("B200", 2.25e15, 7.5e13),
    ("GH200", 9.89e14, 6.7e13),
    ("H200", 9.89e14, 6.7e13),
    ("H100 NVL", 8.35e14, 6.0e13),
    ("H100 PCIe", 7.56e14, 5.1e13),
    ("H100", 9.89e14, 6.7e13),
    ("H20", 1.48e14, 4.4e13),
    ("A100", 3.12e14, 1.95e13),
    ("A800", 3.12e14, 1.95e13),
    ("L40S", 3.62e14, 9.16e13),
    ("L40", 1.81e14, 9.05e13),
    ("L4", 1.21e14, 3.03e13),
    ("A10G", 7.0e13, 3.12e13),
    ("A10", 1.25e14, 3.12e13),
    ("A6000", 1.548e14, 3.87e13),
    ("RTX 5090", 2.095e14, 1.048e14),
    ("RTX 4090", 1.652e14, 8.26e13),
    ("RTX 4080", 9.75e13, 4.87e13),
    ("RTX 3090", 7.1e13, 3.56e13),
)
"""The first name that is a part of the device's counts."""

SIZE = 1024
SECONDS = 0.2
_MEASURED: dict[tuple[str, torch.dtype, int], float] = {}


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a matrix product; a multiplication and an addition are two.

    By the data sheet for a CUDA device that is known. Else measured once in the process: the fastest of square products
    for a fifth of a second, with as many threads as torch has now.
    """
    if device.type == "cuda":
        known = by_name(torch.cuda.get_device_name(device), dtype)
        if known is not None:
            return known
    key = (str(device), dtype, torch.get_num_threads())
    if key not in _MEASURED:
        _MEASURED[key] = _measured(device, dtype)
    return _MEASURED[key]


def by_name(name: str, dtype: torch.dtype) -> float | None:
    """The data sheet's figure; None for a device or a type that the table lacks.

    >>> by_name("NVIDIA H100 80GB HBM3", torch.bfloat16), by_name("NVIDIA GeForce RTX 4090", torch.float32)
    (989000000000000.0, 82600000000000.0)
    """
    column = {torch.bfloat16: 1, torch.float32: 2}.get(dtype)
    if column is None:
        return None
    return next((float(row[column]) for row in CUDA if row[0] in name), None)


@torch.no_grad()
def _measured(device: torch.device, dtype: torch.dtype) -> float:
    size = 4 * SIZE if device.type == "cuda" else SIZE
    left, right = (torch.full((size, size), 0.5, device=device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(left)
    fastest, until = float("inf"), time.perf_counter() + SECONDS
    rounds = 0
    while rounds < 2 or time.perf_counter() < until:
        began = time.perf_counter()
        torch.mm(left, right, out=out)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if rounds:
            # the first one warms up
            fastest = min(fastest, time.perf_counter() - began)
        rounds += 1
    return 2 * size**3 / fastest
