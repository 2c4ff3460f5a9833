"""How preset, file, texts and values become one configuration."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import own_code
from engine.config.augment import AUGMENTATIONS
from engine.config.fields import flatten, nest
from engine.config.presets import preset
from engine.config.resolve import build, paths_by_key, paths_of, resolve
from engine.config.rules import problems
from engine.config.schema import PretrainConfig, StudyConfig
from engine.config.values import read_toml
from engine.errors import ConfigError


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


def test_missing_toml_and_unknown_preset_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no config file"):
        read_toml(PretrainConfig, tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="Did you mean notebook"):
        preset("notebok")


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


def test_code_of_ones_own_that_a_study_varies_is_among_its_paths() -> None:
    """Else it would be imported without a person having named it, or be missing too late."""
    config = resolve(
        StudyConfig,
        extra={
            "axes": {"encoder": ["convnet", "my.nets:Wide"]},
            "recipes": {"a": {"augment.order": [*AUGMENTATIONS, "my.augmentations:Cut"]}},
        },
    )
    assert sorted(paths_of(config)) == ["my.augmentations:Cut", "my.nets:Wide"]
    assert ("pretrain.model.encoder", "my.nets:Wide") in paths_by_key(config)
    own_code.check_named("my.nets:Wide", "pretrain.model.encoder")  # typed: it may be imported
