import pytest

from engine.augment.augmenter import Augmenter
from engine.config.augment.blur import BlurConfig
from engine.errors import ConfigError

from .augment_cases import RARE, many_params, only, uniform_p


def test_sigmas_are_uniform_in_their_range():
    params = many_params(only(blur=BlurConfig(sigma_min=0.3, sigma_max=1.7)))
    assert uniform_p(params["blur"].sigma, 0.3, 1.7) > RARE


def test_a_kernel_that_does_not_fit_the_image_is_refused():
    Augmenter(only(blur=BlurConfig(kernel_size=31)), size=16)
    with pytest.raises(ConfigError, match="at most 29") as caught:
        Augmenter(only(blur=BlurConfig(kernel_size=31)), size=15)
    assert caught.value.key == "augment.blur.kernel_size"
    Augmenter(only(), size=2)
