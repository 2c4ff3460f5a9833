import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms import RandomResizedCrop

from engine.augment.augmenter import Augmenter
from engine.config.augment.crop import CropConfig

from .augment_cases import RARE, generator, many_params, only


def test_a_crop_never_shows_what_lies_beside_it():
    images = torch.zeros((64, 3, 32, 32))
    config = only(crop=CropConfig(scale_max=0.5))
    augmenter = Augmenter(config)
    params = augmenter.random_params(64, generator())
    boxes = torch.stack(augmenter["crop"].boxes(params["crop"], 32, 32), 1).int().tolist()
    for image, (top, left, height, width) in zip(images, boxes, strict=True):
        image.fill_(1.0)
        image[:, top : top + height, left : left + width] = 0.25
    assert (augmenter.apply(images, params) - 0.25).abs().max() < 1e-6


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
    ours = Augmenter(config)["crop"].boxes(many_params(config)["crop"], height, width)
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
        boxes = Augmenter(config)["crop"].boxes(many_params(config, 50)["crop"], height, width)
        top, left, box_height, box_width = boxes
        assert (box_height >= 1).all()
        assert (box_width >= 1).all()
        assert (top + box_height <= height).all()
        assert (left + box_width <= width).all()
