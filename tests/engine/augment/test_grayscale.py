import pytest
import torch

from engine.augment.augmenter import Augmenter, to_float
from engine.config.augment.grayscale import GrayscaleConfig

from .augment_cases import generator, only, pictures


@pytest.mark.parametrize("dense", [False, True])
def test_chosen_images_have_three_equal_channels_and_the_others_keep_theirs(dense):
    images = pictures()
    augmenter = Augmenter(only(grayscale=GrayscaleConfig(enabled=True)))
    applied = torch.arange(len(images)) % 3 == 0
    params = augmenter.random_params(len(images), generator()).replace("grayscale", applied=applied)
    result = augmenter.apply(images, params, dense=dense)
    red, green, blue = images[applied].double().div(255).unbind(1)
    gray = 0.2989 * red + 0.587 * green + 0.114 * blue
    assert torch.allclose(result[applied].double(), gray.unsqueeze(1).expand(-1, 3, -1, -1))
    assert torch.equal(result[~applied], to_float(images[~applied]))
