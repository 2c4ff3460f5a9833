import cmath
import dataclasses
import functools
import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms import RandomResizedCrop

from engine.augment.augmenter import Augmenter, normalise, to_float
from engine.config.schema import (
    AugmentConfig,
    BlurConfig,
    ColorJitterConfig,
    CropConfig,
    FlipConfig,
    GrayscaleConfig,
    RotationConfig,
)
from engine.errors import ConfigError

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
def many_draws(config=ALL, n=MANY, seed=0):
    return Augmenter(config).draw(n, generator(seed))


# ------------------------------------------------------- geometry against a loop in plain Python


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
    draw = augmenter.draw(n, generator(3))
    draw = dataclasses.replace(draw, flip=torch.tensor([True, False, True, False]))
    ours = augmenter.apply(images, draw).double()
    boxes = torch.stack(augmenter.crop_boxes(draw, height, width), 1).tolist()
    worst = 0.0
    for i in range(n):
        channel = images[i, i % 3].double().div(255).tolist()
        for row, column in itertools.product(range(size), repeat=2):
            x, y, weight = source_of(
                row, column, size, (height, width), order,
                boxes[i], draw.angle[i].item(), bool(draw.flip[i]),
            )  # fmt: skip
            expected = weight * bilinear(channel, x, y)
            worst = max(worst, abs(ours[i, i % 3, row, column].item() - expected))
    assert worst < 1e-5


def test_a_crop_never_shows_what_lies_beside_it():
    images = torch.zeros((64, 3, 32, 32))
    config = only(crop=CropConfig(scale_max=0.5))
    augmenter = Augmenter(config)
    draw = augmenter.draw(64, generator())
    boxes = torch.stack(augmenter.crop_boxes(draw, 32, 32), 1).int().tolist()
    for image, (top, left, height, width) in zip(images, boxes, strict=True):
        image.fill_(1.0)
        image[:, top : top + height, left : left + width] = 0.25
    assert (augmenter.apply(images, draw) - 0.25).abs().max() < 1e-6


def test_rotation_brings_in_black_and_flip_mirrors():
    white = torch.ones((1, 3, 32, 32))
    augmenter = Augmenter(only(rotation=RotationConfig()))
    draw = dataclasses.replace(augmenter.draw(1, generator()), angle=torch.tensor([45.0]))
    corners = augmenter.apply(white, draw)[0, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == 0).all()
    # a bright upper left corner goes down the left side: counter-clockwise
    marked = torch.zeros((1, 3, 32, 32))
    marked[..., :8, :8] = 1.0
    draw = dataclasses.replace(draw, angle=torch.tensor([90.0]))
    turned = augmenter.apply(marked, draw)
    assert turned[0, 0, -4, 4] == pytest.approx(1.0)
    assert turned[0, 0, 4, 4] == pytest.approx(0.0, abs=1e-6)


# -------------------------------------------------------------------------------- distributions


def uniform_p(values, low, high):
    return stats.kstest(values.double().numpy(), "uniform", args=(low, high - low)).pvalue


def test_angles_are_uniform_either_way():
    angle = many_draws(only(rotation=RotationConfig(degrees=30.0))).angle
    assert uniform_p(angle, -30.0, 30.0) > RARE
    assert angle.abs().max() > 29.9
    full = many_draws(only(rotation=RotationConfig())).angle
    assert uniform_p(full, -180.0, 180.0) > RARE


def test_strengths_are_uniform_in_their_ranges():
    config = only(
        blur=BlurConfig(sigma_min=0.3, sigma_max=1.7),
        color_jitter=ColorJitterConfig(brightness=0.1, contrast=0.2, saturation=0.9, hue=0.4),
    )
    draw = many_draws(config)
    assert uniform_p(draw.sigma, 0.3, 1.7) > RARE
    for kind, (low, high) in enumerate([(0.9, 1.1), (0.8, 1.2), (0.1, 1.9), (-0.4, 0.4)]):
        assert uniform_p(draw.factors[:, kind], low, high) > RARE


CROPS = [
    (32, 32, 0.2, 1.0, 3 / 4, 4 / 3),
    (32, 32, 0.08, 1.0, 0.5, 2.0),
    (24, 40, 0.5, 1.0, 3 / 4, 4 / 3),
    (12, 40, 0.9, 1.0, 3 / 4, 1.0),  # nothing fits: the central crop
]


@pytest.mark.parametrize(("height", "width", "least", "most", "narrow", "wide"), CROPS)
def test_crops_are_distributed_as_torchvisions(height, width, least, most, narrow, wide):
    n = 4000
    config = only(
        crop=CropConfig(scale_min=least, scale_max=most, ratio_min=narrow, ratio_max=wide)
    )
    ours = Augmenter(config).crop_boxes(many_draws(config), height, width)
    ours = torch.stack(ours).double().numpy()  # top, left, height, width
    image = torch.empty(3, height, width)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        theirs = np.array(
            [RandomResizedCrop.get_params(image, [least, most], [narrow, wide]) for _ in range(n)],
            dtype=np.float64,
        ).T
    for a, b in [
        (ours[2] * ours[3], theirs[2] * theirs[3]),
        (ours[3] / ours[2], theirs[3] / theirs[2]),
        (ours[0], theirs[0]),
        (ours[1], theirs[1]),
    ]:
        assert stats.ks_2samp(a, b).pvalue > RARE
    top, left, box_height, box_width = ours
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + box_height <= height).all()
    assert (left + box_width <= width).all()
    assert (ours == np.rint(ours)).all()


@pytest.mark.parametrize(("narrow", "wide"), [(0.01, 0.1), (3.0, 10.0)])
def test_a_crop_has_at_least_one_pixel_where_nothing_fits(narrow, wide):
    config = only(crop=CropConfig(scale_min=0.9, ratio_min=narrow, ratio_max=wide))
    for height, width in ((1, 1), (2, 3), (1, 9), (9, 1)):
        boxes = Augmenter(config).crop_boxes(many_draws(config, 50), height, width)
        top, left, box_height, box_width = boxes
        assert (box_height >= 1).all()
        assert (box_width >= 1).all()
        assert (top + box_height <= height).all()
        assert (left + box_width <= width).all()


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
    draw = many_draws(config)
    happened = {
        "crop": draw.crop, "rotation": draw.angle != 0, "flip": draw.flip, "blur": draw.blur,
        "color_jitter": draw.color_jitter, "grayscale": draw.grayscale,
    }  # fmt: skip
    for name, share in shares.items():
        count = int(happened[name].sum())
        assert stats.binomtest(count, MANY, share).pvalue > RARE, name


def test_all_orders_of_the_colour_operations_are_equally_likely():
    orders = many_draws().order
    assert (orders.sort(dim=1).values == torch.arange(4)).all()
    codes = (orders * torch.tensor([64, 16, 4, 1])).sum(1)
    counts = torch.unique(codes, return_counts=True)[1]
    assert len(counts) == 24
    assert stats.chisquare(counts.numpy()).pvalue > RARE


def all_parameters(draw):
    """(N, D): what decides over each image, as far as it was drawn apart."""
    columns = [draw.crop_area[:, 0], draw.crop_ratio[:, 0].log(), draw.crop_top, draw.crop_left]
    columns += [
        draw.crop,
        draw.angle,
        draw.flip,
        draw.blur,
        draw.sigma,
        draw.color_jitter,
        draw.grayscale,
    ]
    columns += [*draw.factors.T, draw.order[:, 0] == 3]
    return torch.stack([column.double() for column in columns], dim=1)


def largest_correlation(a, b, *, same=False):
    a, b = (x - x.mean(0) for x in (a, b))
    matrix = (a / a.norm(dim=0)).T @ (b / b.norm(dim=0))
    if same:
        matrix = matrix - torch.eye(len(matrix))
    return matrix.abs().max().item()


def test_parameters_views_and_images_are_independent():
    values = all_parameters(many_draws())
    half = MANY // 2
    bound = 4.5 / math.sqrt(half)
    assert largest_correlation(values, values, same=True) < bound  # the parameters of an image
    # the two views of a step are the two halves of one draw; neighbours in a batch
    assert largest_correlation(values[:half], values[half:]) < bound
    assert largest_correlation(values[:-1], values[1:]) < bound


def test_two_views_of_an_image_differ():
    images = pictures(64)
    augmenter, g = Augmenter(AugmentConfig()), generator()
    first, second = augmenter(images, g), augmenter(images, g)
    assert ((first - second).abs().amax(dim=(1, 2, 3)) > 0.05).all()
    twins = augmenter(images[:1].expand(32, -1, -1, -1), g)
    gaps = (twins.unsqueeze(0) - twins.unsqueeze(1)).abs().amax(dim=(2, 3, 4))
    assert (gaps + torch.eye(32) > 0.01).all()


# ----------------------------------------------------------------------- drawing and replaying


def fields_of(draw):
    return {f.name: getattr(draw, f.name) for f in dataclasses.fields(draw)}


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


def test_a_draw_can_be_replayed_moved_and_sliced():
    images = pictures(70)
    augmenter = Augmenter(ALL)
    draw = augmenter.draw(70, generator())
    assert len(draw) == 70
    full = augmenter.apply(images, draw)
    assert torch.equal(augmenter.apply(images, draw), full)
    assert torch.equal(augmenter.apply(images, draw.to("cpu")), full)
    mask = torch.arange(70) % 3 == 0
    for rows in (slice(10, 20), torch.tensor([69, 0, 33]), mask, slice(0, 0)):
        part = draw.index(rows)
        assert len(part) == len(images[rows])
        assert torch.allclose(augmenter.apply(images[rows], part), full[rows], atol=1e-6)
        assert all(
            torch.equal(v, fields_of(draw)[k][rows]) for k, v in fields_of(draw[rows]).items()
        )
    moved = draw.to("meta")
    assert all(value.device.type == "meta" for value in fields_of(moved).values())


def test_a_draw_does_not_depend_on_the_images():
    augmenter = Augmenter(ALL)
    draw = augmenter.draw(10, generator())
    augmenter.apply(pictures(10, 48, 20), draw)
    augmenter.apply(pictures(10), draw)
    again = augmenter.draw(10, generator())
    assert all(torch.equal(fields_of(draw)[k], v) for k, v in fields_of(again).items())


PARTS = {
    "crop": ({"crop", "crop_area", "crop_ratio", "crop_top", "crop_left"}, CropConfig),
    "rotation": ({"angle"}, RotationConfig),
    "flip": ({"flip"}, FlipConfig),
    "blur": ({"blur", "sigma"}, BlurConfig),
    "color_jitter": ({"color_jitter", "factors", "order"}, ColorJitterConfig),
    "grayscale": ({"grayscale"}, GrayscaleConfig),
}


@pytest.mark.parametrize("name", PARTS)
def test_switching_one_operation_off_leaves_the_others_draws(name):
    own, type_ = PARTS[name]
    every = {part: getattr(ALL, part) for part in ALL.__struct_fields__}
    without = AugmentConfig(**every | {name: type_(enabled=False)})
    a = fields_of(Augmenter(ALL).draw(100, generator()))
    b = fields_of(Augmenter(without).draw(100, generator()))
    assert all(torch.equal(a[key], b[key]) for key in a.keys() - own)
    happens = {"rotation": "angle"}.get(name, name)
    assert a[happens].any()
    assert not b[happens].any()


# ------------------------------------------------------------------------------------- applying


@pytest.mark.parametrize("n", [1, 63, 64, 65, 130])
@pytest.mark.parametrize("config", [AugmentConfig(), ALL], ids=["default", "all"])
def test_dense_and_subset_paths_agree(config, n):
    augmenter = Augmenter(config)
    draw = augmenter.draw(n, generator(n))
    subsets = augmenter.apply(pictures(n), draw, dense=False)
    dense = augmenter.apply(pictures(n), draw, dense=True)
    assert (subsets - dense).abs().max() < 2e-6


def test_subset_path_agrees_for_every_subset_and_order():
    """From no image to every image, in every order of the colour operations."""
    n = 24
    images = pictures(n)
    augmenter = Augmenter(ALL)
    orders = torch.tensor(list(itertools.permutations(range(4))))
    for mask in (torch.zeros(n), torch.ones(n), torch.arange(n) == 7, torch.arange(n) % 2):
        drawn = mask.bool()
        draw = augmenter.draw(n, generator())
        draw = dataclasses.replace(
            draw, order=orders, blur=drawn, color_jitter=drawn, grayscale=drawn
        )
        subsets = augmenter.apply(images, draw, dense=False)
        assert (subsets - augmenter.apply(images, draw, dense=True)).abs().max() < 2e-6


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
    draw = augmenter.draw(len(images), generator())
    together = augmenter.apply(images, draw)
    step_by_step = to_float(images)
    for name in order:
        step_by_step = Augmenter(only(**{name: parts[name]})).apply(step_by_step, draw)
    assert torch.allclose(together, step_by_step, atol=1e-6)
    assert (together.amax(1) - together.amin(1)).max() < 1e-6  # gray stays gray


def test_place_of_the_colour_operation_matters():
    """Colour does not commute with blur (it clamps) nor with gray; blur and gray do."""
    images = pictures()
    results = {}
    for order in itertools.permutations(("blur", "color_jitter", "grayscale")):
        config = only(
            order=("crop", "rotation", "flip", *order),
            blur=BlurConfig(p=1.0),
            color_jitter=ColorJitterConfig(p=1.0),
            grayscale=GrayscaleConfig(enabled=True, p=1.0),
        )
        before_color = frozenset(order[: order.index("color_jitter")])
        result = Augmenter(config)(images, generator())
        results.setdefault(before_color, []).append(result)
    for a, b in itertools.combinations(results.values(), 2):
        assert (a[0] - b[0]).abs().max() > 1e-3
    for same in results.values():
        assert (same[0] - same[-1]).abs().max() < 1e-5


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
        result = augmenter.apply(images, augmenter.draw(100, generator()), dense=dense)
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
    draw = Augmenter(always).draw(MANY, generator())
    for name in ("crop", "flip", "blur", "color_jitter", "grayscale"):
        assert getattr(draw, name).all()


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


STRONGEST = AugmentConfig(
    crop=CropConfig(scale_min=1e-6, ratio_min=0.01, ratio_max=10.0),
    rotation=RotationConfig(),
    flip=FlipConfig(enabled=True),
    blur=BlurConfig(p=1.0, sigma_min=1e-3, sigma_max=16.0, kernel_size=31),
    color_jitter=ColorJitterConfig(p=1.0, brightness=1.0, contrast=1.0, saturation=1.0, hue=0.5),
    grayscale=GrayscaleConfig(enabled=True),
)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("config", [AugmentConfig(), ALL, STRONGEST], ids=["default", "all", "max"])
@pytest.mark.parametrize(
    ("height", "width"), [(32, 32), (1, 1), (1, 50), (50, 1), (40, 24), (96, 96)]
)
def test_values_stay_in_range_for_any_size(config, height, width, dense):
    images = pictures(20, height, width).clone()
    images[0], images[1] = 0, 255
    augmenter = Augmenter(config)
    result = augmenter.apply(images, augmenter.draw(20, generator()), dense=dense)
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
        result = augmenter.apply(images, augmenter.draw(n, generator()), dense=dense)
        assert result.shape == (n, 3, 32, 32)
        assert result.dtype == torch.float32


def test_bytes_and_floats_give_the_same_and_are_not_written_to():
    images = pictures(70)
    kept = images.clone()
    floats = images.float() / 255
    kept_floats = floats.clone()
    augmenter = Augmenter(ALL)
    draw = augmenter.draw(70, generator())
    from_bytes = augmenter.apply(images, draw)
    from_floats = augmenter.apply(floats, draw)
    assert torch.allclose(from_bytes, from_floats, atol=1e-6)
    assert torch.equal(images, kept)
    assert torch.equal(floats, kept_floats)


def test_memory_layout_of_the_input_does_not_matter():
    images = pictures(40)
    augmenter = Augmenter(ALL)
    draw = augmenter.draw(40, generator())
    expected = augmenter.apply(images, draw)
    last = images.contiguous(memory_format=torch.channels_last)
    assert torch.allclose(augmenter.apply(last, draw), expected, atol=1e-6)
    every_other = pictures(40).repeat_interleave(2, dim=0)[::2]
    assert torch.allclose(augmenter.apply(every_other, draw), expected, atol=1e-6)


def test_shapes_that_do_not_fit_are_refused():
    augmenter = Augmenter(ALL)
    draw = augmenter.draw(4, generator())
    for images in (pictures(5), pictures(4)[0], pictures(4)[:, :1]):
        with pytest.raises(ValueError, match="do not fit"):
            augmenter.apply(images, draw)


def test_a_kernel_that_does_not_fit_the_image_is_refused():
    Augmenter(only(blur=BlurConfig(kernel_size=31)), size=16)
    with pytest.raises(ConfigError, match="at most 29") as caught:
        Augmenter(only(blur=BlurConfig(kernel_size=31)), size=15)
    assert caught.value.key == "augment.blur.kernel_size"
    Augmenter(only(), size=2)


def test_normalise():
    images = torch.rand((5, 3, 8, 8), generator=generator())
    mean, std = torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0.2, 1.0, 0.05])
    result = normalise(images, mean, std)
    for c in range(3):
        expected = (images[:, c].double() - mean[c].double()) / std[c].double()
        assert torch.allclose(result[:, c].double(), expected, atol=1e-5)
    assert torch.equal(to_float(torch.tensor([0, 51, 255], dtype=torch.uint8)),
                       torch.tensor([0.0, 0.2, 1.0]))  # fmt: skip


# ------------------------------------------------------------------------------------ on a GPU

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("config", [AugmentConfig(), ALL, STRONGEST], ids=["default", "all", "max"])
def test_a_draw_replayed_on_the_gpu(config):
    images = pictures(200)
    augmenter = Augmenter(config)
    draw = augmenter.draw(200, generator())
    here = augmenter.apply(images, draw)
    there = augmenter.apply(images.cuda(), draw.to("cuda"))
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
