import torch

from engine.augment.augmenter import Augmenter, to_float
from engine.config.augment.flip import FlipConfig

from .augment_cases import generator, only, pictures


def test_chosen_images_are_mirrored_and_the_others_left_alone():
    images = pictures()
    augmenter = Augmenter(only(flip=FlipConfig(enabled=True)))
    applied = torch.arange(len(images)) % 3 == 0
    params = augmenter.random_params(len(images), generator()).replace("flip", applied=applied)
    result = augmenter.apply(images, params)
    expected = torch.where(applied.view(-1, 1, 1, 1), images.flip(3), images)
    assert torch.allclose(result, to_float(expected), atol=5e-6)
