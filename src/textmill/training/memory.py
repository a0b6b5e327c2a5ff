"""The bytes of all tensors that live at a moment, and at most, while code runs.

Every operation of torch passes by, in the backward pass too; each storage it returns counts from then on until it dies.
What a kernel takes and gives back within itself, and what lies outside torch, isn't seen.
"""

import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts while it is entered.

    >>> import torch
    >>> with LiveBytes() as counted:
    ...     kept = torch.zeros(1000)
    ...     for _ in range(3):
    ...         again = kept + 1
    ...     del again
    >>> counted.now, counted.peaks
    (4000, {'': 12000})

    The peak is three tensors: the new `again` is made before the old one dies.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.phase = ""
        self.peaks: dict[str, int] = {}
        """The most bytes of each phase. Set `phase` to begin another."""
        self._known: set[int] = set()

    def count(self, tensors: Iterable[Tensor]) -> None:
        """Adds tensors that were there before."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key not in self._known:
                size = storage.nbytes()
                self._known.add(key)
                self.now += size
                weakref.finalize(storage, self._drop, key, size)
        self.peaks[self.phase] = max(self.peaks.get(self.phase, 0), self.now)

    def _drop(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size

    def __torch_dispatch__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        found = function(*args, **(kwargs or {}))
        self.count(leaf for leaf in tree_leaves(found) if isinstance(leaf, Tensor))
        return found


def num_bytes(tensors: Iterable[Tensor]) -> int:
    """
    >>> import torch
    >>> num_bytes([torch.zeros(3), torch.zeros(2, dtype=torch.bfloat16)])
    16
    """
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
