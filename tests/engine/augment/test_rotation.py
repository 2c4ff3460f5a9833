import pytest
import torch

from engine.augment.augmenter import Augmenter
from engine.config.augment.rotation import RotationConfig

from .augment_cases import RARE, generator, many_params, only, uniform_p


def test_rotation_brings_in_black_and_flip_mirrors():
    white = torch.ones((1, 3, 32, 32))
    augmenter = Augmenter(only(rotation=RotationConfig()))
    params = augmenter.random_params(1, generator())
    params = params.replace("rotation", angle=torch.tensor([45.0]))
    corners = augmenter.apply(white, params)[0, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == 0).all()
    # a bright upper left corner goes down the left side: counter-clockwise
    marked = torch.zeros((1, 3, 32, 32))
    marked[..., :8, :8] = 1.0
    params = params.replace("rotation", angle=torch.tensor([90.0]))
    turned = augmenter.apply(marked, params)
    assert turned[0, 0, -4, 4] == pytest.approx(1.0)
    assert turned[0, 0, 4, 4] == pytest.approx(0.0, abs=1e-6)


def test_angles_are_uniform_either_way():
    angle = many_params(only(rotation=RotationConfig(degrees=30.0)))["rotation"].angle
    assert uniform_p(angle, -30.0, 30.0) > RARE
    assert angle.abs().max() > 29.9
    full = many_params(only(rotation=RotationConfig()))["rotation"].angle
    assert uniform_p(full, -180.0, 180.0) > RARE
