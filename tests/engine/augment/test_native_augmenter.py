"""Views made by the kernels in C against those of torch's operations, from the same numbers."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from engine.augment.augmenter import Augmenter, normalise, to_float
from engine.augment.native_augmenter import NativeAugmenter, normalise_natively
from engine.config.schema import AugmentConfig
from engine.config.size_defaults import blur_kernel
from engine.native.library import LEVELS, library

from ..tiny import config_with

LIBRARY = library()
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="the kernels were not built")
AVAILABLE = LEVELS[: LIBRARY.moco_levels()] if LIBRARY is not None else ()
MEAN, STD = torch.tensor([0.49, 0.48, 0.45]), torch.tensor([0.2, 0.21, 0.25])
NAMES = ("crop", "rotation", "flip", "blur", "color_jitter", "grayscale")


def config(*names: str, **values: object) -> AugmentConfig:
    switches = {f"augment__{name}__enabled": name in names for name in NAMES}
    made: AugmentConfig = config_with(**switches, **values).augment
    return made


def smooth_images(n: int, height: int, width: int) -> Tensor:
    """Images without hard edges, where a place that is off in its last bits changes little."""
    coarse = torch.rand(n, 3, 4, 4)
    fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    return (fine * 255).round().to(torch.uint8)


def largest_difference(
    settings: AugmentConfig, images: Tensor, level: str, n: int = 200, size: int = 32
) -> float:
    augmenter = Augmenter(settings, size=size)
    assert NativeAugmenter.can_take(augmenter)
    params = augmenter.random_params(n, torch.Generator().manual_seed(3))
    places = torch.arange(n) % len(images)
    expected = normalise(augmenter.apply(images[places], params), MEAN, STD)
    out = torch.empty(n, 3, size, size).contiguous(memory_format=torch.channels_last)
    NativeAugmenter(augmenter, MEAN, STD, level).prepare(images, params).compute(places, out, 0)
    assert not out.isnan().any()
    return float((out - expected).abs().max())


@pytest.mark.parametrize("level", AVAILABLE)
@pytest.mark.parametrize("names", [(), *((name,) for name in NAMES), NAMES], ids="-".join)
def test_each_augmentation_and_all_together(level: str, names: tuple[str, ...]) -> None:
    settings = config(*names)
    for size in ((32, 32), (40, 28), (8, 9), (1, 1)):
        torch.manual_seed(0)
        assert largest_difference(settings, smooth_images(7, *size), level) < 3e-5


@pytest.mark.parametrize("level", AVAILABLE)
@pytest.mark.parametrize("size", [33, 96, 224])
def test_views_of_any_size(level: str, size: int) -> None:
    settings = config(*NAMES, augment__blur__kernel_size=blur_kernel(size))
    for side in (size, 64):  # as they are, and brought to that size
        torch.manual_seed(0)
        images = smooth_images(3, side, side)
        bound = 3e-5 * size / 32  # places are rounded in proportion
        assert largest_difference(settings, images, level, 12, size) < bound


@pytest.mark.parametrize(
    "order", [*itertools.permutations(NAMES[:3]), *itertools.permutations(NAMES[3:])], ids="-".join
)
def test_any_order(order: tuple[str, ...]) -> None:
    whole = [*order, *NAMES[3:]] if order[0] in NAMES[:3] else [*NAMES[:3], *order]
    torch.manual_seed(0)
    settings = config(*NAMES, augment__order=whole)
    assert largest_difference(settings, smooth_images(7, 32, 32), AVAILABLE[-1], 60) < 3e-5


@pytest.mark.parametrize(
    "values",
    [
        {"augment__rotation__degrees": 180.0, "augment__rotation__p": 1.0},
        {"augment__blur__kernel_size": 31, "augment__blur__p": 1.0},
        {"augment__blur__kernel_size": 3, "augment__blur__p": 1.0},
        {"augment__color_jitter__hue": 0.0},
        {"augment__color_jitter__hue": 0.5, "augment__color_jitter__p": 1.0},
        {
            "augment__color_jitter__brightness": 0.0,
            "augment__color_jitter__contrast": 0.0,
            "augment__color_jitter__saturation": 0.0,
        },
        {"augment__crop__p": 0.5, "augment__flip__p": 1.0, "augment__grayscale__p": 0.5},
    ],
    ids=str,
)
def test_settings_at_their_ends(values: dict[str, object]) -> None:
    torch.manual_seed(0)
    images = smooth_images(7, 32, 32)
    assert largest_difference(config(*NAMES, **values), images, AVAILABLE[-1]) < 3e-5


@pytest.mark.parametrize("level", AVAILABLE)
def test_parts_of_a_batch_give_the_bits_of_the_whole_in_both_dtypes(level: str) -> None:
    augmenter = Augmenter(config(*NAMES))
    images, places = smooth_images(9, 32, 32), torch.tensor([8, 0, 3, 3, 1, 7, 2])
    params = augmenter.random_params(len(places), torch.Generator().manual_seed(1))
    batch = NativeAugmenter(augmenter, MEAN, STD, level).prepare(images, params)
    whole = torch.empty(7, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    batch.compute(places, whole, 0)
    parts, narrow = torch.empty_like(whole), whole.bfloat16()
    narrow.zero_()
    for start, end in ((4, 7), (0, 1), (1, 4)):
        batch.compute(places[start:end], parts[start:end], start)
        batch.compute(places[start:end], narrow[start:end], start)
    assert torch.equal(parts, whole)
    assert torch.equal(narrow, whole.bfloat16())


@pytest.mark.parametrize("size", [(32, 32), (7, 10), (1, 1)], ids=str)
def test_images_that_are_only_normalised_have_the_bits_of_torch(size: tuple[int, int]) -> None:
    images = torch.randint(0, 256, (9, 3, *size), dtype=torch.uint8)
    out = normalise_natively(images, MEAN, STD)
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(out, normalise(to_float(images), MEAN, STD))
