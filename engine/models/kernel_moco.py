"""MoCo whose loss, unit vectors, order of keys and queue are kernels for a card."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.kernels.contrast_block import MOST_SORTED, contrast, enqueue, order_of, unit_rows
from engine.models.moco import MoCo

TENSOR_CORES = (8, 0)
"""The compute capability from which on Triton multiplies on tensor cores; on older cards it spills
registers and takes many times as long as torch."""


class KernelMoCo(MoCo):
    """The same tensors and methods; see ``engine.kernels.contrast_block``. Made by ``like``.

    Loss and gradient are those of float32 up to rounding, whatever the encoders are computed in;
    order and queue are the same bits.
    """

    @classmethod
    def like(cls, model: MoCo) -> KernelMoCo:
        """One that shares the tables of parameters and buffers with a model, and its settings."""
        made = cls.__new__(cls)
        made.__dict__.update(model.__dict__)
        return made

    def contrast(self, query: Tensor, keys: Tensor) -> Tensor:
        """As in ``MoCo``; by torch where Triton has no products."""
        if not has_products(query.device):
            return super().contrast(query, keys)
        wanted = query.requires_grad and torch.is_grad_enabled()
        with torch.autocast(query.device.type, enabled=False):
            loss: Tensor = contrast(
                query, keys, self.queue, self.temperature, self.symmetric, wanted
            )[0]
        return loss

    def key_order(self, view: Tensor, generator: torch.Generator | None) -> Tensor | None:
        """As in ``MoCo``."""
        batch, place = len(view), view.device if generator is None else generator.device
        if not self.shuffle_keys or batch > MOST_SORTED or place != view.device:
            return super().key_order(view, generator)
        numbers = [
            torch.rand(batch, generator=generator, device=place)
            for _ in range(2 if self.symmetric else 1)
        ]
        order: Tensor = order_of(numbers[0], numbers[1] if self.symmetric else None)
        return order

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        """As in ``MoCo``."""
        enqueue(self.queue, self.queue_ptr, keys)

    def _in_order(self, images: Tensor, order: Tensor) -> Tensor:
        if not images.is_contiguous(memory_format=torch.channels_last):
            return super()._in_order(images, order)
        # Torch would write such images row by row, and the first layer lay them out again.
        return images.permute(0, 2, 3, 1).index_select(0, order).permute(0, 3, 1, 2)

    def _unit(self, embeddings: Tensor, order: Tensor | None) -> Tensor:
        with torch.autocast(embeddings.device.type, enabled=False):
            unit: Tensor = unit_rows(embeddings.contiguous(), order)
        return unit


def has_products(device: torch.device) -> bool:
    """Whether the kernels of the loss are those for a device."""
    return device.type != "cuda" or torch.cuda.get_device_capability(device) >= TENSOR_CORES
