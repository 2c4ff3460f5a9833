"""Every operation beside torchvision.transforms.v2.functional, image by image."""

import functools
import math

import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as TV

from engine.augment.augmenter import Augmenter
from engine.augment.color_jitter import BRIGHTNESS, CONTRAST, HUE, SATURATION
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
BILINEAR = InterpolationMode.BILINEAR


def only(**parts):
    """Every operation off but these."""
    return AugmentConfig(**{name: getattr(OFF, name) for name in OFF.__struct_fields__} | parts)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@functools.cache
def pictures(height=32, width=32):
    """Noise, smooth images, and the corners and edges of the colour cube; float in [0, 1]."""
    g = generator(7)
    noise = torch.rand((12, 3, height, width), generator=g)
    smooth = torch.nn.functional.interpolate(
        torch.rand((12, 3, 4, 4), generator=g), size=(height, width), mode="bilinear"
    )
    corners = [[r, gr, b] for r in (0.0, 1.0) for gr in (0.0, 1.0) for b in (0.0, 1.0)]
    corners += [[0.5, 0.5, 0.2], [0.2, 0.5, 0.5], [0.5, 0.2, 0.5], [0.3, 0.3, 0.3]]
    flat = torch.tensor(corners).view(-1, 3, 1, 1).expand(-1, -1, height, width)
    levels = torch.randint(4, (12, 3, height, width), generator=g) / 3  # many ties of channels
    return torch.cat([noise, smooth, flat, levels])


def views(config, images, *, dense, seed=1, **changes):
    """Views, and the parameters; ``changes``: of an augmentation, other values for some of them."""
    augmenter = Augmenter(config)
    params = augmenter.random_params(len(images), generator(seed))
    for name, values in changes.items():
        params = params.replace(name, **values)
    return augmenter.apply(images, params, dense=dense), params


def boxes_of(config, params, height, width):
    return torch.stack(Augmenter(config)["crop"].boxes(params["crop"], height, width), 1).int()


def largest_gap(ours, theirs):
    return (ours.double() - torch.stack(theirs).double()).abs().max().item()


@pytest.fixture(params=[False, True], ids=["subsets", "dense"])
def dense(request):
    return request.param


@pytest.mark.parametrize(("height", "width"), [(32, 32), (45, 28), (20, 60), (7, 9)])
def test_crop(dense, height, width):
    images = pictures(height, width)
    config = only(crop=CropConfig(scale_min=0.05))
    ours, params = views(config, images, dense=dense)
    boxes = boxes_of(config, params, height, width).tolist()
    assert len({tuple(box) for box in boxes}) > 20
    theirs = [
        TV.resized_crop(image, *box, [32, 32], BILINEAR, antialias=False)
        for image, box in zip(images, boxes, strict=True)
    ]
    assert largest_gap(ours, theirs) < (2e-6 if max(height, width) <= 32 else 1e-5)


@pytest.mark.parametrize(("height", "width"), [(48, 48), (33, 64), (10, 12), (1, 1), (1, 40)])
def test_plain_resize(dense, height, width):
    images = pictures(height, width)
    ours, _ = views(OFF, images, dense=dense)
    theirs = [TV.resize(image, [32, 32], BILINEAR, antialias=False) for image in images]
    assert largest_gap(ours, theirs) < 2e-6


def test_rotation(dense):
    images = pictures()
    special = torch.tensor([0.0, 90.0, -90.0, 180.0, -180.0, 45.0, 1e-3, -7.5])
    angle = torch.empty(len(images)).uniform_(-180, 180, generator=generator(3))
    angle[: len(special)] = special
    angle[12 : 12 + len(special)] = special
    ours, params = views(
        only(rotation=RotationConfig()), images, dense=dense, rotation={"angle": angle}
    )
    theirs = [
        TV.rotate(image, a, BILINEAR, fill=0.0)
        for image, a in zip(images, params["rotation"].angle.tolist(), strict=True)
    ]
    assert largest_gap(ours, theirs) < 1e-5


@pytest.mark.parametrize("size", [8, 17])
def test_rotation_of_other_sizes(dense, size):
    images = pictures(size, size)
    augmenter = Augmenter(only(rotation=RotationConfig()), size=size)
    params = augmenter.random_params(len(images), generator())
    ours = augmenter.apply(images, params, dense=dense)
    theirs = [
        TV.rotate(image, a, BILINEAR, fill=0.0)
        for image, a in zip(images, params["rotation"].angle.tolist(), strict=True)
    ]
    assert largest_gap(ours, theirs) < 1e-5


def test_flip(dense):
    images = pictures()
    ours, params = views(only(flip=FlipConfig(enabled=True)), images, dense=dense)
    assert 0 < params["flip"].applied.sum() < len(images)
    theirs = [
        TV.horizontal_flip(image) if flip else image
        for image, flip in zip(images, params["flip"].applied.tolist(), strict=True)
    ]
    assert largest_gap(ours, theirs) < 5e-6


@pytest.mark.parametrize("kernel_size", [3, 5, 9, 31])
def test_blur(dense, kernel_size):
    images = pictures()
    config = only(blur=BlurConfig(p=0.7, sigma_min=0.05, sigma_max=8.0, kernel_size=kernel_size))
    ours, params = views(config, images, dense=dense)
    assert 0 < params["blur"].applied.sum() < len(images)
    theirs = [
        TV.gaussian_blur(image, [kernel_size] * 2, [sigma] * 2) if blur else image
        for image, blur, sigma in zip(
            images, params["blur"].applied.tolist(), params["blur"].sigma.tolist(), strict=True
        )
    ]
    assert largest_gap(ours, theirs) < 2e-6


ADJUST = {
    BRIGHTNESS: TV.adjust_brightness,
    CONTRAST: TV.adjust_contrast,
    SATURATION: TV.adjust_saturation,
    HUE: TV.adjust_hue,
}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (BRIGHTNESS, "brightness"),
        (CONTRAST, "contrast"),
        (SATURATION, "saturation"),
        (HUE, "hue"),
    ],
)
def test_one_colour_operation(dense, kind, name):
    images = pictures()
    off = dict.fromkeys(("brightness", "contrast", "saturation", "hue"), 0.0)
    strength = 0.5 if kind == HUE else 1.0
    config = only(color_jitter=ColorJitterConfig(p=1.0, **(off | {name: strength})))
    _, params = views(config, images, dense=dense)
    factors = params["color_jitter"].factors.clone()
    factors[:4, kind] = torch.tensor([-0.5, 0.5, 0.25, 0.0] if kind == HUE else [0.0, 2.0, 1, 0.5])
    ours, params = views(config, images, dense=dense, color_jitter={"factors": factors})
    theirs = [
        ADJUST[kind](image, factor)
        for image, factor in zip(
            images, params["color_jitter"].factors[:, kind].tolist(), strict=True
        )
    ]
    assert largest_gap(ours, theirs) < 5e-6


def test_colour_operations_in_the_order_of_each_image(dense):
    images = pictures().repeat(4, 1, 1, 1)
    config = only(
        color_jitter=ColorJitterConfig(p=0.8, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
    )
    ours, params = views(config, images, dense=dense)
    assert len({tuple(order) for order in params["color_jitter"].order.tolist()}) == math.factorial(
        4
    )
    theirs = []
    for n, image in enumerate(images):
        if params["color_jitter"].applied[n]:
            for kind in params["color_jitter"].order[n].tolist():
                image = ADJUST[kind](image, params["color_jitter"].factors[n, kind].item())
        theirs.append(image)
    # A rounding before a hue of little chroma is turned with it: the worst pixel, not the typical.
    assert largest_gap(ours, theirs) < 1e-5


def test_gray(dense):
    images = pictures()
    ours, params = views(only(grayscale=GrayscaleConfig(enabled=True, p=0.5)), images, dense=dense)
    assert 0 < params["grayscale"].applied.sum() < len(images)
    theirs = [
        TV.rgb_to_grayscale(image, num_output_channels=3) if gray else image
        for image, gray in zip(images, params["grayscale"].applied.tolist(), strict=True)
    ]
    assert largest_gap(ours, theirs) < 1e-6


def test_crop_then_colour_chain(dense):
    """All that does not resample twice, in one chain (crop, blur, colour, gray)."""
    images = pictures()
    config = only(
        crop=CropConfig(),
        blur=BlurConfig(),
        color_jitter=ColorJitterConfig(),
        grayscale=GrayscaleConfig(enabled=True),
    )
    ours, params = views(config, images, dense=dense)
    boxes = boxes_of(config, params, 32, 32).tolist()
    theirs = []
    for n, image in enumerate(images):
        image = TV.resized_crop(image, *boxes[n], [32, 32], BILINEAR, antialias=False)
        if params["blur"].applied[n]:
            image = TV.gaussian_blur(image, [3, 3], [params["blur"].sigma[n].item()] * 2)
        if params["color_jitter"].applied[n]:
            for kind in params["color_jitter"].order[n].tolist():
                image = ADJUST[kind](image, params["color_jitter"].factors[n, kind].item())
        theirs.append(TV.rgb_to_grayscale(image, 3) if params["grayscale"].applied[n] else image)
    assert largest_gap(ours, theirs) < 1e-5
