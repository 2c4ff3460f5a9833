"""The settings of a study: which can be given, and which wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config.fields import fields, flatten
from engine.config.schema import GRID_KEYS, StudyConfig
from engine.errors import ConfigError
from moco_tui.cli.config_options import ConfigSource
from moco_tui.cli.options import Settings
from moco_tui.cli.study_settings import configure
from moco_tui.present import fmt


def test_every_setting_can_be_given_but_those_of_the_grid() -> None:
    for key, field in fields(StudyConfig).items():
        text = fmt.value(field.default) if field.default != [] else "[]"
        given = ConfigSource(sets=(f"{key}={text}",))
        if key in GRID_KEYS and key != "probe.task.name":
            with pytest.raises(ConfigError, match=f"--set {GRID_KEYS[key]}="):
                configure(Settings(), given)
        else:
            config = configure(Settings(), given)
            assert flatten(config)[key] == field.default


def test_a_preset_a_file_and_the_options_are_laid_over_each_other(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text("seeds = [7]\nheads = ['linear']\n[pretrain.optim]\nlr = 0.5\n")
    source = ConfigSource(
        preset="quick-study",
        toml=path,
        sets=("heads=logistic", "momentum=0.5"),
        data="folder:here",
    )
    config = configure(Settings(device="cpu"), source)
    assert (config.queue_sizes, config.seeds, config.heads) == ((512, 2048), (7,), ("logistic",))
    assert (config.pretrain.optim.lr, config.pretrain.moco.momentum) == (0.5, 0.5)
    assert config.pretrain.data.source == f"folder:{Path.cwd() / 'here'}"
    assert config.pretrain.runtime.device == config.probe.runtime.device == "cpu"
