"""``moco-tui study`` with axes, ablations and recipes, as a person types them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from engine.config.axis_text import split_values
from engine.config.resolve import build
from engine.config.schema import StudyConfig
from engine.config.variants import expand
from engine.errors import ConfigError
from engine.runs import create, folder_names
from engine.sink import Plan
from engine.study.grid import pretrain_config, pretrainings
from moco_tui.cli.config_options import ConfigSource
from moco_tui.cli.options import Settings
from moco_tui.cli.study_axes import AxisOptions
from moco_tui.cli.study_settings import configure, study_key

from .conftest import Call, begin


def configured(
    *axes: str, sets: tuple[str, ...] = (), preset: str = "", **more: Any
) -> StudyConfig:
    source = ConfigSource(preset=preset or None, sets=sets)
    return configure(Settings(), source, AxisOptions(axes=axes, **more))


def labels(config: StudyConfig) -> list[str]:
    return [variant.label for variant in expand(config).all]


# ------------------------------------------------------------------------------- what is typed


@pytest.mark.parametrize(
    ("text", "key", "values"),
    [
        ("moco.momentum=0.9,0.99", "moco.momentum", (0.9, 0.99)),
        ("momentum = .9, 1", "moco.momentum", (0.9, 1.0)),
        ("pretrain.moco.temperature=0.1", "moco.temperature", (0.1,)),
        ("symmetric=on,off", "moco.symmetric", (True, False)),
        ("shuffle_keys=true,no", "moco.shuffle_keys", (True, False)),
        ("encoder=convnet,'resnet18'", "model.encoder", ("convnet", "resnet18")),
        ("milestones=[1,2],[3]", "optim.milestones", ([1, 2], [3])),
        ("batch_size=256,1_024", "optim.batch_size", (256, 1024)),
        ("schedule=cosine,step", "optim.schedule", ("cosine", "step")),
    ],
)
def test_values_are_read_by_the_type_of_their_setting(
    text: str, key: str, values: tuple[Any, ...]
) -> None:
    config = configured(text)
    assert list(config.axes) == [key]
    assert config.axes[key] == values


def test_values_are_parted_by_commas_outside_of_brackets_and_quotes() -> None:
    assert list(split_values("1, 2,3")) == ["1", "2", "3"]
    assert list(split_values("[1,2],[3]")) == ["[1,2]", "[3]"]
    assert list(split_values("'a,b',c")) == ["'a,b'", "c"]
    assert list(split_values("")) == [""]


def test_a_list_needs_its_brackets() -> None:
    with pytest.raises(ConfigError, match=r"each in brackets, as in \["):
        configured("milestones=60,80")


def test_paths_of_images_are_recorded_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = configured("data.source=shapes,folder:here")
    assert config.axes["data.source"] == ("shapes", f"folder:{tmp_path / 'here'}")


def test_the_queue_size_is_a_setting_where_something_else_is_varied() -> None:
    config = configured("momentum=0.9,0.99", sets=("queue_size=512",))
    assert config.pretrain.moco.queue_size == 512
    with pytest.raises(ConfigError, match="--set queue_sizes="):
        configured(sets=("queue_size=512",))


def test_recipes_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text("[moco]\nqueue_size = 512\n")
    Path("slow.toml").write_text("lr = 0.01\nmoco.momentum = 0.999\n")
    config = configured("recipe=small.toml,slow.toml")
    for path in tmp_path.iterdir():
        path.unlink()
    assert labels(config) == ["small", "slow"]
    assert config.recipes == {
        "small": {"moco.queue_size": 512},
        "slow": {"optim.lr": 0.01, "moco.momentum": 0.999},
    }


@pytest.mark.parametrize(
    ("files", "given", "named"),
    [
        ({}, "recipe=a.toml", "no config file a.toml"),
        ({"a": "x ="}, "recipe=a.toml", "a.toml is not valid TOML"),
        ({"a": "momentm = 1"}, "recipe=a.toml", "a.toml: momentm in the recipe a: momentm is not"),
        ({"a": "lr = -1"}, "recipe=a.toml", "a.toml: The recipe a, optim.lr, has the value -1"),
        ({"a": "seeds = [1]"}, "recipe=a.toml", "holds its values is seeds"),
        ({"a": "probe.head = 'x'"}, "recipe=a.toml", "holds its values is heads"),
        ({"a": "lr = 1.0"}, "recipe=a.toml,a.toml", "Two files of --axis recipe are called a"),
        ({}, "recipe=nobody", "names nobody, which is none of the study's recipes"),
        ({}, "momentum", "it must be KEY=V1,V2, as in --axis moco.momentum=0.9,0.99"),
        ({}, "momentum=", "names no value"),
        ({}, "momentum=0.9,0.9", "names 0.9 twice"),
        ({}, "momentum=0.9,fast", "has the value fast; it must be a number"),
        ({}, "label_fraction=0.1", "label_fractions"),
        ({}, "batch_size=256,300", "batch 300: model.bn_splits is 8, which does not divide"),
    ],
)
def test_a_mistake_is_one_sentence(
    call: Call, root: Path, files: dict[str, str], given: str, named: str
) -> None:
    for name, text in files.items():
        Path(f"{name}.toml").write_text(text)
    for extra in ([], ["--dry-run"]):
        called = call("study", "--axis", given, *extra)
        assert (called.code, called.out) == (2, "")
        (line,) = called.err.splitlines()
        assert line.startswith("moco-tui: ")
        assert named in line
    assert folder_names(root) == []


def test_an_axis_is_named_once(call: Call) -> None:
    called = call("study", "--axis", "momentum=0.9", "--axis", "moco.momentum=0.8")
    assert called.code == 2
    assert "--axis moco.momentum is given twice" in called.err


def test_a_study_that_was_begun_takes_no_axes(call: Call) -> None:
    called = call("study", "somebody", "--axis", "momentum=0.9")
    assert called.code == 2
    assert "described anew" in called.err


def test_a_very_large_study_asks_before_it_begins(call: Call, root: Path) -> None:
    given = ["study", "--set", f"seeds={','.join(map(str, range(40)))}", "--data", "shapes"]
    given += ["--axis", "momentum=0.9,0.99"]
    called = call(*given)
    assert (called.code, called.out) == (2, "")
    assert "cells; --dry-run says how long they take, and --yes begins it" in called.err
    assert folder_names(root) == []


# ------------------------------------------------------------------------------- what is there

SMALL = {
    "seeds": [0, 1, 2],
    "label_fractions": [0.5],
    "tasks": ["ten"],
    "heads": ["logistic"],
    "subset_seeds": [0],
    "pretrain.data.source": "shapes",
    "pretrain.monitor.knn_every": 10,
}


def finished_by_knn(root: Path, config: StudyConfig, gain: float) -> None:
    """Finished pretrainings with a kNN that grows by ``gain`` from variant to variant."""
    for variant, seed in pretrainings(config):
        folder = create(root, "pretrain", pretrain_config(config, variant, seed))
        with begin(folder, Plan(total_steps=40)) as owner:
            noise = 0.1 * ((7 * seed + 3 * variant.place) % 5)
            owner.metrics(40, 1.0, {"knn/top1": 40.0 + seed + gain * variant.place + noise})
            owner.transition("finished")


def test_a_study_judged_by_knn_has_a_row_for_each_variant(call: Call, root: Path) -> None:
    values = SMALL | {"axes": {"moco.momentum": [0.9, 0.99]}, "judge": "knn"}
    config = build(StudyConfig, values)
    finished_by_knn(root, config, gain=5.0)
    given = ["--axis", "momentum=0.9,0.99", "--judge", "knn", "--set", "seeds=0,1,2"]
    given += ["--data", "shapes"]
    called = call("study", *given, "--show")
    assert called.code == 0
    assert "kNN top-1 accuracy on the training images whose labels are withheld" in called.out
    rows = {line.split("  ")[0]: line for line in called.out.splitlines() if line.startswith("m 0")}
    assert rows["m 0.99"].rstrip().endswith("the reference")
    assert "worse than the reference" in rows["m 0.9"]
    assert "-4.9 (" in rows["m 0.9"] or "-5." in rows["m 0.9"]
    assert "No test image is read." in called.out.replace("\n  ", " ")
    assert "random" not in called.out
    document = json.loads(call("study", *given, "--show", "--json").out)
    assert document["complete"]
    assert [(v["variant"], v["reference"]) for v in document["variants"]] == [
        ("m 0.9", False),
        ("m 0.99", True),
    ]
    assert document["variants"][0]["settings"] == {"moco.momentum": 0.9}
    assert {cell["variant"] for cell in document["cells"]} == {"m 0.9", "m 0.99"}
    markdown = call("study", *given, "--show", "--markdown").out
    assert "| worse than the reference |" in markdown


def test_only_takes_a_variant_with_a_comma_in_its_name(call: Call) -> None:
    given = ["study", "--axis", "momentum=0.9,0.99", "--axis", "queue_size=64,128", "--show"]
    called = call(*given, "--only", "source=m 0.9, K 128,pixels", "--only", "task=ten")
    assert called.code == 0
    rows = [line for line in called.out.splitlines() if line.startswith(("m 0", "pixels"))]
    assert [line.split("  ")[0] for line in rows[:2]] == ["m 0.9, K 128", "pixels"]
    called = call(*given, "--only", "source=m 0.8, K 128")
    assert called.code == 2
    assert "the study has no such source; it has m 0.9, K 64" in called.err


def test_the_study_of_a_queue_axis_is_that_of_its_queue_sizes() -> None:
    one = configured("queue_size=64,128")
    other = configured(sets=("queue_sizes=64,128",))
    assert one == other
    assert study_key(one) == study_key(other)
    assert study_key(configured("momentum=0.9")) != study_key(configured("momentum=0.8"))


def test_the_dry_run_names_every_variant(call: Call) -> None:
    sets = shlex.split(
        "--set seeds=0 --set tasks=ten --set heads=logistic --set label_fractions=0.1 "
        "--set subset_seeds=0 --set baselines=pixels --set pretrain.data.limit=64 "
        "--set pretrain.optim.batch_size=32 --set pretrain.optim.epochs=1 --set dim=8 --device cpu"
    )
    given = ["study", "--data", "shapes", "--ablate", "augment.blur", *sets, "--dry-run"]
    called = call(*given)
    assert called.code == 0, called.err
    lines = called.out.splitlines()
    assert lines[0] == "3 variants, 1 seed of each:"
    assert lines[1] == "  all  (reference)"
    assert lines[2] == "  without blur: augment.blur.enabled=false"
    assert lines[3].startswith("  blur alone: augment.crop.enabled=false")
    assert lines[4] == "3 pretrainings, 0 of them finished; 4 cells: 4 missing"
