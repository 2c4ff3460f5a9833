"""What follows the size of the images, and what a person named stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.config.fields import difference, flatten
from engine.config.models.convnet import feature_width
from engine.config.presets import PRESETS
from engine.config.resolve import resolve, to_toml
from engine.config.schema import PretrainConfig, ProbeConfig, StudyConfig
from engine.config.size_defaults import blur_kernel
from engine.errors import ConfigError


def filled(*sets: str, **options: Any) -> dict[str, Any]:
    """What differs from the defaults, but for what was typed."""
    config = resolve(PretrainConfig, sets=sets, **options)
    typed = {text.partition("=")[0] for text in sets}
    found = difference(config, PretrainConfig())
    return {key: value for key, value in found.items() if key not in typed}


@pytest.mark.parametrize(
    ("size", "kernel"), [(32, 3), (48, 5), (64, 7), (96, 9), (160, 17), (224, 23)]
)
def test_the_kernel_of_the_blur_is_a_tenth_as_simclr_has_it(size: int, kernel: int) -> None:
    radius = int((size // 10) / 2)  # google-research/simclr, data_util.gaussian_blur
    assert blur_kernel(size) == radius * 2 + 1 == kernel


@pytest.mark.parametrize("source", ["cifar10", "cifar100", "svhn", "shapes", "folder:/x"])
@pytest.mark.parametrize("sized", [(), ("data.image_size=32",), ("data.image_size=0",)])
def test_at_32_pixels_nothing_changes(source: str, sized: tuple[str, ...]) -> None:
    assert filled(f"data.source={source}", *sized) == {}
    for name in PRESETS:
        sets = (f"data.source={source}", "model.encoder=resnet18", *sized)
        config = resolve(PretrainConfig, preset_name=name, sets=sets)
        named = PRESETS[name].values.get("augment.crop.scale_min", 0.08)
        assert (config.model.stem, config.augment.crop.scale_min) == ("cifar", named)


def test_from_96_pixels_on_the_recipe_is_that_of_imagenet() -> None:
    assert filled("model.encoder=resnet50", "data.image_size=95") == {"augment.blur.kernel_size": 9}
    assert filled("model.encoder=resnet50", "data.image_size=96") == {
        "augment.blur.kernel_size": 9,
        "augment.crop.scale_min": 0.2,
        "model.stem": "imagenet",
    }
    # a convnet has no stem, and a resnet averages over all places itself
    assert "model.stem" not in filled("data.image_size=224")
    assert "model.feature_side" not in filled("model.encoder=resnet18", "data.image_size=224")


@pytest.mark.parametrize(("size", "side"), [(33, 0), (37, 0), (38, 2), (64, 2), (224, 2)])
def test_a_convnet_makes_as_many_features_of_larger_images(size: int, side: int) -> None:
    config = resolve(PretrainConfig, sets=(f"data.image_size={size}",))
    assert config.model.feature_side == side
    assert feature_width(size, config.model.feature_side) == 512
    named = resolve(PretrainConfig, sets=(f"data.image_size={size}", "model.feature_side=0"))
    assert named.model.feature_side == 0
    own = resolve(PretrainConfig, sets=("data.image_size=64", "model.encoder=my.nets:Net"))
    assert own.model.feature_side == 0


def test_more_places_than_there_are_is_one_sentence() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(PretrainConfig, sets=("data.image_size=64", "model.feature_side=7"))
    assert str(caught.value) == (
        "model.feature_side is 7, but the convnet's last block has 6 x 6 places at 64 pixels; it "
        "must be at most 6, or 0 for all of them."
    )
    assert resolve(PretrainConfig, sets=("model.feature_side=2",)).model.feature_side == 2


def test_a_head_of_too_many_weights_is_one_sentence() -> None:
    """26 x 26 x 128 features of 224 pixels, where every place makes features."""
    every = ("data.image_size=224", "model.feature_side=0")
    with pytest.raises(ConfigError) as caught:
        resolve(PretrainConfig, sets=(*every, "model.mlp_head=true"))
    assert str(caught.value) == (
        "model.mlp_head makes a layer of 86,528 x 86,528 weights of the convnet's features at 224 "
        "pixels, more than is of use; averages (model.feature_side 2), one linear layer "
        "(model.mlp_head false) or a resnet must be taken."
    )
    with pytest.raises(ConfigError, match=r"model\.dim is 8192.* 86,528 x 8,192 weights"):
        resolve(PretrainConfig, sets=(*every, "model.dim=8192"))
    resolve(PretrainConfig, sets=("data.image_size=224", "model.mlp_head=true", "model.dim=8192"))


def test_the_size_of_a_set_counts_and_is_recorded() -> None:
    assert filled("data.source=stl10", "model.encoder=resnet18") == {
        "data.image_size": 96,
        "augment.blur.kernel_size": 9,
        "augment.crop.scale_min": 0.2,
        "model.stem": "imagenet",
    }
    assert filled("data.source=stl10", "data.image_size=32") == {}


def test_what_is_named_stays(tmp_path: Path) -> None:
    named = ("model.stem=cifar", "augment.crop.scale_min=0.08", "augment.blur.kernel_size=3")
    assert filled("data.image_size=224", "model.encoder=resnet18", *named) == {}
    # as the tail of a key, by a preset, by a file
    assert filled("data.source=stl10", "kernel_size=5")["augment.blur.kernel_size"] == 5
    file = tmp_path / "x.toml"
    file.write_text("[augment.blur]\nkernel_size = 15\n")
    assert filled("data.image_size=224", toml=file)["augment.blur.kernel_size"] == 15
    # a crop that is at most smaller than that
    assert "augment.crop.scale_min" not in filled(
        "data.image_size=224", "augment.crop.scale_max=0.1"
    )


def test_a_whole_file_is_taken_as_it_is(tmp_path: Path) -> None:
    config = resolve(PretrainConfig, sets=("data.source=stl10", "model.encoder=resnet18"))
    file = tmp_path / "x.toml"
    file.write_text(to_toml(config))
    assert resolve(PretrainConfig, toml=file) == config


def test_in_a_study_they_follow_its_pretraining() -> None:
    config = resolve(StudyConfig, sets=("pretrain.data.source=imagenette",))
    assert config.pretrain.data.image_size == 160
    assert config.pretrain.augment.blur.kernel_size == 17
    usual = flatten(resolve(StudyConfig))
    fractions = {"label_fractions": usual["label_fractions"]}  # follow the data set's labels
    assert usual == flatten(StudyConfig()) | fractions
    assert resolve(ProbeConfig) == ProbeConfig()


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ("20", "data.image_size is 20; it must be from 32 to 224 pixels, or 0 for the set's own."),
        (
            "500",
            "data.image_size is 500; it must be from 32 to 224 pixels, or 0 for the set's own.",
        ),
        ("-1", "data.image_size is -1; it must be a whole number of at least 0."),
        ("large", "data.image_size is large; it must be a whole number of at least 0."),
    ],
)
def test_a_wrong_size_is_one_sentence(size: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(PretrainConfig, sets=(f"data.image_size={size}",))
    assert str(caught.value).startswith(said)
