"""An augmentation of the user's own: what it has to be, and what it is given."""

import copy
from pathlib import Path

import pytest
import torch

from engine.augment.augmenter import Augmenter
from engine.augment.native_augmenter import NativeAugmenter
from engine.config import own_code
from engine.config.augment import AUGMENTATIONS
from engine.config.resolve import build, resolve
from engine.config.schema import PretrainConfig
from engine.errors import ConfigError
from engine.pretrain.groupwise_step import GroupwiseStep
from engine.pretrain.pretraining import Pretraining
from engine.seeds import stream_seed

from ..tiny import RUNTIME, config_with, noise
from .augment_cases import generator, pictures

OWN = """
import torch

class Clip:
    numbers = 2
    def params(self, uniform):
        return torch.where(uniform[:, 0] < 0.5, uniform[:, 1], 1.0)
    def apply(self, images, params):
        return images.minimum(params.view(-1, 1, 1, 1))

def invert():
    class Invert(Clip):
        numbers = 1
        def params(self, uniform):
            return {"applied": uniform[:, 0] < 0.5}
        def apply(self, images, params):
            return torch.where(params["applied"].view(-1, 1, 1, 1), 1.0 - images, images)
    return Invert()

not_callable = 3
def nothing():
    return None
class NoNumbers(Clip):
    numbers = 0
class OneParameter(Clip):
    def params(self, uniform):
        return uniform[:1]
class NoTensors(Clip):
    def params(self, uniform):
        return "abc"
class Smaller(Clip):
    def apply(self, images, params):
        return images[..., :16]
class Doubles(Clip):
    def apply(self, images, params):
        return images.double()
class NoResult(Clip):
    def apply(self, images, params):
        images.zero_()
class Breaks(Clip):
    def apply(self, images, params):
        raise RuntimeError("not today")
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(own_code, "_named", set())
    return name


def order_with(*paths: str) -> str:
    return f"augment.order={','.join((*AUGMENTATIONS, *paths))}"


def test_it_is_applied_at_its_place_with_numbers_of_its_own(module: str) -> None:
    order = ("crop", "rotation", "flip", f"{module}:Clip", "blur", "color_jitter", "grayscale")
    config = resolve(PretrainConfig, sets=[f"augment.order={','.join(order)}"]).augment
    augmenter = Augmenter(config)
    assert augmenter.names == order
    assert augmenter.own_streams == {f"{module}:Clip": 2}
    assert not NativeAugmenter.can_take(augmenter)
    images = pictures(100)
    params = augmenter.random_params(100, generator())
    thresholds = params[f"{module}:Clip"]
    assert 20 < (thresholds < 1).sum() < 80
    # its neighbours blur and jitter afterwards: without them its work is bare
    off = ["blur.enabled=off", "color_jitter.enabled=off"]
    bare = resolve(PretrainConfig, sets=[order_with(f"{module}:Clip"), *off]).augment
    plain = resolve(PretrainConfig, sets=off).augment
    without = Augmenter(plain).apply(images, Augmenter(plain).random_params(100, generator()))
    clipped = Augmenter(bare).apply(images, Augmenter(bare).random_params(100, generator()))
    assert torch.equal(clipped, without.minimum(thresholds.view(-1, 1, 1, 1)))


def test_the_shared_stream_stays_as_it_was(module: str) -> None:
    config = resolve(
        PretrainConfig, sets=[order_with(f"{module}:Clip", f"{module}:invert")]
    ).augment
    one, other = generator(), generator()
    own = {f"{module}:Clip": generator(1), f"{module}:invert": generator(2)}
    ours = Augmenter(config).uniform_numbers(9, one, own)
    theirs = Augmenter(PretrainConfig().augment).uniform_numbers(9, other)
    assert ours.shape == (9, 38 + 2 + 1)
    assert torch.equal(ours[:, :38], theirs)
    assert torch.equal(one.get_state(), other.get_state())
    assert torch.equal(ours[:, 38:40], torch.rand((9, 2), generator=generator(1)))
    assert torch.equal(ours[:, 40:], torch.rand((9, 1), generator=generator(2)))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing", "has no missing"),
        ("not_callable", "must be a class, or a function"),
        ("nothing", "must have a method params"),
        ("NoNumbers", "its numbers is 0; it must be a whole number from 1 on"),
        ("OneParameter", "of 3 images they have 1"),
        ("NoTensors", "str is no tensor"),
        ("Smaller", "gives float32 (2, 3, 32, 16) for images of float32 (2, 3, 32, 32)"),
        ("Doubles", "gives float64 (2, 3, 32, 32)"),
        ("NoResult", "gives NoneType; it must give a tensor"),
        ("Breaks", "fails on a few gray images (RuntimeError: not today)"),
    ],
)
def test_what_does_not_fit_gets_one_sentence(module: str, name: str, said: str) -> None:
    config = resolve(PretrainConfig, sets=[order_with(f"{module}:{name}")])
    with pytest.raises(ConfigError) as caught:
        Augmenter(config.augment)
    assert said in str(caught.value)
    assert f"{module}:{name}" in str(caught.value)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
    assert caught.value.key == "augment.order"


def test_a_path_that_nobody_named_is_not_imported(module: str) -> None:
    config = build(PretrainConfig, {"augment.order": [*AUGMENTATIONS, f"{module}:Clip"]})
    with pytest.raises(ConfigError, match=f"--allow-code {module}:Clip"):
        Augmenter(config.augment)


def training(module: str, bn_splits: int = 2) -> Pretraining:
    path = f"{module}:invert"
    own_code.name_paths([path])
    config = config_with(augment__order=[*AUGMENTATIONS, path], model__bn_splits=bn_splits)
    return Pretraining(config, noise().train.images, RUNTIME)


def test_a_pretraining_applies_it_group_by_group_and_goes_on_after_a_checkpoint(
    module: str,
) -> None:
    one = training(module)
    assert one.compute_step.kind == "groupwise"
    losses = [float(one.advance()) for _ in range(2)]
    state = copy.deepcopy(one.state_dict())
    assert state["generators"]["augment_own"].keys() == {f"{module}:invert"}
    after = [float(one.advance()) for _ in range(2)]
    other = training(module)
    other.load_state_dict(state)
    assert [float(other.advance()) for _ in range(2)] == after
    plain = Pretraining(config_with(), noise().train.images, RUNTIME)
    assert losses[0] != float(plain.advance()), "it changes the views"
    for pretraining in (one, other, plain):
        pretraining.close()


def test_views_in_slices_are_those_of_the_whole_batch(module: str) -> None:
    """The groupwise step augments a few rows at a time, in several threads."""
    with_it = training(module)
    assert isinstance(with_it.compute_step, GroupwiseStep)
    images = noise().train.images
    views = torch.cat(with_it.compute_step.views(torch.arange(len(images))))
    augmenter = with_it.state.augmenter
    path = f"{module}:invert"
    numbers = augmenter.uniform_numbers(
        56,
        torch.Generator().manual_seed(stream_seed(0, "augment")),
        {path: torch.Generator().manual_seed(stream_seed(0, "augment", path))},
    )
    params = augmenter.params(numbers)
    whole = augmenter.apply(torch.cat([images, images]), params)
    mean, std = with_it.state.mean.view(1, 3, 1, 1), with_it.state.std.view(1, 3, 1, 1)
    assert torch.allclose(views, (whole - mean) / std, atol=1e-5)
    with_it.close()
