import inspect

import torch
from torchvision import transforms

from engine.config.heads.linear import LinearConfig
from engine.evaluate.features import Standardiser
from engine.probe.augmented_views import (
    CACHE_BYTES,
    LIGHT_AUGMENT,
    Views,
    affordable_views,
    augmented_features,
    light_augment,
)


def test_views_fit_the_cache():
    assert affordable_views(10, 5000, 512) == 10
    assert affordable_views(10, 25_000, 3072) == CACHE_BYTES // (4 * 25_000 * 3072) == 3
    assert affordable_views(10, 10**6, 10**4) == 1


def test_augmented_features_are_drawn_anew_for_each_view_from_a_generator_of_their_own():
    g = torch.Generator().manual_seed(0)
    images = torch.randint(256, (6, 3, 32, 32), generator=g, dtype=torch.uint8)
    state = torch.get_rng_state()
    got = augmented_features(lambda x: x.flatten(1), images, torch.arange(6), views=3, seed=1)
    assert torch.equal(state, torch.get_rng_state())
    assert got.shape == (3, 6, 3072)
    assert float(got.min()) >= 0.0
    assert float(got.max()) <= 1.0
    assert len({tuple(row.tolist()) for row in got.view(18, -1)}) == 18
    # a crop and a flip make no colours: each value lies within the image's own range
    low, high = images.flatten(1).amin(1) / 255, images.flatten(1).amax(1) / 255
    assert bool((got.amin(2) >= low - 1e-6).all())
    assert bool((got.amax(2) <= high + 1e-6).all())
    again = augmented_features(lambda x: x.flatten(1), images, torch.arange(6), views=3, seed=1)
    other = augmented_features(lambda x: x.flatten(1), images, torch.arange(6), views=3, seed=2)
    assert torch.equal(got, again)
    assert not torch.equal(got, other)


def test_the_views_of_an_image_do_not_depend_on_which_others_are_asked_for(monkeypatch):
    monkeypatch.setattr("engine.probe.augmented_views._DRAWN", 4)  # drawn in three parts
    g = torch.Generator().manual_seed(0)
    images = torch.randint(256, (10, 3, 32, 32), generator=g, dtype=torch.uint8)
    everything = torch.arange(10)
    whole = augmented_features(lambda x: x.flatten(1), images, everything, views=2, seed=1)
    for rows in ([0], [3, 4, 9], [8, 9], [0, 1, 2, 3, 5, 7]):
        some = augmented_features(
            lambda x: x.flatten(1), images, torch.tensor(rows), views=2, seed=1
        )
        torch.testing.assert_close(some, whole[:, rows], rtol=0, atol=1e-6)


def test_views_are_standardised_like_the_images_wherever_they_are_kept():
    g = torch.Generator().manual_seed(0)
    kept = 3.0 + 5.0 * torch.randn(2, 30, 7, generator=g)
    rows = torch.tensor([1, 4, 5, 20, 29])
    features = kept[0][rows]
    standardise = Standardiser.fit(features)
    views = Views.standardised(kept, rows, standardise)
    before = kept.clone()
    some = torch.tensor([4, 0, 2])
    for view in (0, 1):
        expected = standardise(kept[view][rows[some]])
        torch.testing.assert_close(views.batch(view, some), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(kept, before)
    assert (len(views), views.width) == (2, 7)


def test_views_are_those_of_the_linear_protocol():
    """``main_lincls.py`` of facebookresearch/moco: torchvision's RandomResizedCrop, and a flip."""
    default = inspect.signature(transforms.RandomResizedCrop).parameters
    on = {name for name in LIGHT_AUGMENT.order if getattr(LIGHT_AUGMENT, name).enabled}
    assert on == {"crop", "flip"}
    crop = LIGHT_AUGMENT.crop
    assert (crop.scale_min, crop.scale_max) == default["scale"].default
    assert (crop.ratio_min, crop.ratio_max) == default["ratio"].default
    assert light_augment(LinearConfig().crop_min) == LIGHT_AUGMENT


def test_the_smallest_crop_of_a_view_is_the_one_that_is_asked_for():
    """A crop of a ramp spans a share of its values that no smaller crop could span."""
    ramp = torch.arange(32, dtype=torch.uint8).mul(8).expand(400, 3, 32, 32).contiguous()

    def least(crop_min):
        made = augmented_features(
            lambda x: x.flatten(1), ramp, torch.arange(400), views=1, seed=1,
            augment=light_augment(crop_min),
        )[0].view(400, 3, 32, 32)  # fmt: skip
        span = (made.amax((1, 2, 3)) - made.amin((1, 2, 3))) * 255 / 8 / 32  # share of the width
        return float(span.min())

    # The width of a crop is at least the root of its area times 3/4, less a pixel for the edges.
    assert least(0.8) > (0.8 * 0.75) ** 0.5 - 2 / 32
    assert least(0.08) < 0.45
