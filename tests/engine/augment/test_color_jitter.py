import itertools

import torch
from scipy import stats

from engine.augment.augmenter import Augmenter
from engine.config.augment.blur import BlurConfig
from engine.config.augment.color_jitter import ColorJitterConfig
from engine.config.augment.grayscale import GrayscaleConfig

from .augment_cases import RARE, generator, many_params, only, pictures, uniform_p


def test_strengths_are_uniform_in_their_ranges():
    config = only(
        color_jitter=ColorJitterConfig(brightness=0.1, contrast=0.2, saturation=0.9, hue=0.4)
    )
    factors = many_params(config)["color_jitter"].factors
    for kind, (low, high) in enumerate([(0.9, 1.1), (0.8, 1.2), (0.1, 1.9), (-0.4, 0.4)]):
        assert uniform_p(factors[:, kind], low, high) > RARE


def test_all_orders_of_the_colour_operations_are_equally_likely():
    orders = many_params()["color_jitter"].order
    assert (orders.sort(dim=1).values == torch.arange(4)).all()
    codes = (orders * torch.tensor([64, 16, 4, 1])).sum(1)
    counts = torch.unique(codes, return_counts=True)[1]
    assert len(counts) == 24
    assert stats.chisquare(counts.numpy()).pvalue > RARE


def test_place_of_the_colour_operation_matters():
    """Colour does not commute with blur (it clamps) nor with gray; blur and gray do."""
    images = pictures()
    results: dict[frozenset[str], list[torch.Tensor]] = {}
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
