"""Names of earlier versions are read everywhere, and told of once."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from engine.config.renamed import RenamedSetting, new_key, new_value, renamed_tree
from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig, StudyConfig
from engine.history.entry import Entry
from engine.history.filters import parse_filter, sort_entries


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("augment.color.hue", "augment.color_jitter.hue"),
        ("pretrain.augment.gray.p", "pretrain.augment.grayscale.p"),
        ("gray.p", "grayscale.p"),
        ("augment.color_jitter.hue", "augment.color_jitter.hue"),
        ("task.groups.color", "task.groups.color"),
        ("queue_size", "queue_size"),
    ],
)
def test_a_key_gets_the_name_it_has_now(old: str, new: str) -> None:
    assert new_key(old) == new


def test_only_the_values_of_the_setting_itself_are_renamed() -> None:
    assert new_value("monitor.knn_features", "trunk") == "backbone"
    assert new_value("knn_features", "trunk") == "backbone"
    assert new_value("pretrain.augment.order", ["crop", "gray"]) == ["crop", "grayscale"]
    assert new_value("task.name", "trunk") == "trunk"
    assert new_value("augment.color_jitter.p", 0.5) == 0.5


def test_a_recorded_tree_is_renamed_in_depth() -> None:
    old = {
        "augment": {"order": ["crop", "color"], "color": {"hue": 0.2}, "gray": {"p": 0.1}},
        "monitor": {"knn_features": "trunk"},
        "moco": {"queue_size": 5},
    }
    now = {
        "augment": {
            "order": ["crop", "color_jitter"],
            "color_jitter": {"hue": 0.2},
            "grayscale": {"p": 0.1},
        },
        "monitor": {"knn_features": "backbone"},
        "moco": {"queue_size": 5},
    }
    assert renamed_tree(old) == now
    assert renamed_tree({"pretrain": old}) == {"pretrain": now}
    assert renamed_tree(now) == now


def test_old_names_typed_or_in_a_file_mean_the_new_and_are_told_of_once(tmp_path: Path) -> None:
    file = tmp_path / "old.toml"
    file.write_text('[augment.color]\nhue = 0.2\n[monitor]\nknn_features = "trunk"\n')
    with pytest.warns(RenamedSetting) as heard:
        config = resolve(PretrainConfig, toml=file, sets=["augment.gray.enabled=true"])
    assert config.augment.color_jitter.hue == 0.2
    assert config.augment.grayscale.enabled
    assert config.monitor.knn_features == "backbone"
    said = [str(warning.message) for warning in heard]
    assert len(said) == len(set(said)) == 3
    assert said[0].startswith("augment.color is called augment.color_jitter now")


def test_a_study_takes_the_old_names_of_its_pretrainings() -> None:
    with pytest.warns(RenamedSetting):
        config = resolve(StudyConfig, sets=["pretrain.augment.color.hue=0.3"])
    assert config.pretrain.augment.color_jitter.hue == 0.3


def test_filters_and_sort_keys_take_old_names() -> None:
    runs = [
        Entry(id="a", kind="pretrain", config={"augment.grayscale.p": 0.4}),
        Entry(id="b", kind="pretrain", config={"monitor.knn_features": "backbone"}),
    ]
    with pytest.warns(RenamedSetting):
        assert [run.id for run in runs if parse_filter("gray.p=0.4")(run)] == ["a"]
    with pytest.warns(RenamedSetting):
        assert [run.id for run in runs if parse_filter("knn_features=trunk")(run)] == ["b"]
    with pytest.warns(RenamedSetting):
        assert [run.id for run in sort_entries(runs, "-gray.p")] == ["a", "b"]


def test_the_names_of_today_are_not_told_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resolve(PretrainConfig, sets=["augment.color_jitter.hue=0.2", "knn_features=backbone"])
