"""Settings in records: those that code can work with, whatever version wrote them."""

from __future__ import annotations

from typing import Any

import pytest

from engine.config.missing_settings import read_config, values_when_missing
from engine.config.recorded_values import MOST_RUNS, unusable_setting
from engine.config.resolve import build
from engine.config.schema import KINDS, StudyConfig
from engine.errors import ConfigError, RunError


@pytest.mark.parametrize("kind", KINDS)
def test_the_defaults_fit_and_every_setting_has_a_type(kind: str) -> None:
    flat = dict(values_when_missing(kind))
    assert unusable_setting(kind, flat) == ""
    for key in flat:
        assert unusable_setting(kind, flat | {key: None}).startswith(f"{key} is None; it must be ")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("augment.order", 5, "a list, each item a text"),
        ("augment.order", [5], "a list, each item a text"),
        ("augment.rotation.degrees", "x", "a number"),
        ("augment.rotation.degrees", True, "a number"),
        ("moco.queue_size", 5.5, "a whole number"),
        ("augment.flip.enabled", 1, "true or false"),
        ("data.source", ["x"], "a text"),
        ("augment", 5, "a table"),
        ("augment.flip", [], "a table"),
    ],
)
def test_a_value_of_another_type_is_named(key: str, value: Any, words: str) -> None:
    assert unusable_setting("pretrain", {key: value}) == f"{key} is {value}; it must be {words}"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("future", {"a": 1}),
        ("augment.future", None),
        ("augment.rotation.degrees", 15),
        ("model.encoder", "vit"),
        ("moco.queue_size", -3),
    ],
)
def test_what_other_versions_may_write_fits(key: str, value: Any) -> None:
    assert unusable_setting("pretrain", {key: value}) == ""


def test_nothing_is_known_of_other_kinds() -> None:
    assert unusable_setting("distill", {"augment.order": 5}) == ""


def test_a_grid_is_bounded_where_it_is_made_and_where_it_is_read() -> None:
    """Of equal size: a study that may be begun can be shown."""
    seeds = list(range(MOST_RUNS // 10))
    grid = {"queue_sizes": [8], "heads": ["linear"], "tasks": ["ten"], "subset_seeds": [0, 1]}
    assert unusable_setting("study", {**grid, "seeds": seeds}) == ""
    build(StudyConfig, {**grid, "seeds": seeds})
    more = [*seeds, MOST_RUNS]
    words = "20,010 probes"
    assert words in unusable_setting("study", {**grid, "seeds": more})
    with pytest.raises(ConfigError, match=words):
        build(StudyConfig, {**grid, "seeds": more})


@pytest.mark.parametrize(
    ("flat", "words"),
    [
        ({"axes": 5}, "axes is 5; it must be a table of lists"),
        ({"axes": {"moco.momentum": 0.9}}, "it must be a table of lists"),
        ({"recipes": {"a": [1]}}, "it must be a table of tables"),
        ({"ablate": [5]}, "ablate is [5]; it must be a list, each item a text"),
        ({"ablate": "augment"}, "ablate is augment; it must be a list, each item a text"),
        ({"design": 3}, "design is 3; it must be a text"),
        ({"axes": {"optim.lr": [i / 1000 for i in range(1, 200)]}}, "its grid has 53,730 probes"),
        (
            {
                "axes": {"optim.lr": [0.1] * 50, "moco.momentum": [0.1] * 50},
                "design": "one-at-a-time",
            },
            "its grid has 27,270 probes",
        ),
        (
            {"axes": {"optim.lr": [i / 1e5 for i in range(1, 9000)]}, "judge": "knn"},
            "26,997 probes",
        ),
    ],
)
def test_axes_of_a_record_are_tables_of_a_size_that_can_be_shown(
    flat: dict[str, Any], words: str
) -> None:
    assert words in unusable_setting("study", flat)


def test_axes_that_a_record_may_hold() -> None:
    held = {
        "axes": {"moco.momentum": [0.9, 0.99]},
        "recipes": {"a": {"x": 1}},
        "ablate": ["augment"],
    }
    assert unusable_setting("study", {**held, "label_fractions": [0.1], "seeds": [0]}) == ""
    assert unusable_setting("study", {"axes": {}, "recipes": {}, "ablate": []}) == ""


def test_a_record_with_axes_of_another_version_is_one_sentence() -> None:
    tree = {"axes": {"future.setting": [1, 2]}}
    with pytest.raises(RunError, match=r"^It names variants that this version does not know: "):
        read_config("study", tree, "It")
