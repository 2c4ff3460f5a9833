"""Settings under the names they had: they work, and one line on stderr says the new name."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from engine.config.fields import flatten
from engine.config.schema import PretrainConfig

from .conftest import Call, trained

SMALL = {
    "data.source": "shapes",
    "data.limit": "40",
    "optim.epochs": "1",
    "optim.batch_size": "16",
    "model.dim": "8",
    "model.bn_splits": "1",
    "moco.queue_size": "16",
    "monitor.knn_every": "0",
    "runtime.device": "cpu",
    "runtime.threads": "1",
}


def pretrained(call: Call, root: Path, *given: str) -> tuple[dict[str, object], str]:
    """The settings of a run that was pretrained with these words, and what stderr said."""
    small = [part for key, value in SMALL.items() for part in ("--set", f"{key}={value}")]
    called = call("pretrain", *small, *given, "--json")
    assert called.code == 0, called.err
    id_ = json.loads(called.out)["id"]  # stdout is one JSON document and nothing else
    shown = call("show", id_, "--json")
    assert shown.err == "", "the record has the names of today"
    config = msgspec.convert(json.loads(shown.out)["config"], PretrainConfig)
    return flatten(config), called.err


def lines_about_names(err: str) -> list[str]:
    return [line for line in err.splitlines() if "the old name still works" in line]


def test_an_old_name_on_the_command_line(call: Call, root: Path) -> None:
    settings, err = pretrained(call, root, "--set", "augment.color.hue=0.2")
    assert settings["augment.color_jitter.hue"] == 0.2
    assert lines_about_names(err) == [
        "moco-tui: augment.color.hue is called augment.color_jitter.hue now; the old name still "
        "works."
    ]


def test_old_names_in_a_file_with_a_folder_of_images_are_said_once_each(
    call: Call, root: Path, tmp_path: Path
) -> None:
    """The configuration is made anew with the folder's absolute path: nothing is said twice."""
    toml = tmp_path / "old.toml"
    toml.write_text(
        '[augment]\norder = ["crop", "rotation", "flip", "blur", "color", "gray"]\n'
        "[augment.gray]\np = 0.25\n"
        '[monitor]\nknn_features = "trunk"\n'
    )
    called = call("pretrain", "--config", str(toml), "--data", "folder:nowhere")
    assert called.code == 2
    said = lines_about_names(called.err)
    assert len(said) == len(set(said)) == 3
    assert [line for line in said if "augment.gray is called augment.grayscale now" in line]
    settings, err = pretrained(call, root, "--config", str(toml))
    assert settings["augment.grayscale.p"] == 0.25
    assert settings["monitor.knn_features"] == "backbone"
    assert lines_about_names(err) == said


@pytest.mark.parametrize(
    ("given", "now", "found"),
    [
        (("--filter", "gray.p>0.1"), "grayscale.p", "ab"),
        (("--filter", "knn_features=trunk"), "backbone", "ab"),
        (("--sort", "color.hue"), "color_jitter.hue", "cba"),
        (("--sort", "-color.hue"), "color_jitter.hue", "abc"),
        (("--filter", "color.hue>0.05", "--sort", "color.hue"), "color_jitter.hue", "ba"),
    ],
)
@pytest.mark.parametrize("format_", ["--json", "--csv", None])
def test_old_names_in_filters_and_sort_keys(
    call: Call, root: Path, given: tuple[str, ...], now: str, found: str, format_: str | None
) -> None:
    for name, gray, hue, features in (
        ("a", 0.3, 0.4, "backbone"),
        ("b", 0.2, 0.1, "backbone"),
        ("c", 0.05, 0.01, "output"),
    ):
        values = {"augment.grayscale.p": gray, "augment.color_jitter.hue": hue}
        trained(root, name=name, values=values | {"monitor.knn_features": features})
    called = call("runs", *given, *([format_] if format_ else []))
    assert called.code == 0
    assert called.err.count("\n") == 1
    assert called.err.startswith("moco-tui: ")
    assert now in called.err
    assert "old name" not in called.out
    if format_ == "--json":
        names = "".join(run["name"] for run in json.loads(called.out))
        assert names == found if "--sort" in given else set(names) == set(found)
