"""Configurations: what is refused, with which sentence, and that texts survive the round trip."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config.fields import fields, flatten, nest
from engine.config.presets import (
    PRESETS,
    build,
    difference,
    expand_key,
    preset,
    problems,
    read_toml,
    resolve,
    to_toml,
)
from engine.config.schema import PretrainConfig, ProbeConfig
from engine.errors import ConfigError


def test_notebook_preset_has_the_notebooks_values() -> None:
    config = resolve(PretrainConfig, preset_name="notebook")
    assert config.model.encoder == "convnet"
    assert (config.model.dim, config.model.dropout, config.model.bn_splits) == (512, 0.3, 8)
    assert (config.moco.queue_size, config.moco.momentum, config.moco.temperature) == (
        4096,
        0.99,
        0.07,
    )
    assert config.moco.symmetric
    assert config.moco.shuffle_keys
    optim = config.optim
    assert (optim.lr, optim.sgd_momentum, optim.weight_decay) == (0.06, 0.9, 5e-4)
    assert (optim.batch_size, optim.epochs, optim.milestones) == (512, 2500, (120, 160))
    on = {
        name: getattr(config.augment, name).enabled
        for name in ("crop", "rotation", "blur", "color_jitter", "flip", "grayscale")
    }
    assert on == dict.fromkeys(("crop", "rotation", "blur", "color_jitter"), True) | dict.fromkeys(
        ("flip", "grayscale"), False
    )
    assert config.augment.rotation.degrees == 180.0


def test_published_recipe_has_no_blur_or_rotation() -> None:
    config = resolve(PretrainConfig, preset_name="resnet18-moco")
    assert config.model.encoder == "resnet18"
    assert (config.model.dim, config.moco.temperature, config.moco.queue_size) == (128, 0.1, 4096)
    assert config.augment.flip.enabled
    assert config.augment.grayscale.enabled
    assert not config.augment.blur.enabled
    assert not config.augment.rotation.enabled
    assert (config.optim.epochs, config.moco.symmetric) == (200, False)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid_and_survives_toml(name: str, tmp_path: Path) -> None:
    config = build(PretrainConfig, preset(name).values)
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config), encoding="utf-8")
    assert resolve(PretrainConfig, toml=path) == config
    assert difference(config, PretrainConfig()) == {
        key: value
        for key, value in preset(name).values.items()
        if value != flatten(PretrainConfig())[key]
    }


BAD = [
    ("queue_size=0", "moco.queue_size", "of at least 1"),
    ("queue_size=1.5", "moco.queue_size", "whole number"),
    ("temperature=0", "moco.temperature", "above 0"),
    ("temperature=nan", "moco.temperature", "above 0"),
    ("lr=inf", "optim.lr", "at most 1000"),
    ("lr=abc", "optim.lr", "a number above 0"),
    ("bn_splits=7", "model.bn_splits", "divide optim.batch_size (512)"),
    ("bn_splits=100", "model.bn_splits", "divide"),
    ("augment.crop.p=1.01", "augment.crop.p", "at most 1"),
    ("kernel_size=4", "augment.blur.kernel_size", "odd"),
    ("augment.order=crop,flip", "augment.order", "each of"),
    ("augment.order=blur,crop,rotation,flip,color,gray", "augment.order", "one sampling"),
    ("stop_epoch=2501", "optim.stop_epoch", "2500"),
    ("milestones=160,120", "optim.milestones", "larger than the one before"),
    ("source=imagenet", "data.source", "folder:PATH"),
    ("device=gpu", "runtime.device", "cuda:N"),
    ("encoder=vgg", "model.encoder", "convnet, resnet18"),
    ("mlp_head=maybe", "model.mlp_head", "true or false"),
    ("queu_size=5", "queu_size", "did you mean moco.queue_size"),
    ("p=0.5", "p", "augment.crop.p"),
    ("sigma_min=3", "augment.blur.sigma_min", "must not be larger"),
]


@pytest.mark.parametrize(("text", "key", "words"), BAD)
def test_bad_values_get_one_sentence_with_key_and_remedy(text: str, key: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(PretrainConfig, sets=[text])
    message = str(caught.value)
    assert caught.value.key == key
    assert words in message
    assert "\n" not in message
    assert message.endswith((".", "?"))


@pytest.mark.parametrize(
    "text", ["crop.scale_min=1.0", "bn_splits=256", "queue_size=1", "stop_epoch=2500", "crop.p=0"]
)
def test_the_edges_of_the_ranges_are_right(text: str) -> None:
    resolve(PretrainConfig, sets=[text])


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("label_fraction=0", "label_fraction"),
        ("label_fraction=1.5", "label_fraction"),
        ("task.name=seven", "task.name"),
        ('groups={a=["cat"]}', "task.groups"),
        ('groups={a=["cat"],b=["cat"]}', "task.groups"),
        ('groups={a=["cat"],b=[]}', "task.groups"),
        ("linear.lr=[]", "linear.lr"),
        ("linear.lr=0.1,-1", "linear.lr"),
        ("baselines=pixels,pixels", "baselines"),
        ("baselines=magic", "baselines"),
        ("validation=1", "validation"),
    ],
)
def test_bad_probe_values_name_their_key(text: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(ProbeConfig, sets=[text])
    assert caught.value.key == key


def test_later_sources_win(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("queue_size = 100\n[optim]\nlr = 0.5\nepochs = 7\n", encoding="utf-8")
    config = resolve(
        PretrainConfig,
        preset_name="notebook-large-queue",
        toml=path,
        sets=["lr=0.25"],
        extra={"optim.epochs": 9},
    )
    assert (config.moco.queue_size, config.optim.lr, config.optim.epochs) == (100, 0.25, 9)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("queue_size = ", "not valid TOML"),
        ("[moco]\nqueue = 3", "moco.queue is not a setting"),
        ("[mocco]\nqueue_size = 3", "mocco is not a setting"),
        ("[moco]\nqueue_size = 'many'", "moco.queue_size is many"),
    ],
)
def test_bad_toml_is_explained(content: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        resolve(PretrainConfig, toml=path)


def test_missing_toml_and_unknown_preset_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no config file"):
        read_toml(PretrainConfig, tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="Did you mean notebook"):
        preset("notebok")


def test_every_field_tells_the_person_what_it_is() -> None:
    for type_ in (PretrainConfig, ProbeConfig):
        for field in fields(type_).values():
            assert field.help, field.key
            assert field.expectation(), field.key
            assert expand_key(type_, field.key) == field.key


def test_control_characters_never_reach_a_message() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(PretrainConfig, sets=["source=\x1b[31m" + "x" * 500])
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 250


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "moco.queue_size": st.integers(1, 2**22),
            "moco.temperature": st.floats(1e-6, 100.0),
            "optim.lr": st.floats(1e-6, 1000.0),
            "augment.order": st.permutations(["crop", "rotation", "flip"]).flatmap(
                lambda head: st.permutations(["blur", "color_jitter", "grayscale"]).map(
                    lambda tail: [*head, *tail]
                )
            ),
            "data.source": st.text(
                st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=20
            ).map(lambda text: "folder:/" + text),
        },
    )
)
def test_texts_and_flat_keys_round_trip(values: dict[str, object]) -> None:
    config = build(PretrainConfig, values)
    flat = flatten(config)
    for key, value in values.items():
        assert list(flat[key]) == value if isinstance(value, list) else flat[key] == value
    assert msgspec.convert(nest(flat), PretrainConfig) == config
    assert not problems(config)
    assert math.isclose(build(PretrainConfig, flat).optim.lr, config.optim.lr)
