import cmath
import dataclasses
import itertools
import math

import pytest
import torch
from scipy import stats

from engine.augment.augmenter import Augmenter, normalise, sample_repeating_border, to_float
from engine.config.augment import AUGMENTATIONS
from engine.config.augment.blur import BlurConfig
from engine.config.augment.color_jitter import ColorJitterConfig
from engine.config.augment.crop import CropConfig
from engine.config.augment.flip import FlipConfig
from engine.config.augment.grayscale import GrayscaleConfig
from engine.config.augment.rotation import RotationConfig
from engine.config.schema import AugmentConfig

from .augment_cases import (
    ALL,
    MANY,
    OFF,
    RARE,
    STRONGEST,
    generator,
    many_params,
    only,
    pictures,
)


def bilinear(image, x, y):
    """Value at (x, y) of one channel, a nested list; pixels outside repeat the border."""
    height, width = len(image), len(image[0])
    x0, y0 = math.floor(x), math.floor(y)
    total = 0.0
    for yy, xx in itertools.product((y0, y0 + 1), (x0, x0 + 1)):
        weight = (1 - abs(x - xx)) * (1 - abs(y - yy))
        total += weight * image[min(max(yy, 0), height - 1)][min(max(xx, 0), width - 1)]
    return total


def covered(x, y, height, width):
    """Bilinear value at (x, y) of a frame of ones with zeros around it."""
    x0, y0 = math.floor(x), math.floor(y)
    total = 0.0
    for yy, xx in itertools.product((y0, y0 + 1), (x0, x0 + 1)):
        if 0 <= yy < height and 0 <= xx < width:
            total += (1 - abs(x - xx)) * (1 - abs(y - yy))
    return total


def source_of(row, column, size, shape, order, box, angle, flip):
    """Where a pixel of the result comes from in the image (x, y), and its weight."""
    top, left, crop_height, crop_width = box
    x, y, weight = float(column), float(row), 1.0
    height = width = size
    for name in reversed(order):
        if name == "flip" and flip:
            x = width - 1 - x
        elif name == "rotation":
            # counter-clockwise for whoever looks: in the plane with its imaginary axis upwards
            centre = complex((width - 1) / 2, (height - 1) / 2)
            point = complex(x - centre.real, centre.imag - y)
            point *= cmath.exp(-1j * math.radians(angle))
            x, y = point.real + centre.real, centre.imag - point.imag
            weight = covered(x, y, height, width) ** 2
        elif name == "crop":
            # the crop is an image of its own: its border repeats, its neighbours are unseen
            x = (x + 0.5) * crop_width / size - 0.5
            y = (y + 0.5) * crop_height / size - 0.5
            x = left + min(max(x, 0.0), crop_width - 1.0)
            y = top + min(max(y, 0.0), crop_height - 1.0)
            height, width = shape
    return x, y, weight


@pytest.mark.parametrize("order", list(itertools.permutations(("crop", "rotation", "flip"))))
@pytest.mark.parametrize(("height", "width", "size"), [(32, 32, 32), (19, 26, 12)])
def test_composed_geometry_is_one_exact_sampling(order, height, width, size):
    n = 4
    config = only(
        order=(*order, "blur", "color_jitter", "grayscale"),
        crop=CropConfig(scale_min=0.1),
        rotation=RotationConfig(),
        flip=FlipConfig(enabled=True),
    )
    images = pictures(n, height, width)
    augmenter = Augmenter(config, size=size)
    params = augmenter.random_params(n, generator(3))
    params = params.replace("flip", applied=torch.tensor([True, False, True, False]))
    ours = augmenter.apply(images, params).double()
    boxes = torch.stack(augmenter["crop"].boxes(params["crop"], height, width), 1).tolist()
    worst = 0.0
    for i in range(n):
        channel = images[i, i % 3].double().div(255).tolist()
        for row, column in itertools.product(range(size), repeat=2):
            x, y, weight = source_of(
                row, column, size, (height, width), order,
                boxes[i], params["rotation"].angle[i].item(), bool(params["flip"].applied[i]),
            )  # fmt: skip
            expected = weight * bilinear(channel, x, y)
            worst = max(worst, abs(ours[i, i % 3, row, column].item() - expected))
    assert worst < 1e-5


def test_each_operation_is_drawn_for_its_share_of_the_images():
    shares = {
        "crop": 0.9,
        "rotation": 0.25,
        "flip": 0.5,
        "blur": 0.1,
        "color_jitter": 0.8,
        "grayscale": 0.01,
    }
    config = AugmentConfig(
        crop=CropConfig(p=shares["crop"]),
        rotation=RotationConfig(p=shares["rotation"]),
        flip=FlipConfig(enabled=True, p=shares["flip"]),
        blur=BlurConfig(p=shares["blur"]),
        color_jitter=ColorJitterConfig(p=shares["color_jitter"]),
        grayscale=GrayscaleConfig(enabled=True, p=shares["grayscale"]),
    )
    params = many_params(config)
    happened = {
        name: params[name].angle != 0 if name == "rotation" else params[name].applied
        for name in shares
    }
    for name, share in shares.items():
        count = int(happened[name].sum())
        assert stats.binomtest(count, MANY, share).pvalue > RARE, name


def all_parameters(params):
    """(N, D): what decides over each image, as far as it was drawn apart."""
    crop, blur, jitter = params["crop"], params["blur"], params["color_jitter"]
    columns = [crop.area[:, 0], crop.ratio[:, 0].log(), crop.top, crop.left, crop.applied]
    columns += [params["rotation"].angle, params["flip"].applied, blur.applied, blur.sigma]
    columns += [jitter.applied, params["grayscale"].applied]
    columns += [*jitter.factors.T, jitter.order[:, 0] == 3]
    return torch.stack([column.double() for column in columns], dim=1)


def largest_correlation(a, b, *, same=False):
    a, b = (x - x.mean(0) for x in (a, b))
    matrix = (a / a.norm(dim=0)).T @ (b / b.norm(dim=0))
    if same:
        matrix = matrix - torch.eye(len(matrix))
    return matrix.abs().max().item()


def test_parameters_views_and_images_are_independent():
    values = all_parameters(many_params())
    half = MANY // 2
    bound = 4.5 / math.sqrt(half)
    assert largest_correlation(values, values, same=True) < bound  # the parameters of an image
    # the two views of a step are the two halves of one batch of parameters; neighbours in a batch
    assert largest_correlation(values[:half], values[half:]) < bound
    assert largest_correlation(values[:-1], values[1:]) < bound


def test_two_views_of_an_image_differ():
    images = pictures(64)
    augmenter, g = Augmenter(AugmentConfig()), generator()
    first, second = augmenter(images, g), augmenter(images, g)
    assert ((first - second).abs().amax(dim=(1, 2, 3)) > 0.05).all()
    copies = augmenter(images[:1].expand(32, -1, -1, -1), g)
    gaps = (copies.unsqueeze(0) - copies.unsqueeze(1)).abs().amax(dim=(2, 3, 4))
    assert (gaps + torch.eye(32) > 0.01).all()


def tensors_of(params):
    """Every tensor of the parameters, by the augmentation and its name there."""
    return {
        (name, field.name): getattr(values, field.name)
        for name, values in params.by_name.items()
        for field in dataclasses.fields(values)
    }


def test_the_same_seed_draws_the_same_and_leaves_the_default_generator_alone():
    images = pictures()
    augmenter = Augmenter(ALL)
    before = torch.get_rng_state()
    first = augmenter(images, generator(4))
    again = augmenter(images, generator(4))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, augmenter(images, generator(5)))
    torch.manual_seed(1)
    assert torch.equal(first, augmenter(images, generator(4)))
    torch.set_rng_state(before)


def test_parameters_can_be_replayed_moved_and_sliced():
    images = pictures(70)
    augmenter = Augmenter(ALL)
    params = augmenter.random_params(70, generator())
    assert len(params) == 70
    full = augmenter.apply(images, params)
    assert torch.equal(augmenter.apply(images, params), full)
    assert torch.equal(augmenter.apply(images, params.to("cpu")), full)
    mask = torch.arange(70) % 3 == 0
    for rows in (slice(10, 20), torch.tensor([69, 0, 33]), mask, slice(0, 0)):
        part = params.take(rows)
        assert len(part) == len(images[rows])
        assert torch.allclose(augmenter.apply(images[rows], part), full[rows], atol=1e-6)
        assert all(torch.equal(v, tensors_of(params)[k][rows]) for k, v in tensors_of(part).items())
    moved = params.to("meta")
    assert all(value.device.type == "meta" for value in tensors_of(moved).values())


def test_parameters_do_not_depend_on_the_images():
    augmenter = Augmenter(ALL)
    params = augmenter.random_params(10, generator())
    augmenter.apply(pictures(10, 48, 20), params)
    augmenter.apply(pictures(10), params)
    again = augmenter.random_params(10, generator())
    assert all(torch.equal(tensors_of(params)[k], v) for k, v in tensors_of(again).items())


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_switching_one_operation_off_leaves_the_others_parameters(name):
    type_ = AUGMENTATIONS[name].settings
    assert type_ is not None
    every = {part: getattr(ALL, part) for part in ALL.__struct_fields__}
    without = AugmentConfig(**every | {name: type_(enabled=False)})
    a = tensors_of(Augmenter(ALL).random_params(100, generator()))
    b = tensors_of(Augmenter(without).random_params(100, generator()))
    assert all(torch.equal(a[key], b[key]) for key in a if key[0] != name)
    happens = (name, "angle" if name == "rotation" else "applied")
    assert a[happens].any()
    assert not b[happens].any()


@pytest.mark.parametrize("n", [1, 63, 64, 65, 130])
@pytest.mark.parametrize("config", [AugmentConfig(), ALL], ids=["default", "all"])
def test_dense_and_subset_paths_agree(config, n):
    augmenter = Augmenter(config)
    params = augmenter.random_params(n, generator(n))
    subsets = augmenter.apply(pictures(n), params, dense=False)
    dense = augmenter.apply(pictures(n), params, dense=True)
    assert (subsets - dense).abs().max() < 2e-6


def test_subset_path_agrees_for_every_subset_and_order():
    """From no image to every image, in every order of the colour operations."""
    n = 24
    images = pictures(n)
    augmenter = Augmenter(ALL)
    orders = torch.tensor(list(itertools.permutations(range(4))))
    for mask in (torch.zeros(n), torch.ones(n), torch.arange(n) == 7, torch.arange(n) % 2):
        drawn = mask.bool()
        params = augmenter.random_params(n, generator())
        for name in ("blur", "color_jitter", "grayscale"):
            params = params.replace(name, applied=drawn)
        params = params.replace("color_jitter", order=orders)
        subsets = augmenter.apply(images, params, dense=False)
        assert (subsets - augmenter.apply(images, params, dense=True)).abs().max() < 2e-6


@pytest.mark.parametrize(
    "order", list(itertools.permutations(("blur", "color_jitter", "grayscale")))
)
def test_photometric_operations_follow_the_order_of_the_configuration(order):
    images = pictures()
    parts = {
        "blur": BlurConfig(p=1.0),
        "color_jitter": ColorJitterConfig(p=1.0, saturation=0.8),
        "grayscale": GrayscaleConfig(enabled=True, p=1.0),
    }
    config = only(order=("crop", "rotation", "flip", *order), **parts)
    augmenter = Augmenter(config)
    params = augmenter.random_params(len(images), generator())
    together = augmenter.apply(images, params)
    step_by_step = to_float(images)
    for name in order:
        step_by_step = Augmenter(only(**{name: parts[name]})).apply(step_by_step, params)
    assert torch.allclose(together, step_by_step, atol=1e-6)
    assert (together.amax(1) - together.amin(1)).max() < 1e-6  # gray stays gray


def test_everything_off_is_the_identity_in_a_new_tensor():
    images = pictures()
    result = Augmenter(OFF)(images, generator())
    assert torch.equal(result, images.float() / 255)
    floats = images.float() / 255
    result = Augmenter(OFF)(floats, generator())
    assert torch.equal(result, floats)
    result.zero_()
    assert floats.any()
    assert Augmenter(OFF)(floats.double(), generator()).dtype == torch.float32


def test_everything_enabled_and_never_drawn_is_the_identity():
    never = AugmentConfig(
        crop=CropConfig(p=0.0),
        rotation=RotationConfig(p=0.0),
        flip=FlipConfig(enabled=True, p=0.0),
        blur=BlurConfig(p=0.0),
        color_jitter=ColorJitterConfig(p=0.0),
        grayscale=GrayscaleConfig(enabled=True, p=0.0),
    )
    images = pictures(100)
    for dense in (False, True):
        augmenter = Augmenter(never)
        result = augmenter.apply(images, augmenter.random_params(100, generator()), dense=dense)
        assert (result - to_float(images)).abs().max() < 5e-6


def test_everything_always_drawn():
    always = AugmentConfig(
        crop=CropConfig(p=1.0),
        rotation=RotationConfig(p=1.0),
        flip=FlipConfig(enabled=True, p=1.0),
        blur=BlurConfig(p=1.0),
        color_jitter=ColorJitterConfig(p=1.0),
        grayscale=GrayscaleConfig(enabled=True, p=1.0),
    )
    params = Augmenter(always).random_params(MANY, generator())
    for name in ("crop", "flip", "blur", "color_jitter", "grayscale"):
        assert params[name].applied.all()


def test_strength_of_zero_changes_nothing():
    weakest = AugmentConfig(
        crop=CropConfig(scale_min=1.0, ratio_min=1.0, ratio_max=1.0),
        rotation=RotationConfig(degrees=0.0),
        blur=BlurConfig(enabled=False),
        color_jitter=ColorJitterConfig(
            p=1.0, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0
        ),
    )
    images = pictures(100)
    result = Augmenter(weakest)(images, generator())
    assert (result - to_float(images)).abs().max() < 5e-6


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("config", [AugmentConfig(), ALL, STRONGEST], ids=["default", "all", "max"])
@pytest.mark.parametrize(
    ("height", "width"), [(32, 32), (1, 1), (1, 50), (50, 1), (40, 24), (96, 96)]
)
def test_values_stay_in_range_for_any_size(config, height, width, dense):
    images = pictures(20, height, width).clone()
    images[0], images[1] = 0, 255
    augmenter = Augmenter(config)
    result = augmenter.apply(images, augmenter.random_params(20, generator()), dense=dense)
    assert result.shape == (20, 3, 32, 32)
    assert result.dtype == torch.float32
    assert result.isfinite().all()
    assert result.min() >= -1e-6
    assert result.max() <= 1 + 1e-6


@pytest.mark.parametrize("dense", [False, True])
def test_no_image_and_one_image(dense):
    augmenter = Augmenter(ALL)
    for n in (0, 1):
        images = pictures(1)[:n]
        result = augmenter.apply(images, augmenter.random_params(n, generator()), dense=dense)
        assert result.shape == (n, 3, 32, 32)
        assert result.dtype == torch.float32


def test_bytes_and_floats_give_the_same_and_are_not_written_to():
    images = pictures(70)
    kept = images.clone()
    floats = images.float() / 255
    kept_floats = floats.clone()
    augmenter = Augmenter(ALL)
    params = augmenter.random_params(70, generator())
    from_bytes = augmenter.apply(images, params)
    from_floats = augmenter.apply(floats, params)
    assert torch.allclose(from_bytes, from_floats, atol=1e-6)
    assert torch.equal(images, kept)
    assert torch.equal(floats, kept_floats)


def test_memory_layout_of_the_input_does_not_matter():
    images = pictures(40)
    augmenter = Augmenter(ALL)
    params = augmenter.random_params(40, generator())
    expected = augmenter.apply(images, params)
    last = images.contiguous(memory_format=torch.channels_last)
    assert torch.allclose(augmenter.apply(last, params), expected, atol=1e-6)
    every_other = pictures(40).repeat_interleave(2, dim=0)[::2]
    assert torch.allclose(augmenter.apply(every_other, params), expected, atol=1e-6)


def test_shapes_that_do_not_fit_are_refused():
    augmenter = Augmenter(ALL)
    params = augmenter.random_params(4, generator())
    for images in (pictures(5), pictures(4)[0], pictures(4)[:, :1]):
        with pytest.raises(ValueError, match="do not fit"):
            augmenter.apply(images, params)


def test_a_border_is_repeated_also_where_the_device_cannot():
    """Far outside, on the edge, and between the centres of the outermost pixels and the edge."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(5, 3, 7, 11, generator=generator)
    grid = torch.rand(5, 9, 8, 2, generator=generator) * 3.0 - 1.5
    grid[0, 0, :, 0] = torch.tensor([-1.0, 1.0, -1.0 + 1 / 11, 1.0 - 1 / 11, -0.99, 0.99, 2.0, 0.0])
    ours = sample_repeating_border(images, grid.clone(), native=False)
    native = sample_repeating_border(images, grid, native=True)
    torch.testing.assert_close(ours, native, rtol=0, atol=1e-5)
    assert (grid.abs() > 1.0).any()


def test_normalise():
    images = torch.rand((5, 3, 8, 8), generator=generator())
    mean, std = torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0.2, 1.0, 0.05])
    result = normalise(images, mean, std)
    for c in range(3):
        expected = (images[:, c].double() - mean[c].double()) / std[c].double()
        assert torch.allclose(result[:, c].double(), expected, atol=1e-5)
    assert torch.equal(to_float(torch.tensor([0, 51, 255], dtype=torch.uint8)),
                       torch.tensor([0.0, 0.2, 1.0]))  # fmt: skip


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("config", [AugmentConfig(), ALL, STRONGEST], ids=["default", "all", "max"])
def test_parameters_replayed_on_the_gpu(config):
    images = pictures(200)
    augmenter = Augmenter(config)
    params = augmenter.random_params(200, generator())
    here = augmenter.apply(images, params)
    there = augmenter.apply(images.cuda(), params.to("cuda"))
    gap = (here - there.cpu()).abs()
    # an edge of the rotated frame or a tie of hues may fall to the other side by a rounding
    assert gap.quantile(0.9999) < 1e-4
    assert gap.mean() < 1e-5


@pytest.mark.gpu
@needs_gpu
def test_no_host_synchronisation_on_the_gpu():
    images = pictures(64).cuda()
    augmenter = Augmenter(ALL)
    g = torch.Generator("cuda").manual_seed(0)
    augmenter(images, g)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        augmenter(images, g)
    finally:
        torch.cuda.set_sync_debug_mode("default")
