"""What the kernels of the loss compute, written with torch's own operations.

Every function has the arguments and results of the operation of its name in ``contrast_block``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def contrast(
    query: Tensor,
    keys: Tensor,
    queue: Tensor,
    temperature: float,
    symmetric: bool,
    gradient: bool,
) -> tuple[Tensor, Tensor]:
    """As in ``contrast_block``."""
    views = 2 if symmetric else 1
    positives = keys.view(views, -1, keys.shape[1]).flip(0).reshape(keys.shape)
    logits = query @ queue.T / temperature
    negative = logits.logsumexp(1)
    margin = negative - (query * positives).sum(1) / temperature
    pairs = len(query) // views
    loss = -F.logsigmoid(-margin).sum() / pairs
    if not gradient:
        return loss, query.new_empty(0)
    mean = (logits - negative[:, None]).exp() @ queue
    return loss, (mean - positives) * (torch.sigmoid(margin) / (pairs * temperature))[:, None]


def unit_rows(x: Tensor, order: Tensor | None) -> Tensor:
    """As in ``contrast_block``."""
    rows = F.normalize(x if x.dtype == torch.float64 else x.float(), dim=1)
    if order is None:
        return rows if rows is not x else rows.clone()
    return torch.empty_like(rows).index_copy_(0, order, rows)


def unit_rows_backward(grad: Tensor, x: Tensor) -> Tensor:
    """As in ``contrast_block``."""
    wide = x.to(grad.dtype)
    length = torch.linalg.vector_norm(wide, dim=1, keepdim=True)
    short = length < 1e-12
    length = length.clamp(min=1e-12)
    unit = wide / length
    along = torch.where(short, 0.0, (grad * unit).sum(1, keepdim=True))
    found: Tensor = ((grad - along * unit) / length).to(x.dtype)
    return found


def order_of(first: Tensor, second: Tensor | None) -> Tensor:
    """As in ``contrast_block``."""
    order = first.argsort(stable=True)
    if second is None:
        return order
    return torch.cat([order, len(first) + second.argsort(stable=True)])


def enqueue(queue: Tensor, pointer: Tensor, keys: Tensor) -> None:
    """As in ``contrast_block``."""
    size, count = len(queue), len(keys)
    kept = min(size, count)
    offsets = torch.arange(count - kept, count, device=queue.device)
    queue.index_copy_(0, (pointer + offsets) % size, keys[count - kept :])
    pointer.copy_((pointer + count) % size)
