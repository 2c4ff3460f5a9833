"""One of each thing is added by new files and a line each, then run, shown and compared.

Places that one more touches, counting each new file and each line or block in another. In 0.1, by
what named rotation, ResNet-18, the shapes, the logistic head, kNN and the screen of a study: an
augmentation 12, an encoder 5, a data set 11, a probe head 11, a metric 7, a command 2, a screen 4.
Now two files and a line for the first four, a line for a metric, a file and a line for the rest.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .engine.augment import test_registry as augmentation
from .engine.copied_packages import CopiedPackages
from .engine.data import test_registry as data_set

NET = '''"""A net of one layer."""

from torch import nn


def build(config, size):
    """The net."""
    net = nn.Sequential(nn.Conv2d(3, 6, 8, 8), nn.ReLU(), nn.Flatten())
    net.feature_dim = 6 * (size // 8) ** 2
    return net
'''
NET_PART = '''"""A net of one layer: its name."""

from engine.config.registry import Part

PART = Part("patches", "one layer on patches", "engine.models.patches:build")
'''
HEAD = '''"""Nearest means."""

import torch


class Fitted:
    """Means."""

    def __init__(self, means):
        self.means, self.chosen = means, {}

    def predict(self, features):
        """The nearest."""
        return torch.cdist(features, self.means).argmin(1)


class Nearest:
    """Fits means."""

    def __init__(self, settings):
        self.settings = settings

    def reports(self, fit, validate):
        """One."""
        return 1

    def fit(self, data):
        """The means of the classes."""
        means = torch.stack([data.features[data.targets == c].mean(0) for c in range(data.classes)])
        data.report({"margin": float(torch.pdist(means).min())})
        return Fitted(means)
'''
HEAD_PART = '''"""Nearest means: their settings."""

from typing import Annotated

from msgspec import Meta

from engine.config.heads.head_config import HeadConfig
from engine.config.registry import Part


class NearestConfig(HeadConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """None that does anything."""

    power: Annotated[int, Meta(ge=1, description="of the distance")] = 2

    def method(self, chosen):
        """For a probe."""
        return "nearest mean"

    def sentence(self):
        """For a study."""
        return "Nearest mean."


NEAREST = Part("nearest", "the nearest mean", "engine.probe.nearest:Nearest", NearestConfig)
'''
COMMAND = '''"""The command that counts runs."""

import click

from engine.runs import folder_names
from moco_tui.cli.options import Settings, shared_options


@click.command()
@shared_options
@click.pass_obj
def count(settings: Settings) -> None:
    """Count the runs."""
    print(len(folder_names(settings.root)))
'''
SCREEN = '''"""A screen of one line."""

from textual.app import ComposeResult
from textual.widgets import Static

from moco_tui.screens.base_screen import BaseScreen


class HelloScreen(BaseScreen):
    """One line."""

    TITLE_TEXT = "Hello"

    def content(self) -> ComposeResult:
        """The line."""
        yield Static("hello from a new screen", id="hello")
'''
OPEN = """
import asyncio
from pathlib import Path
from moco_tui.app import MocoApp
from moco_tui.session import Session
from moco_tui.screens.screen_registry import create

async def main():
    app = MocoApp(Session(Path("runs"), data_dir=Path("data"), read_only=True))
    async with app.run_test() as pilot:
        await pilot.press("H")
        await pilot.pause()
        print(type(app.screen).__name__, app.screen.query_one("#hello").render())
asyncio.run(main())
"""
TRAIN = (
    "model.dim=8", "bn_splits=2", "queue_size=20", "batch_size=32", "optim.epochs=1", "knn_every=0",
    "augment.solarize.enabled=true", "model.encoder=patches", "runtime.precision=float32",
)  # fmt: skip


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> CopiedPackages:
    """Both packages with one more of each."""
    copied = CopiedPackages(tmp_path_factory.mktemp("packages"))
    config = "engine/config"
    copied.add_file(f"{config}/augment/solarize.py", augmentation.SETTINGS)
    copied.add_file("engine/augment/solarize.py", augmentation.WORK)
    copied.add_line(f"{config}/augment/__init__.py", '    "grayscale",', '    "solarize",')
    copied.add_file(f"{config}/data/stripes.py", data_set.FACTS)
    copied.add_file("engine/data/stripes.py", data_set.WORK)
    copied.add_line(f"{config}/data/__init__.py", '    "shapes",', '    "stripes",')
    copied.add_file(f"{config}/models/patches.py", NET_PART)
    copied.add_file("engine/models/patches.py", NET)
    copied.change_line(
        f"{config}/models/__init__.py",
        'ENCODERS = Registry("model.encoder", (convnet.PART, *resnet.PARTS))',
        'from engine.config.models import patches; ENCODERS = Registry("model.encoder", '
        "(convnet.PART, *resnet.PARTS, patches.PART))",
    )
    copied.add_file(f"{config}/heads/nearest.py", HEAD_PART)
    copied.add_file("engine/probe/nearest.py", HEAD)
    copied.change_line(
        f"{config}/heads/__init__.py",
        'HEADS = Registry("head", (LINEAR, LOGISTIC, FINETUNE))',
        "from engine.config.heads.nearest import NEAREST; "
        'HEADS = Registry("head", (LINEAR, LOGISTIC, FINETUNE, NEAREST))',
    )
    copied.add_line(
        f"{config}/metrics.py",
        '    Metric(name="study/cells"),',
        '    Metric(name="probe/*/margin", direction=1, title="margin of the means"),',
    )
    copied.add_file("moco_tui/cli/count.py", COMMAND)
    copied.add_line(
        "moco_tui/cli/command_table.py",
        '    "runs": CommandEntry("runs", "List the runs, the newest first."),',
        '    "count": CommandEntry("count", "Count the runs."),',
    )
    copied.add_file("moco_tui/screens/hello_screen.py", SCREEN)
    copied.add_line(
        "moco_tui/screens/screen_registry.py",
        "SCREENS: dict[str, ScreenEntry] = {",
        '    "hello": ScreenEntry("moco_tui.screens.hello_screen:HelloScreen", key="H",'
        ' title="Hello"),',
    )
    for seed in (0, 1):
        sets = [word for text in (*TRAIN, f"seed={seed}") for word in ("--set", text)]
        copied.moco("pretrain", "--data", "stripes", "--name", f"run{seed}", *sets)
        copied.moco(
            "probe", f"run{seed}", "--task", "binary", "--label-fraction", "1", "--head", "nearest",
            "--name", f"probe{seed}", "--set", 'baselines=["random-init"]',
        )  # fmt: skip
    return copied


def test_each_is_new_files_and_a_line(packages: CopiedPackages) -> None:
    lines = [path for path in packages.touched if (Path(path).stem not in {
        "solarize", "stripes", "patches", "nearest", "count", "hello_screen"
    })]  # fmt: skip
    assert len(lines) == len(set(lines)) == 7
    assert len(packages.touched) == 7 + 2 * 4 + 2


def test_they_run(packages: CopiedPackages) -> None:
    runs = {run["name"]: run for run in json.loads(packages.moco("runs", "--json"))}
    assert {run["state"] for run in runs.values()} == {"finished"}
    assert runs["run0"]["data"] == "stripes"
    assert "sol0.25" in runs["run0"]["augmentations"]
    assert packages.moco("count") == "4\n"


def test_they_are_shown(packages: CopiedPackages) -> None:
    shown = json.loads(packages.moco("show", "run0", "--json"))
    assert shown["config"]["model"]["encoder"] == "patches"
    probe = json.loads(packages.moco("show", "probe0", "--json"))
    assert [row["source"] for row in probe["result"]["rows"]] == ["pretrained", "random-init"]
    assert probe["last"]["probe/pretrained/margin"] > 0
    assert "nearest mean" in probe["result"]["protocol"]
    layers = packages.moco("show", "run0", "--model")
    assert "backbone.0" in layers
    assert packages.run("-c", OPEN).split(maxsplit=1) == [
        "HelloScreen",
        "hello from a new screen\n",
    ]


def test_they_are_compared_and_searched(packages: CopiedPackages) -> None:
    compared = json.loads(packages.moco("compare", "probe0", "probe1", "--json"))
    row = next(r for r in compared["metrics"] if r["metric"] == "probe/pretrained/margin")
    first, second = row["values"]
    assert row["verdicts"][1] == ("better" if second > first else "worse")
    found = json.loads(packages.moco("runs", "--filter", "margin>0", "--sort", "-margin", "--json"))
    assert {run["name"] for run in found} == {"probe0", "probe1"}
    by_encoder = json.loads(packages.moco("runs", "--filter", "encoder:patches", "--json"))
    assert {run["name"] for run in by_encoder} == {"run0", "run1"}
