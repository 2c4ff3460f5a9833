"""lightly (PyPI) on the same images, the same net and the same loader.

From lightly: the two-view transform with its settings put to the notebook's (rotation by up to
180 degrees, blur for half of the images, no flip, no gray; its blur takes no kernel size), the
contrastive loss with its memory bank of 4,096 keys, the momentum update, and the shuffling of the
keys. The step is what its documentation shows, in both directions; float32, eager, as there.
"""

from __future__ import annotations

import copy
import importlib.util
import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from . import notebook

INSTALL = (
    "python -m pip install --no-deps --target DIR lightly lightly-utils lightning-utilities, "
    "then PYTHONPATH=DIR (torch and torchvision stay as they are)"
)


def available() -> bool:
    """Whether lightly can be imported."""
    return importlib.util.find_spec("lightly") is not None


def version() -> str:
    """The version of lightly that is installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lightly
    return str(lightly.__version__)


def loader(images: Tensor, workers: int, *, cuda: bool) -> DataLoader[notebook.Views]:
    """Batches of 512 pairs made by lightly's MoCo transform."""
    from lightly.transforms import MoCoV2Transform

    two = MoCoV2Transform(
        input_size=32,
        cj_strength=1.0,  # of brightness, contrast and saturation 0.4, hue 0.1
        min_scale=0.08,
        random_gray_scale=0.0,
        gaussian_blur=0.5,
        hf_prob=0.0,
        rr_prob=1.0,
        rr_degrees=180.0,
        normalize={"mean": list(notebook.MEAN), "std": list(notebook.STD)},
    )
    return notebook.loader(notebook.Pairs(images, two), workers, cuda=cuda)


def step(device: torch.device) -> Callable[[Tensor, Tensor], float]:
    """The training step; returns the loss."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lightly.loss import NTXentLoss
        from lightly.models.utils import (
            batch_shuffle,
            batch_unshuffle,
            deactivate_requires_grad,
            update_momentum,
        )

    torch.manual_seed(0)
    encoder_q = notebook.convnet().to(device).train()
    encoder_k = copy.deepcopy(encoder_q)
    deactivate_requires_grad(encoder_k)
    criterion = NTXentLoss(
        temperature=notebook.TEMPERATURE, memory_bank_size=(notebook.QUEUE, notebook.DIM)
    ).to(device)
    optimizer = torch.optim.SGD(encoder_q.parameters(), lr=0.06, momentum=0.9, weight_decay=5e-4)

    def direction(query: Tensor, key: Tensor) -> Tensor:
        with torch.no_grad():
            shuffled, order = batch_shuffle(key)
            k = batch_unshuffle(encoder_k(shuffled), order)
        loss: Tensor = criterion(encoder_q(query), k)
        return loss

    def work(view_1: Tensor, view_2: Tensor) -> float:
        update_momentum(encoder_q, encoder_k, m=notebook.MOMENTUM)
        loss = direction(view_1, view_2) + direction(view_2, view_1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return work
