"""``card/check.sh``: the program understands every command line that it would give on a card."""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from engine.config.schema import AnyConfig, PretrainConfig, ProbeConfig, StudyConfig
from engine.runs import create
from moco_tui.cli import pretrain, probe, study
from moco_tui.cli.options import Settings
from moco_tui.cli.run_here import NewRun

from ..cli.conftest import Call, call, root, trained

__all__ = ["call", "root"]  # fixtures

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests" / "benchmarks" / "card" / "check.sh"
PARTS = (
    "first", "tests", "speed", "kernels", "peers", "recipes", "study", "notebook", "reference"
)  # fmt: skip
IMAGES = "folder:/tmp/cifar10"


class Step(NamedTuple):
    name: str
    limit: int
    words: list[str]


def steps(part: str, **environment: str) -> list[Step]:
    done = subprocess.run(
        ["bash", str(SCRIPT), part, "540"],
        env={"PATH": os.environ["PATH"], "DRY": "1", **environment},
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        timeout=60,
    )
    assert done.stderr == ""
    found = []
    for line in done.stdout.splitlines():
        before, _, command = line.partition(" :: ")
        name, limit = before.split()
        found.append(Step(name, int(limit), shlex.split(command)))
    assert found
    return found


@pytest.mark.parametrize("name", ["kernels", "loss", "step", "views"])
def test_a_script_finds_the_project_in_its_place_and_from_a_copy(name: str, tmp_path: Path) -> None:
    """Without PYTHONPATH and in a fresh environment, where an import finds what is installed last;
    ``tests/engine`` is above the script too and is not the project.
    """
    environment = {word: value for word, value in os.environ.items() if word != "PYTHONPATH"}
    copy = tmp_path / "copied.py"
    shutil.copy(SCRIPT.parent / f"{name}.py", copy)
    for script, folder in ((SCRIPT.parent / f"{name}.py", tmp_path), (copy, ROOT)):
        done = subprocess.run(
            [sys.executable, str(script), "--help"],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert "--device" in done.stdout


class ParsedError(Exception):
    """The options of a script, which does nothing more."""


def options_of(script: str, words: Sequence[str], patch: pytest.MonkeyPatch) -> argparse.Namespace:
    """What a script takes from its command line."""
    parse = argparse.ArgumentParser.parse_args

    def stop(self: Any, *args: Any, **named: Any) -> Any:
        raise ParsedError(parse(self, *args, **named))

    with patch.context() as within:
        within.setattr(argparse.ArgumentParser, "parse_args", stop)
        within.setattr(sys, "argv", [script, *words])
        module = importlib.import_module(script.removesuffix(".py").replace("/", "."))
        with pytest.raises(ParsedError) as parsed:
            module.main()
    (options,) = parsed.value.args
    assert isinstance(options, argparse.Namespace)
    return options


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> dict[str, AnyConfig]:
    """The runs that were begun, by name; a pretraining is there at once, with a checkpoint."""
    made: dict[str, AnyConfig] = {}

    def start(settings: Settings, run: NewRun, **_: object) -> int:
        made[run.name or f"probe {len(made)}"] = run.config
        if run.kind == "pretrain":
            trained(settings.root, name=run.name).checkpoint_path.write_bytes(b"x")
        return 0

    def compute(settings: Settings, run: NewRun, config: StudyConfig, *_: object) -> int:
        made[run.name] = config
        create(settings.root, "study", config, name=run.name)
        return 0

    for module in (pretrain, probe):
        monkeypatch.setattr(module, "start", start)
    monkeypatch.setattr(study, "_compute", compute)
    return made


def test_it_is_a_script_of_bash() -> None:
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True, timeout=60)
    unknown = subprocess.run(
        ["bash", str(SCRIPT), "nothing"],
        env={"PATH": os.environ["PATH"], "DRY": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert unknown.returncode == 2
    assert "unknown part nothing; it must be first, tests" in unknown.stderr


@pytest.mark.parametrize("part", PARTS)
def test_its_command_lines_are_understood(
    part: str,
    call: Call,
    begun: dict[str, AnyConfig],
    monkeypatch: pytest.MonkeyPatch,
    pytestconfig: pytest.Config,
) -> None:
    for step in steps(part):
        assert 10 <= step.limit <= 540, step
        python, *words = step.words
        assert python == "python3"
        if words[0].endswith(".py"):
            assert (ROOT / words[0]).is_file()
            options = options_of(words[0], words[1:], monkeypatch)
            assert getattr(options, "device", "cuda") == "cuda"
        elif words[:2] == ["-m", "pytest"]:
            known, unknown = pytestconfig._parser.parse_known_and_unknown_args(words[2:])
            assert unknown == []
            assert known.markexpr == "gpu and not slow"
            assert any(mark.startswith("gpu:") for mark in pytestconfig.getini("markers"))
        else:
            assert words[:2] == ["-m", "moco_tui"]
            understood(words[2:], call, begun)


def understood(words: list[str], call: Call, begun: dict[str, AnyConfig]) -> None:
    """Gives a command; nothing is trained."""
    count = len(begun)
    called = call(*["shapes" if word == IMAGES else word for word in words])
    assert called.code == 0, called.err
    assert len(begun) == count + ("--show" not in words)


def test_the_recipes_differ_in_what_they_are_called_after(
    call: Call, begun: dict[str, AnyConfig]
) -> None:
    for step in steps("recipes"):
        understood(step.words[3:], call, begun)
    runs = {name: run for name, run in begun.items() if isinstance(run, PretrainConfig)}
    assert {name: run.augment.crop.scale_min for name, run in runs.items()} == {
        "crop-0.08": 0.08, "crop-0.2": 0.2, "crop-0.4": 0.4,
        "crop-0.6": 0.6, "batch-256": 0.2, "lr-0.03": 0.2,
    }  # fmt: skip
    assert {run.optim.epochs for run in runs.values()} == {200}
    # With the kernels, since they are long enough.
    assert {run.runtime.capture for run in runs.values()} == {"auto"}
    assert min(run.optim.epochs * (50_000 // run.optim.batch_size) for run in runs.values()) > 6_000
    assert {name for name, run in runs.items() if run.optim.batch_size == 256} == {"batch-256"}
    assert {name for name, run in runs.items() if run.optim.lr == 0.03} == {"lr-0.03"}
    probes = [run for run in begun.values() if isinstance(run, ProbeConfig)]
    assert [run.label_fraction for run in probes] == [0.01, 0.1] * 6
    assert {run.head for run in probes} == {"logistic"}


def test_the_study_takes_settings_of_the_caller(call: Call, begun: dict[str, AnyConfig]) -> None:
    first, table = steps("study", EXTRA="--set seeds=[0]")
    understood(first.words[3:], call, begun)
    config = begun["few-labels"]
    assert isinstance(config, StudyConfig)
    assert (config.pretrain.runtime.capture, config.seeds) == ("auto", (0,))
    assert first.limit + table.limit < 540


def test_some_recipes_can_be_chosen() -> None:
    chosen = steps("recipes", RECIPES="crop-0.2 lr-0.03")
    assert [step.name for step in chosen if not step.name.startswith("probe")] == [
        "crop-0.2",
        "lr-0.03",
    ]
    assert len(chosen) == 6
