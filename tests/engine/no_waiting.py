"""Nothing that waits for the device: a watch over the operations of torch."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class NoWaiting(TorchDispatchMode):
    """Refuses operations whose result the host has to see, or whose shape depends on data."""

    REFUSED = (
        "_local_scalar_dense", "nonzero", "nonzero_static", "masked_select", "item", "equal",
        "is_nonzero", "bincount", "unique", "_unique2", "unique_dim", "unique_consecutive",
        "repeat_interleave", "masked_scatter_", "histc", "allclose",
    )  # fmt: skip
    INDEXED = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func.overloadpacket.__name__
        self.calls += 1
        assert name not in self.REFUSED, f"{func} waits for the device"
        if name in self.INDEXED:
            for index in args[1]:
                dtype = None if index is None else index.dtype
                assert dtype not in (torch.bool, torch.uint8), f"{func} by a mask"
        return func(*args, **(kwargs or {}))
