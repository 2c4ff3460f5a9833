"""Configurations and images that the tests of the augmentations share."""

import functools

import torch
from scipy import stats

from engine.augment.augmenter import Augmenter
from engine.config.augment.blur import BlurConfig
from engine.config.augment.color_jitter import ColorJitterConfig
from engine.config.augment.crop import CropConfig
from engine.config.augment.flip import FlipConfig
from engine.config.augment.grayscale import GrayscaleConfig
from engine.config.augment.rotation import RotationConfig
from engine.config.schema import AugmentConfig

OFF = AugmentConfig(
    crop=CropConfig(enabled=False),
    rotation=RotationConfig(enabled=False),
    flip=FlipConfig(enabled=False),
    blur=BlurConfig(enabled=False),
    color_jitter=ColorJitterConfig(enabled=False),
    grayscale=GrayscaleConfig(enabled=False),
)
# Everything on, and everything drawn for about half of the images.
ALL = AugmentConfig(
    crop=CropConfig(p=0.5),
    rotation=RotationConfig(p=0.5),
    flip=FlipConfig(enabled=True),
    blur=BlurConfig(kernel_size=5),
    color_jitter=ColorJitterConfig(p=0.6),
    grayscale=GrayscaleConfig(enabled=True, p=0.4),
)
RARE = 1e-3  # p-value below which a test fails; every test has its fixed seed
MANY = 20_000


STRONGEST = AugmentConfig(
    crop=CropConfig(scale_min=1e-6, ratio_min=0.01, ratio_max=10.0),
    rotation=RotationConfig(),
    flip=FlipConfig(enabled=True),
    blur=BlurConfig(p=1.0, sigma_min=1e-3, sigma_max=16.0, kernel_size=31),
    color_jitter=ColorJitterConfig(p=1.0, brightness=1.0, contrast=1.0, saturation=1.0, hue=0.5),
    grayscale=GrayscaleConfig(enabled=True),
)


def only(order=OFF.order, **parts):
    """Every operation off but these."""
    every = {name: getattr(OFF, name) for name in OFF.__struct_fields__}
    return AugmentConfig(**every | {"order": order} | parts)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@functools.cache
def pictures(n=10, height=32, width=32):
    return torch.randint(256, (n, 3, height, width), generator=generator(5), dtype=torch.uint8)


@functools.cache
def many_params(config=ALL, n=MANY, seed=0):
    return Augmenter(config).random_params(n, generator(seed))


def uniform_p(values, low, high):
    return stats.kstest(values.double().numpy(), "uniform", args=(low, high - low)).pvalue
