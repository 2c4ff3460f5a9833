"""A pretrained encoder as a module of torch: images in, features out."""

from __future__ import annotations

from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.augment.augmenter import normalise, to_float
from engine.errors import DataError
from engine.evaluate.features import extract
from engine.jobs.trained_encoder import TrainedEncoder
from engine.models.encoder import Encoder

Images = Tensor | NDArray[Any]
"""A batch: uint8, or float in [0, 1]; ``(N, 3, H, W)`` or ``(N, H, W, 3)``."""


class PretrainedEncoder(nn.Module):
    """Images to features, with the normalisation of the pretraining built in.

    In eval mode when it is made. Its parameters can be trained further; ``features`` computes
    without gradients, in batches and in eval mode.

    Images are RGB. uint8 ones are divided by 255; float ones lie in [0, 1] already. Then ``mean``
    is subtracted from each channel, and ``std`` divides it, as in the pretraining: do not normalise
    before.

    Args:
        trained: the encoder, which this module takes over.

    Attributes:
        encoder: backbone and projection head.
        mean, std: float32 ``(3,)``, buffers.
        feature_dim: width of the features.
        embedding_dim: width of the output of the projection head; 0 without a head.
        image_size: H and W of its images.

    >>> encoder = run.encoder()
    >>> encoder.training, encoder.image_size
    (False, 32)
    >>> images = np.zeros((4, 32, 32, 3), dtype=np.uint8)
    >>> encoder.features(images).shape == (4, encoder.feature_dim)
    True
    >>> encoder(torch.rand(2, 3, 32, 32)).shape == (2, encoder.feature_dim)
    True
    """

    mean: Tensor
    std: Tensor

    def __init__(self, trained: TrainedEncoder) -> None:
        super().__init__()
        self.encoder: Encoder = trained.encoder
        self.register_buffer("mean", trained.mean.clone())
        self.register_buffer("std", trained.std.clone())
        self.feature_dim = trained.encoder.feature_dim
        self.embedding_dim = trained.encoder.dim if trained.encoder.has_head else 0
        self.image_size = trained.config.data.size
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Features of a batch, before the projection.

        Args:
            images: uint8, or float in [0, 1], ``(N, 3, H, W)``, on the device of the module.

        Returns:
            float32 ``(N, feature_dim)``.
        """
        features: Tensor = self.encoder.backbone(normalise(to_float(images), self.mean, self.std))
        return features

    def embed(self, images: Tensor) -> Tensor:
        """Embeddings of a batch, behind the projection head, which the contrastive loss compares.

        Args:
            images: as for ``forward``.

        Returns:
            float32 ``(N, embedding_dim)``, not normalised.
        """
        found: Tensor = self.encoder(normalise(to_float(images), self.mean, self.std))
        return found

    @overload
    def features(self, images: Tensor, *, batch_size: int = 0) -> Tensor: ...
    @overload
    def features(self, images: NDArray[Any], *, batch_size: int = 0) -> NDArray[np.float32]: ...
    def features(self, images: Images, *, batch_size: int = 0) -> Images:
        """Features of any number of images, computed in batches on the device of the module.

        Args:
            images: see ``Images``.
            batch_size: of a pass; 0: as many as suit the device.

        Returns:
            float32 ``(N, feature_dim)`` on the CPU: an array for an array, a tensor for a tensor.

        Raises:
            DataError: when they are no such images.

        >>> run.encoder().features(np.zeros((4, 32, 32), dtype=np.uint8))
        Traceback (most recent call last):
        engine.errors.DataError: images have the shape (4, 32, 32); it must be (N, 3, 32, 32) or ...
        """
        batch = as_batch(images, self.image_size)
        if batch_size < 0:
            raise DataError(f"batch_size is {batch_size}; it must be 0 or more.")
        found = extract(
            self.encoder,
            batch,
            mean=self.mean,
            std=self.std,
            device=self.mean.device,
            batch_size=batch_size,
            what="backbone",
        ).cpu()
        return found.numpy() if isinstance(images, np.ndarray) else found


def as_batch(images: Images, size: int) -> Tensor:
    """Images as an encoder takes them.

    Args:
        images: see ``Images``.
        size: H and W.

    Returns:
        uint8 or float32 ``(N, 3, size, size)``.

    Raises:
        DataError: one sentence with what they are and what would be right.
    """
    if not isinstance(images, Tensor | np.ndarray):
        raise DataError(f"images are a {type(images).__name__}; they must be an array or a tensor.")
    try:
        batch = (
            torch.from_numpy(np.ascontiguousarray(images))
            if isinstance(images, np.ndarray)
            else images.detach()
        )
    except TypeError:  # texts, objects
        raise DataError(f"images are of {images.dtype}; {_TYPES}.") from None
    shape = tuple(batch.shape)
    if len(shape) == 4 and shape[1:] == (size, size, 3):
        batch = batch.permute(0, 3, 1, 2)
    elif len(shape) != 4 or shape[1:] != (3, size, size):
        raise DataError(
            f"images have the shape {shape}; it must be (N, 3, {size}, {size}) or "
            f"(N, {size}, {size}, 3)."
        )
    if batch.dtype == torch.uint8:
        return batch.contiguous()
    if not batch.is_floating_point():
        raise DataError(f"images are of {str(batch.dtype).removeprefix('torch.')}; {_TYPES}.")
    # Not min and max: they are NaN where one value is, and a comparison with that is always false.
    if not bool(((batch >= 0) & (batch <= 1)).all()):
        raise DataError("images are float and not all in [0, 1]; divide pixels by 255 before.")
    return batch.to(torch.float32).contiguous()


_TYPES = "they must be uint8, or float in [0, 1]"
