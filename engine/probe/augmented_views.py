"""Features of augmented views of the labelled images, computed once and cached.

Epochs cycle through the views of an image, which costs as many passes through the encoder as there
are views in place of one for each epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.augment.augmentation import AugmentParams
from engine.augment.augmenter import Augmenter
from engine.augment.native_augmenter import NativeAugmenter
from engine.config.augment.blur import BlurConfig
from engine.config.augment.color_jitter import ColorJitterConfig
from engine.config.augment.crop import CropConfig
from engine.config.augment.flip import FlipConfig
from engine.config.augment.rotation import RotationConfig
from engine.config.heads.linear import LinearConfig
from engine.config.schema import AugmentConfig
from engine.evaluate.features import Standardiser
from engine.evaluate.native_pass import ROWS
from engine.seeds import stream
from engine.sink import NullSink, Sink, check_interrupt

EmbedViews = Callable[[Augmenter, Tensor, Tensor, AugmentParams], Tensor]
"""``embed_views(augmenter, images, rows, params)``: features (n, D) of a view of each of the n
images ``rows``, augmented as ``params`` say."""

CACHE_BYTES = 1 << 30
"""Most that the cached views may take; fewer views are made where they would take more."""


def light_augment(crop_min: float = LinearConfig().crop_min) -> AugmentConfig:
    """Random resized crop and horizontal flip, as in the linear protocol of MoCo.

    Args:
        crop_min: smallest crop, as a share of the area. 0.08 is that of the protocol
            (facebookresearch/moco, ``main_lincls.py``: torchvision's default); version 0.1 had 0.2.
    """
    return AugmentConfig(
        crop=CropConfig(scale_min=crop_min),
        rotation=RotationConfig(enabled=False),
        flip=FlipConfig(enabled=True),
        blur=BlurConfig(enabled=False),
        color_jitter=ColorJitterConfig(enabled=False),
    )


LIGHT_AUGMENT = light_augment()
"""``light_augment`` as the protocol has it."""

_PASS = 512  # images augmented at a time: with a slow encoder, too, a stop is noticed in seconds
_DRAWN = 4096  # images whose parameters are drawn at a time


def affordable_views(views: int, images: int, width: int) -> int:
    """``views``, or as many as ``CACHE_BYTES`` hold; at least 1.

    Args:
        views: views of each image that are wanted.
        images: how many.
        width: features of a view, float32.
    """
    return max(1, min(views, CACHE_BYTES // (4 * images * width)))


@torch.no_grad()
def augmented_features(
    embed: Callable[[Tensor], Tensor],
    images: Tensor,
    rows: Tensor,
    *,
    views: int,
    seed: int,
    device: torch.device | None = None,
    augment: AugmentConfig = LIGHT_AUGMENT,
    sink: Sink | None = None,
    embed_views: EmbedViews | None = None,
) -> Tensor:
    """Features of several augmented views of some images.

    Parameters are drawn for every image, also for those not in ``rows``: an image has the same
    views in every labelled part that it belongs to, so that parts can share the features.

    Args:
        embed: float32 images (n, 3, H, W) in [0, 1] to features (n, D).
        images: uint8 (N, 3, H, W).
        rows: int64 (m,), ascending: the images to make views of.
        views: views of each image.
        seed: of the augmentations.
        device: where to augment; None: where the images are. The draws are the same everywhere.
        augment: which augmentations.
        sink: receives the progress, and is asked every 512 images whether to stop.
        embed_views: augments and embeds where the kernels in C know the augmentations, from the
            same draws; None: ``embed`` takes all views.

    Returns:
        float32 (views, m, D), on the features' device.

    Raises:
        Interrupted: when the sink asked to stop.
    """
    sink = NullSink() if sink is None else sink
    augmenter = Augmenter(augment, size=images.shape[-1])
    device = images.device if device is None else device
    plain = images.dtype == torch.uint8 and images.is_contiguous()  # read by their address
    together = _PASS
    if not (plain and NativeAugmenter.can_take(augmenter)):
        embed_views = None
    elif embed_views is not None:
        together = max(_PASS, 2 * ROWS * torch.get_num_threads())
    generator = stream(seed, "views")
    out: Tensor | None = None
    for view in range(views):
        done = 0
        for begin in range(0, len(images), _DRAWN):
            count = min(_DRAWN, len(images) - begin)
            params = augmenter.random_params(count, generator, device)
            drawn_rows = rows[(rows >= begin) & (rows < begin + count)]
            for part in torch.split(drawn_rows, together):
                check_interrupt(sink)
                of_part = params.take((part - begin).to(device))
                if embed_views is not None:
                    features = embed_views(augmenter, images, part, of_part)
                else:
                    features = embed(augmenter.apply(images[part].to(device), of_part))
                if out is None:  # the width of the features is known now
                    out = features.new_empty(views, len(rows), features.shape[1])
                out[view, done : done + len(part)] = features
                done += len(part)
                sink.progress("augmented features", view * len(rows) + done, views * len(rows))
    assert out is not None
    return out


@dataclass(frozen=True)
class Views:
    """Features of augmented views of labelled images, standardised as they are asked for.

    They are kept as they came: labelled parts that overlap can share them.

    Attributes:
        features: float32 (V, N, D).
        rows: int64 (n,), positions of the labelled images among the N.
        mean: float32 (D,), subtracted from features.
        inverse: float32 (D,), multiplies what is left: 1 / standard deviation.
    """

    features: Tensor
    rows: Tensor
    mean: Tensor
    inverse: Tensor

    @classmethod
    def standardised(cls, features: Tensor, rows: Tensor, standardise: Standardiser) -> Views:
        """Views that are standardised like the images themselves."""
        mean, inverse = standardise.mean.to(features), standardise.scale.reciprocal().to(features)
        return cls(features, rows.to(features.device), mean, inverse)

    def __len__(self) -> int:
        return len(self.features)

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.features.device

    @property
    def width(self) -> int:
        """Features of an image, D."""
        return self.features.shape[2]

    def batch(self, view: int, images: Tensor) -> Tensor:
        """float32 (m, D): a view of the labelled images (m,), numbered from 0 to n - 1."""
        # Indexing copies, so the operations in place leave the shared features as they are.
        return self.features[view, self.rows[images]].sub_(self.mean).mul_(self.inverse)
