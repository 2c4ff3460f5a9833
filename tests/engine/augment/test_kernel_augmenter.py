"""Views made by the kernel in Triton: against torch's operations, and against plain loops.

The tests run twice: on the form for a CPU, and, in a process of its own, on the kernel in Triton's
interpreter (``test_the_kernel_passes_these_tests_in_the_interpreter``).
"""

from __future__ import annotations

import importlib.util
import itertools
import os
from typing import Any

import pytest
import torch
import torchvision.transforms.v2.functional as tv
from torch import Tensor

from engine.augment.augmentation import SHARED_NUMBERS
from engine.augment.augmenter import Augmenter, normalise
from engine.augment.kernel_augmenter import KernelAugmenter
from engine.config.augment.blur import BlurConfig
from engine.config.augment.color_jitter import ColorJitterConfig
from engine.config.augment.crop import CropConfig
from engine.config.augment.flip import FlipConfig
from engine.config.augment.grayscale import GrayscaleConfig
from engine.config.augment.rotation import RotationConfig
from engine.config.schema import AugmentConfig
from engine.kernels.view_plan import GEOMETRY, LARGEST, PHOTOMETRY

from ..kernels.interpreter import passes_in_the_interpreter
from .augment_cases import ALL, OFF, STRONGEST, generator, only
from .test_augmenter import bilinear, source_of

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
NAMES = (*GEOMETRY, *PHOTOMETRY)
MEAN, STD = torch.tensor([0.49, 0.48, 0.45]), torch.tensor([0.2, 0.21, 0.25])
# Of a view's values, which are some units from 0: places are off by a few units in the last place.
NEAR = 3e-5
ONE_BY_ONE: dict[str, Any] = {
    "crop": CropConfig(scale_min=0.1),
    "rotation": RotationConfig(degrees=180.0),
    "flip": FlipConfig(enabled=True, p=0.7),
    "blur": BlurConfig(p=0.9, kernel_size=5),
    "color_jitter": ColorJitterConfig(p=0.9, hue=0.5, saturation=1.0),
    "grayscale": GrayscaleConfig(enabled=True, p=0.7),
}


def smooth_images(n: int, height: int, width: int) -> Tensor:
    """Images without hard edges, where a place that is off in its last bits changes little."""
    coarse = torch.rand(n, 3, 4, 4, generator=generator(1))
    fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    return (fine * 255).round().to(torch.uint8)


def made(
    config: AugmentConfig,
    images: Tensor,
    size: int,
    n: int,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor, Augmenter]:
    """Views by the kernel, the uniform numbers that they are made of, and what drew these."""
    augmenter = Augmenter(config, size=size)
    numbers = augmenter.uniform_numbers(n, generator(7))
    shape = (images.shape[2], images.shape[3])
    kernel = KernelAugmenter(augmenter, shape, MEAN.to(images.device), STD.to(images.device))
    return kernel(images, numbers.to(images.device), dtype), numbers, augmenter


def off_by(config: AugmentConfig, images: Tensor, size: int, n: int) -> float:
    """The largest distance of the kernel's views to those of ``Augmenter``."""
    ours, numbers, augmenter = made(config, images, size, n)
    copies = images.repeat(n // len(images), 1, 1, 1)
    expected = normalise(augmenter.apply(copies, augmenter.params(numbers)), MEAN, STD)
    assert ours.shape == (n, 3, size, size)
    assert ours.is_contiguous(memory_format=torch.channels_last)
    return float((ours - expected).abs().max())


@pytest.mark.parametrize("name", NAMES)
def test_each_augmentation_alone(name: str) -> None:
    config = only(**{name: ONE_BY_ONE[name]})
    assert off_by(config, smooth_images(5, 32, 32), 32, 10) < NEAR


@pytest.mark.parametrize(
    ("shape", "size"),
    [((8, 8), 8), ((31, 31), 31), ((40, 28), 32), ((9, 70), 20), ((1, 1), 6), ((64, 64), 64)],
    ids=str,
)
def test_all_together_at_any_size(shape: tuple[int, int], size: int) -> None:
    assert off_by(ALL, smooth_images(3, *shape), size, 6) < NEAR * max(1.0, size / 32)


@pytest.mark.parametrize("config", [AugmentConfig(), STRONGEST, OFF], ids=["default", "max", "off"])
@pytest.mark.parametrize("shape", [(32, 32), (1, 50)], ids=str)
def test_settings_at_their_ends(config: AugmentConfig, shape: tuple[int, int]) -> None:
    assert off_by(config, smooth_images(3, *shape), 32, 6) < NEAR


@pytest.mark.parametrize(
    "jitter",
    [
        {"hue": 0.0},
        {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0},
    ],
    ids=["no hue", "hue alone"],
)
def test_parts_of_the_jitter(jitter: dict[str, Any]) -> None:
    config = only(color_jitter=ColorJitterConfig(p=1.0, **jitter))
    assert off_by(config, smooth_images(3, 12, 12), 12, 9) < NEAR


@pytest.mark.parametrize(
    "order",
    [
        *((*first, *NAMES[3:]) for first in itertools.permutations(NAMES[:3])),
        *((*NAMES[:3], *last) for last in itertools.permutations(NAMES[3:])),
        ("flip", "blur", "color_jitter", "grayscale"),  # off may be left out
    ],
    ids="-".join,
)
def test_any_order_against_plain_loops_and_torchvision(order: tuple[str, ...]) -> None:
    """In float64, an image at a time, from the parameters as they are drawn."""
    size, shape, n = 9, (11, 8), 4
    parts = {name: ONE_BY_ONE[name] for name in order}
    images = smooth_images(2, *shape)
    if "crop" not in order:  # nor a size to bring them to
        images, shape = smooth_images(2, size, size), (size, size)
    config = only(order=order, **parts)
    ours, numbers, augmenter = made(config, images, size, n)
    params = augmenter.params(numbers)
    whole = torch.tensor([[0.0, 0.0, *shape]]).expand(n, 4)
    boxes = (
        torch.stack(augmenter["crop"].boxes(params["crop"], *shape), 1)
        if "crop" in order
        else whole
    )
    for i in range(n):
        view = torch.empty(3, size, size, dtype=torch.float64)
        channels = (images[i % 2].double() / 255).tolist()
        angle = float(params["rotation"].angle[i]) if "rotation" in order else 0.0
        for row, column in itertools.product(range(size), repeat=2):
            x, y, weight = source_of(
                row,
                column,
                size,
                shape,
                [name for name in order if name in GEOMETRY],
                boxes[i].tolist(),
                angle,
                bool(params["flip"].applied[i]),
            )
            for channel in range(3):
                view[channel, row, column] = weight * bilinear(channels[channel], x, y)
        for name in order:
            if name in PHOTOMETRY and bool(params[name].applied[i]):
                view = photometry(name, view, params[name], i)
        view = (view - MEAN.double().view(3, 1, 1)) / STD.double().view(3, 1, 1)
        # The hue of torchvision is rounded in float32 by its tables.
        assert (ours[i].double() - view).abs().max() < 1e-4


def photometry(name: str, view: Tensor, params: Any, i: int) -> Tensor:
    """An operation of torchvision on a view."""
    if name == "blur":
        sigmas = [float(params.sigma[i])] * 2
        blurred: Tensor = tv.gaussian_blur(view, [5, 5], sigmas)
        return blurred
    if name == "grayscale":
        gray: Tensor = tv.rgb_to_grayscale(view, num_output_channels=3)
        return gray
    functions = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue)
    for which in params.order[i].tolist():
        view = functions[which](view, float(params.factors[i, which]))
    return view


def test_bfloat16_is_what_float32_rounds_to() -> None:
    images = smooth_images(2, 16, 16)
    wide, narrow = (made(ALL, images, 16, 4, dtype)[0] for dtype in (torch.float32, torch.bfloat16))
    assert narrow.dtype == torch.bfloat16
    assert narrow.is_contiguous(memory_format=torch.channels_last)
    if INTERPRETED:  # it cuts digits off where a card rounds
        assert ((narrow.float() - wide).abs() <= wide.abs() * 2.0**-7).all()
    else:
        assert torch.equal(narrow, wide.to(torch.bfloat16))


def test_the_numbers_of_a_view_lie_where_the_kernel_reads_them() -> None:
    """Columns that no range and no share is of: candidates' places, and the order of the jitter."""
    augmenter = Augmenter(ALL, size=8)
    table = KernelAugmenter(augmenter, (8, 8), MEAN, STD).table
    assert table.shape == (3, SHARED_NUMBERS)
    assert (table[0] == 0).nonzero().squeeze(1).tolist() == [26, 27, 34, 35, 36, 37]
    columns = {name: augmenter[name].shared for name in NAMES}
    assert [c[-1].start for c in columns.values()] == [26, 28, 22, 29, 30, 25]


class Darker:
    """An augmentation of the user's own."""

    numbers = 1

    def params(self, uniform: Tensor) -> Tensor:
        return uniform[:, 0]

    def apply(self, images: Tensor, params: Tensor) -> Tensor:
        return images * params.view(-1, 1, 1, 1)


def test_what_the_kernel_takes() -> None:
    assert KernelAugmenter.can_take(ALL, 32)
    assert KernelAugmenter.can_take(STRONGEST, LARGEST)
    assert not KernelAugmenter.can_take(ALL, LARGEST + 1)
    own = AugmentConfig(order=(*ALL.order, f"{__name__}:Darker"))
    assert not KernelAugmenter.can_take(own, 32)


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")
@pytest.mark.skipif(INTERPRETED, reason="is the one that runs the others")
def test_the_kernel_passes_these_tests_in_the_interpreter() -> None:
    said = passes_in_the_interpreter(__file__, "-m", "not gpu")
    assert "1 skipped" in said


# ------------------------------------------------------------------------------------- on a device


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("size", "shape"), [(32, (32, 32)), (31, (40, 28)), (64, (64, 64))])
@pytest.mark.parametrize("config", [AugmentConfig(), ALL, STRONGEST], ids=["default", "all", "max"])
def test_cuda_1024_views_are_those_of_torch(
    config: AugmentConfig, size: int, shape: tuple[int, int]
) -> None:
    """No view has another box, which would show all over it."""
    images = smooth_images(256, *shape).cuda()
    ours, numbers, augmenter = made(config, images, size, 1024)
    copies = images.repeat(4, 1, 1, 1)
    there = augmenter.apply(copies, augmenter.params(numbers.cuda()), dense=True)
    gap = (ours - normalise(there, MEAN.cuda(), STD.cuda())).abs()
    assert gap.max() < 1e-3
    assert gap.mean() < 1e-5
    narrow, *_ = made(config, images, size, 1024, torch.bfloat16)
    assert torch.equal(narrow, ours.to(torch.bfloat16))
