"""Files that the safetensors library reads back."""

import hashlib
from pathlib import Path

import safetensors.torch
import torch

from textmill.training.tensor_file import DTYPES, write_tensors


def test_safetensors_reads_every_dtype_and_shape(tmp_path: Path) -> None:
    tensors = {f"{dtype}".replace("torch.", ""): (torch.arange(6) % 2).reshape(2, 3).to(dtype) for dtype in DTYPES}
    tensors |= {"scalar": torch.tensor(3.5), "empty": torch.zeros(0, 4), "turned": torch.arange(6.0).view(2, 3).T}
    tensors["naïve/名"] = torch.ones(1)
    digest = write_tensors(tmp_path / "a.safetensors", tensors)
    read = safetensors.torch.load_file(tmp_path / "a.safetensors")
    assert set(read) == set(tensors)
    assert all(torch.equal(read[name], tensors[name]) and read[name].dtype == tensors[name].dtype for name in read)
    assert digest == hashlib.sha256((tmp_path / "a.safetensors").read_bytes()).hexdigest()


def test_nothing_at_all(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a.safetensors", {})
    assert safetensors.torch.load_file(tmp_path / "a.safetensors") == {}
