"""Gaussian blur with a sigma for each image (as torchvision's ``gaussian_blur``)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.augment.augmentation import between, chosen, column
from engine.config.augment.blur import BlurConfig
from engine.errors import ConfigError


@dataclass(frozen=True)
class BlurParams:
    """The blur of N images.

    Attributes:
        applied: bool (N,), blur this image.
        sigma: float32 (N,), in pixels.
    """

    applied: Tensor
    sigma: Tensor


class Blur:
    """Blurs with a Gaussian.

    Args:
        config: the kernel, the range of sigma, and for how many images.
        size: height and width of the images, in pixels.

    Raises:
        ConfigError: if the kernel does not fit into an image of this size.
    """

    numbers = 2
    shared = (slice(23, 24), slice(29, 30))

    def __init__(self, config: BlurConfig, size: int) -> None:
        # Reflecting needs an image that is larger than half the kernel.
        if config.enabled and config.kernel_size // 2 >= size:
            raise ConfigError(
                f"augment.blur.kernel_size is {config.kernel_size}; for images of {size} "
                f"pixels it must be at most {2 * size - 1}.",
                "augment.blur.kernel_size",
            )
        self.config = config

    def params(self, uniform: Tensor) -> BlurParams:
        """The sigmas; see ``Augmentation.params``."""
        return BlurParams(
            applied=chosen(uniform[:, 0], self.config),
            sigma=between(uniform[:, 1], self.config.sigma_min, self.config.sigma_max),
        )

    def apply(self, images: Tensor, params: BlurParams, *, dense: bool) -> Tensor:
        """The blurred images; see ``Photometry.apply``."""
        kernel_size = self.config.kernel_size
        if dense:
            blurred = _gaussian_blur(images, params.sigma, kernel_size)
            return torch.where(column(params.applied, 4), blurred, images)
        rows = params.applied.nonzero().squeeze(1)
        if len(rows) == len(images):
            return _gaussian_blur(images, params.sigma, kernel_size)
        blurred = _gaussian_blur(images[rows], params.sigma[rows], kernel_size)
        return images.index_copy_(0, rows, blurred)


def _gaussian_blur(x: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """Separable Gaussian with reflected borders and a sigma for each image.

    A sum of shifted images in place of a convolution, which has one kernel for the whole batch (or
    a group for each of the N * C channels). The kernel is symmetric, so the two pixels at a
    distance are added before they are weighted.

    Args:
        x: float32 (N, C, H, W); not written to.
        sigma: float32 (N,), in pixels.
        kernel_size: odd, in pixels.

    Returns:
        float32 (N, C, H, W), a new tensor.
    """
    half = kernel_size // 2
    taps = torch.arange(half + 1, dtype=torch.float32, device=x.device)  # distances 0..half
    weights = (-0.5 * (taps / sigma.unsqueeze(1)).square()).exp()  # (N, half + 1)
    # To a sum of 1 over the whole kernel: every tap but the middle one stands for two pixels.
    weights = weights / (2.0 * weights.sum(dim=1, keepdim=True) - weights[:, :1])
    for dim in (3, 2):
        length = x.shape[dim]
        pad = (half, half, 0, 0) if dim == 3 else (0, 0, half, half)
        padded = F.pad(x, pad, mode="reflect")
        x = x * column(weights[:, 0], 4)
        for k in range(1, half + 1):
            both = padded.narrow(dim, half - k, length) + padded.narrow(dim, half + k, length)
            x.addcmul_(both, column(weights[:, k], 4))
    return x
