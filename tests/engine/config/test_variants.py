"""The variants of a study, against plain loops over what the words say."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.config.augment import AUGMENTATIONS
from engine.config.fields import flatten
from engine.config.pretraining_key import plain, pretraining_key
from engine.config.resolve import build, resolve, to_toml
from engine.config.schema import PretrainConfig, StudyConfig
from engine.config.values import read_toml
from engine.config.variant_count import count_bound
from engine.config.variants import Variants, expand, pretraining_of
from engine.errors import ConfigError


def study(**extra: Any) -> StudyConfig:
    return resolve(StudyConfig, extra=extra)


def made(**extra: Any) -> Variants:
    return expand(study(**extra))


def labels(found: Variants) -> list[str]:
    return [variant.label for variant in found.all]


def pretrains(config: StudyConfig) -> dict[str, PretrainConfig]:
    return {v.label: pretraining_of(config, v, 0) for v in expand(config).all}


# --------------------------------------------------------------------------------- expansion


def test_a_grid_is_the_product_of_its_axes() -> None:
    momenta, sizes, losses = (0.9, 0.99, 0.999), (1024, 4096), (True, False)
    config = study(axes={"momentum": momenta, "queue_size": sizes, "moco.symmetric": losses})
    expected = {}
    for m in momenta:
        for k in sizes:
            for both in losses:
                label = f"m {m}, K {k}, symmetric loss {'on' if both else 'off'}"
                expected[label] = build(
                    PretrainConfig,
                    {"moco.momentum": m, "moco.queue_size": k, "moco.symmetric": both},
                )
    assert pretrains(config) == expected
    assert list(pretrains(config)) == list(expected)
    assert expand(config).reference.label == "m 0.99, K 4096, symmetric loss on"  # the defaults
    assert count_bound(config) == len(expected)


def test_one_at_a_time_is_each_value_alone_against_the_settings_of_the_study() -> None:
    config = study(
        axes={"momentum": (0.9, 0.99), "lr": (0.01, 0.1)},
        design="one-at-a-time",
        **{"pretrain.optim.lr": 0.05},
    )
    base = {"optim.lr": 0.05}
    assert pretrains(config) == {
        "reference": build(PretrainConfig, base),
        "m 0.9": build(PretrainConfig, {**base, "moco.momentum": 0.9}),
        "lr 0.01": build(PretrainConfig, {"optim.lr": 0.01}),
        "lr 0.1": build(PretrainConfig, {"optim.lr": 0.1}),
    }
    assert expand(config).reference.label == "reference"
    one = made(axes={"momentum": (0.9, 0.999)}, design="one-at-a-time")
    assert (labels(one), one.reference.label) == (["m 0.99", "m 0.9", "m 0.999"], "m 0.99")


def test_the_reference_of_a_grid_without_the_settings_value_is_the_first_value() -> None:
    assert made(axes={"momentum": (0.5, 0.9)}).reference.label == "m 0.5"
    both = made(axes={"momentum": (0.5, 0.9), "queue_size": (1024, 4096)})
    assert both.reference.label == "m 0.5, K 4096"


@pytest.mark.parametrize("flip", [False, True])
def test_an_ablation_leaves_each_out_and_has_each_alone(flip: bool) -> None:
    config = study(ablate=["augment"], **{"pretrain.augment.flip.enabled": flip})
    base = flatten(config.pretrain)
    on = [name for name in AUGMENTATIONS if base[f"augment.{name}.enabled"]]
    assert ("flip" in on) == flip
    expected = {"all": config.pretrain}

    def with_only(kept: list[str]) -> PretrainConfig:
        switches = {f"augment.{name}.enabled": name in kept for name in AUGMENTATIONS}
        return build(PretrainConfig, {**base, **switches})

    for name in on:
        others = [other for other in on if other != name]
        expected[f"without {name.replace('_', ' ')}"] = with_only(others)
    for name in on:
        expected[f"{name.replace('_', ' ')} alone"] = with_only([name])
    assert pretrains(config) == expected
    assert expand(config).reference.label == "all"


def test_an_ablation_of_some_is_restricted_to_these() -> None:
    found = made(ablate=["augment.color_jitter", "blur"])
    assert labels(found) == [
        *("all", "without blur", "without color jitter"),
        *("blur alone", "color jitter alone"),
    ]
    alone = next(v for v in found.all if v.label == "blur alone").settings
    assert set(alone) == {f"augment.{n}.enabled" for n in ("crop", "rotation", "color_jitter")}


def test_an_augmentation_of_ones_own_is_left_out_of_the_order() -> None:
    order = [*AUGMENTATIONS, "my.code:Cutout"]
    config = study(ablate=["augment"], **{"pretrain.augment.order": order})
    found = pretrains(config)
    assert found["without Cutout"].augment.order == tuple(AUGMENTATIONS)
    assert found["blur alone"].augment.order == tuple(AUGMENTATIONS)
    alone = found["Cutout alone"].augment
    assert alone.order == tuple(order)
    assert not any(getattr(alone, name).enabled for name in AUGMENTATIONS)


def test_variants_with_the_same_weights_are_one_and_it_is_said() -> None:
    off = {f"pretrain.augment.{name}.enabled": False for name in ("rotation", "color_jitter")}
    found = made(ablate=["augment"], **off)
    assert labels(found) == ["all", "without crop", "without blur"]
    assert found.merged == (
        "crop alone has the same settings as without blur: they are one variant.",
        "blur alone has the same settings as without crop: they are one variant.",
    )
    ends = made(axes={"stop_epoch": (0, 2500, 100)})  # 0 is: never early
    assert labels(ends) == ["stop after epoch 0", "stop after epoch 100"]


def test_recipes_change_their_settings_together_and_are_kept_in_the_study(tmp_path: Path) -> None:
    recipes = {"large": {"lr": 0.1, "moco.queue_size": 8192}, "plain": {}}
    config = study(recipes=recipes, axes={"recipe": ["plain", "large"], "momentum": (0.9, 0.99)})
    expected = {}
    for name, m in itertools.product(("plain", "large"), (0.9, 0.99)):
        more = {"optim.lr": 0.1, "moco.queue_size": 8192} if name == "large" else {}
        expected[f"{name}, m {m}"] = build(PretrainConfig, {**more, "moco.momentum": m})
    assert pretrains(config) == expected
    assert expand(config).reference.label == "plain, m 0.99"
    path = tmp_path / "study.toml"
    path.write_text(to_toml(config))
    assert build(StudyConfig, read_toml(StudyConfig, path)) == config
    assert resolve(StudyConfig, toml=path) == config


def test_no_variant_has_the_label_or_the_weights_of_another() -> None:
    config = study(axes={"lr": (0.1, 0.10000001), "milestones": ([1, 2], [12])})
    found = pretrains(config)
    assert len(found) == 4
    assert len({pretraining_key(plain(pretrain)) for pretrain in found.values()}) == 4
    assert next(iter(found)) == "lr 0.1, milestones [1 2]"


def test_a_study_that_names_an_axis_varies_only_what_it_names() -> None:
    config = resolve(
        StudyConfig,
        preset_name="quick-study",  # names queue sizes
        extra={"axes": {"momentum": [0.9, 0.99]}},
        sets=["pretrain.moco.queue_size=512"],
    )
    assert {pretrain.moco.queue_size for pretrain in pretrains(config).values()} == {512}
    assert labels(expand(config)) == ["m 0.9", "m 0.99"]


def test_queue_sizes_are_the_axis_over_the_queue() -> None:
    assert study(axes={"queue_size": [512, 64]}) == study(queue_sizes=[512, 64])
    assert labels(made(queue_sizes=[512, 64])) == ["K 512", "K 64"]
    assert made(queue_sizes=[512, 64]).reference.label == "K 64"
    both = study(queue_sizes=[64, 512], axes={"momentum": [0.9]})
    assert labels(expand(both)) == ["K 64, m 0.9", "K 512, m 0.9"]


def test_typed_axes_are_laid_over_those_of_a_preset() -> None:
    config = resolve(
        StudyConfig,
        preset_name="study-momentum",
        extra={"axes": {"momentum": [0.5, 0.9], "lr": [0.01]}},
    )
    assert config.axes == {"moco.momentum": (0.5, 0.9), "optim.lr": (0.01,)}


def test_dots_make_tables_of_toml_axes(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text("axes.moco.momentum = [0.9, 0.99]\naxes.queue_size = [64, 128]\n")
    config = resolve(StudyConfig, toml=path)
    assert config.axes == {"moco.momentum": (0.9, 0.99), "moco.queue_size": (64, 128)}


# --------------------------------------------------------------------------------- baselines


def groups(found: Variants, name: str) -> list[str]:
    return [variant.groups[name] for variant in found.all]  # type: ignore[index]


def test_baselines_are_shared_where_nothing_that_makes_them_differs() -> None:
    same = made(axes={"momentum": (0.9, 0.99), "model.bn_splits": (1, 8), "lr": (0.1, 0.2)})
    for name in ("random-init", "pixels", "supervised"):
        assert set(groups(same, name)) == {""}
    assert [v.beside for v in same.all if v.beside] == [("random-init", "pixels", "supervised")]


def test_an_axis_over_model_or_data_gives_each_its_own_baselines() -> None:
    found = made(axes={"encoder": ("convnet", "resnet18"), "momentum": (0.9, 0.99)})
    encoders = ["encoder convnet", "encoder convnet", "encoder resnet18", "encoder resnet18"]
    assert groups(found, "random-init") == groups(found, "supervised") == encoders
    assert groups(found, "pixels") == [""] * 4
    assert [v.beside for v in found.all] == [
        ("random-init", "pixels", "supervised"),
        (),
        ("random-init", "supervised"),
        (),
    ]
    images = made(axes={"limit": (500, 1000)})
    for name in ("random-init", "pixels", "supervised"):
        assert groups(images, name) == ["images 500", "images 1000"]


# --------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"axes": {"momentm": [0.9]}}, "The axis momentm: .*did you mean moco.momentum"),
        ({"axes": {"momentum": [0.9, 1.5]}}, "The axis moco.momentum has the value 1.5; it must"),
        ({"axes": {"momentum": ["x"]}}, "The axis moco.momentum has the value x; it must be a num"),
        ({"axes": {"symmetric": [1, 0]}}, "The axis moco.symmetric has the value 1; .* true or"),
        ({"axes": {"queue_size": [True]}}, "The axis moco.queue_size has the value True"),
        (
            {"axes": {"encoder": ["mlp"]}},
            "The axis model.encoder has the value mlp; it must be one",
        ),
        ({"axes": {"momentum": [float("nan")]}}, "The axis moco.momentum has the value nan"),
        ({"axes": {"momentum": [0.9, 0.9]}}, "The axis moco.momentum names 0.9 twice"),
        ({"axes": {"momentum": [1, 1.0]}}, "The axis moco.momentum names 1.0 twice"),
        ({"axes": {"momentum": []}}, "The axis moco.momentum names no value"),
        ({"axes": {"momentum": [0.9], "moco.momentum": [0.8]}}, "moco.momentum is named twice"),
        ({"axes": 3}, "axes is 3; it must be a table"),
        ({"axes": {"p": [0.5]}}, "The axis p: p could be augment.crop.p"),
        ({"axes": {"label_fraction": [0.1]}}, "holds its values is label_fractions"),
        ({"axes": {"head": ["linear"]}}, "holds its values is heads"),
        ({"axes": {"task.name": ["ten"]}}, "holds its values is tasks"),
        ({"axes": {"probe.subset_seed": [0]}}, "holds its values is subset_seeds"),
        ({"axes": {"linear.epochs": [1]}}, "set it by --set probe.linear.epochs="),
        ({"axes": {"seed": [0, 1]}}, "the setting of the study that holds them is seeds"),
        ({"axes": {"runtime.device": ["cpu"]}}, "changes nothing of what a pretraining computes"),
        ({"axes": {"log.tensorboard": [True]}}, "changes nothing of what a pretraining computes"),
        ({"axes": {"knn_k": [1, 2]}}, "changes nothing of what a pretraining computes"),
        ({"axes": {"augment.blur": [1]}}, "is over a group of settings; --ablate augment.blur"),
        ({"axes": {"model": [1]}}, "is over a group of settings; name one of them"),
        ({"axes": {"batch_size": [256, 300]}}, "^1 of 2 variants is impossible: batch 300: model"),
        ({"axes": {"scale_min": [0.1, 1.0], "scale_max": [0.5]}}, "1 of 2 variants is imposs"),
        ({"axes": {"recipe": ["a"]}}, "names a, which is none of the study's recipes"),
        ({"recipes": {"a": {"x": 1}}}, "^x in the recipe a: x is not a setting"),
        ({"recipes": {"a": {"lr": -1}}}, "The recipe a, optim.lr, has the value -1"),
        ({"recipes": {"a": {"label_fraction": 0.1}}}, "label_fraction in the recipe a is no"),
        ({"recipes": {"a": {"runtime.seed": 1}}}, "seed in the recipe a is over the seeds"),
        ({"recipes": {"a": {"lr": 0.1}}, "axes": {"lr": [0.1]}}, "optim.lr is varied by"),
        ({"recipes": {"a": {"lr": 0.1}, "pixels": {}}}, "would be called pixels"),
        ({"ablate": ["blr"]}, "which is no augmentation; .* Did you mean augment.blur"),
        ({"ablate": ["flip"]}, "ablate names flip, which is off"),
        ({"ablate": ["blur", "augment.blur"]}, "ablate names augment.blur twice"),
        ({"ablate": ["augment"], "axes": {"blur.enabled": [True]}}, "augment.blur.enabled is var"),
        ({"axes": {"queue_size": [8]}, "queue_sizes": [9], "ablate": ["blur"]}, "are the same"),
        ({"axes": {"lr": [0.1 + i / 1e4 for i in range(200)]}}, "the grid has 97,200 probes"),
        ({"design": "latin"}, "^design is latin; it must be one of grid, one-at-a-time"),
        ({"judge": "knn", "pretrain.monitor.knn_every": 0}, "knn_every is 0, so no kNN is"),
    ],
)
def test_bad_axes_get_one_sentence(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as error:
        study(**values)
    assert str(error.value).count("\n") == 0
    assert str(error.value).endswith((".", "?"))


def test_every_impossible_variant_is_named() -> None:
    with pytest.raises(ConfigError) as error:
        study(axes={"batch_size": [256, 300, 500], "momentum": [0.9]})
    assert "2 of 3 variants are impossible" in str(error.value)
    for label in ("batch 300, m 0.9:", "batch 500, m 0.9:"):
        assert label in str(error.value)


def test_one_value_alone_is_allowed() -> None:
    """Held at that value, there is nothing to compare: scripts may make such a list."""
    assert labels(made(axes={"momentum": [0.9]})) == ["m 0.9"]


def test_expanding_again_makes_nothing_anew() -> None:
    config = study(axes={"momentum": [0.9, 0.99]})
    again = msgspec.json.decode(msgspec.json.encode(config), type=StudyConfig)
    assert expand(config) is expand(again)
