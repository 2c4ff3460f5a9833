"""Code of a user's own in a setting: run when a person names it, refused in a sentence else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.config import own_code
from engine.config.resolve import build
from engine.config.schema import PretrainConfig, StudyConfig
from engine.runs import RunFolder, create, folder_names
from moco_tui.training import detached

from .conftest import Call, trained

NET = "cli_own_net:Net"
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
    "runtime.precision": "float32",
}


@pytest.fixture(autouse=True)
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module with a backbone, on the path of this process and of those it starts."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "cli_own_net.py").write_text(
        "from torch import nn\n\n\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, config):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(3072, 4))\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setattr(own_code, "_named", set())
    monkeypatch.delitem(sys.modules, "cli_own_net", raising=False)
    return folder


def sets(**changes: str) -> list[str]:
    values = SMALL | {"model.encoder": NET} | changes
    return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]


def somebody_elses(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on this process runs as somebody who does not own the record."""
    owner = os.lstat(folder.record_path).st_uid
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)


def test_a_record_of_somebody_else_runs_code_only_when_it_is_named(
    call: Call, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = trained(root, values={"model.encoder": NET})
    somebody_elses(folder, monkeypatch)
    refused = call("show", folder.id, "--model")
    assert (refused.code, refused.out) == (2, "")
    assert f"--allow-code {NET}" in refused.err
    assert refused.err.count("\n") == 1
    assert "cli_own_net" not in sys.modules, "nothing of it was imported"
    shown = call("show", folder.id, "--model", "--allow-code", NET)
    assert (shown.code, shown.err) == (0, "")
    assert "3072" in shown.out or "12,292" in shown.out


def test_the_code_in_a_record_of_ones_own_is_named_already(call: Call, root: Path) -> None:
    folder = trained(root, values={"model.encoder": NET})
    assert call("show", folder.id, "--model").code == 0


@pytest.mark.parametrize("command", ["resume", "probe", "show", "study", "_train"])
@pytest.mark.parametrize("path", ["Net", "cli own:Net", "a:b:c", "\x1b[2J", ""])
def test_what_is_no_path_is_refused(call: Call, root: Path, command: str, path: str) -> None:
    called = call(command, *([] if command == "study" else ["latest"]), "--allow-code", path)
    assert (called.code, called.out) == (2, "")
    assert "package.module:Name" in called.err
    assert called.err.count("\n") == 1
    assert "\x1b" not in called.err


@pytest.mark.parametrize(
    ("path", "named"),
    [("cli_own_net:Nope", "has no Nope"), ("cli_own_nothing:Net", "cannot be imported")],
)
@pytest.mark.parametrize("command", ["pretrain", "study"])
def test_a_path_that_leads_nowhere_leaves_no_run_behind(
    call: Call, root: Path, command: str, path: str, named: str
) -> None:
    given = sets(**{"model.encoder": path})
    if command == "study":
        given = ["--data", "shapes", "--set", f"pretrain.model.encoder={path}"]
    called = call(command, *given)
    assert (called.code, called.out) == (2, "")
    assert named in called.err.splitlines()[-1]
    assert folder_names(root) == []


def test_a_study_of_somebody_else_is_refused_before_it_goes_on(
    call: Call, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = build(StudyConfig, {"pretrain.model.encoder": NET, "pretrain.data.source": "shapes"})
    folder = create(root, "study", config)
    somebody_elses(folder, monkeypatch)
    for words in (["resume", folder.id], ["study", folder.id]):
        called = call(*words)
        assert (called.code, called.out) == (2, "")
        assert f"--allow-code {NET}" in called.err.splitlines()[-1]
    assert folder.record().status == "queued"


def test_a_detached_process_is_told_what_was_named(
    call: Call, root: Path, net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = trained(root, status="stopped", values={"model.encoder": NET})
    environments: list[dict[str, str]] = []

    class Process:
        def __init__(self, command: list[str], env: dict[str, str], **rest: object) -> None:
            environments.append(env)
            raise OSError(0, "no process is started here")

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", Process)
        assert call("resume", folder.id, "--detach", "--allow-code", NET).code == 2
    code = "import sys\nfrom engine.config import own_code\nown_code.load(sys.argv[1], 'x')\n"
    words = [sys.executable, "-c", code]
    assert code_of(words, NET, environments[-1]) == 0
    assert code_of(words, "cli_own_net:nn", environments[-1]) == 1, "of that one nobody said"


def code_of(words: list[str], path: str, environment: dict[str, str]) -> int:
    return subprocess.run([*words, path], env=environment, capture_output=True).returncode


def test_a_detached_process_runs_code_that_a_record_of_somebody_else_names(
    call: Call, root: Path, net: Path
) -> None:
    """The process is real; what makes the record another's is done to it as it starts."""
    (net / "sitecustomize.py").write_text("import os\nowner = os.getuid()\nos.getuid = lambda: 1\n")
    values = {key: value for key, value in SMALL.items() if key != "runtime.precision"}
    folder = create(root, "pretrain", build(PretrainConfig, values | {"model.encoder": NET}))
    command = [sys.executable, "-m", "moco_tui", "_train", str(folder.path)]
    environment = detached.child_environment()

    def train(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *more], env=environment, capture_output=True, text=True, timeout=120
        )

    refused = train()
    assert refused.returncode == 2
    assert f"--allow-code {NET}" in refused.stderr
    done = train("--allow-code", NET)
    assert f"--allow-code {NET}" not in done.stderr
    assert folder.record().started is not None


def test_own_code_is_pretrained_with_and_its_run_is_listed(call: Call, root: Path) -> None:
    called = call("pretrain", *sets(), "--json")
    assert called.code == 0, called.err
    assert json.loads(called.out)["status"] == "finished"
