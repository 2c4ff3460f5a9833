"""One pretraining by several ranks, as a person starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from engine.runs import RunFolder, folders
from moco_tui.cli import main
from moco_tui.cli.ranks import ALONE

from ..engine.rank_processes import Rank, ranks_doing
from .conftest import Call, trained

ROOT = Path(__file__).parents[2]
SMALL = (
    *("--preset", "quick", "--set", "epochs=2", "--set", "stop_epoch=0", "--set", "batch_size=16"),
    *("--set", "threads=1", "--set", "queue_size=64", "--set", "model.bn_splits=2"),
    *("--set", "precision=float32", "--device", "cpu"),
)
LONG = (*SMALL, "--set", "epochs=20000")


@pytest.fixture
def images(tmp_path: Path) -> str:
    """A folder of images without classes."""
    (tmp_path / "images").mkdir()
    for i in range(32):
        Image.new("RGB", (32, 32), (3 * i, 90, 200)).save(tmp_path / "images" / f"{i:02}.png")
    return f"folder:{tmp_path / 'images'}"


def called(root: Path, *of_each: tuple[str, ...]) -> tuple[int, str]:
    """The exit code of the command that this rank gets, and what it said."""
    os.environ["MOCO_TUI_RUNS"], os.environ["MOCO_TUI_DATA"] = str(root), str(root.parent / "data")
    rank = int(os.environ["RANK"])
    said = root.parent / f"said by {rank}"
    with said.open("w") as sys.stderr:
        try:
            main(list(of_each[rank % len(of_each)]))
        except SystemExit as left:
            code = left.code
    return (code if isinstance(code, int) else int(bool(code))), said.read_text()


def only_run(root: Path) -> RunFolder:
    (folder,) = folders(root)
    return folder


def test_two_ranks_train_one_run_and_one_writes_it(root: Path, images: str) -> None:
    command = ("pretrain", *SMALL, "--data", images)
    with ranks_doing(2, called, root, command) as ranks:
        (code, said), (other_code, other_said) = (rank.answer() for rank in ranks)
        pid = ranks[0].process.pid
    assert (code, other_code, other_said) == (0, 0, "")
    folder = only_run(root)
    record = folder.record()
    assert (record.status, record.step, record.pid) == ("finished", 4, pid)
    assert f"finished: run {folder.id}" in said
    facts = record.facts
    assert (facts["ranks"], facts["nodes"], facts["backend"]) == (2, 1, "gloo")
    assert any("2 ranks of 1 thread over gloo" in line for line in folder.log_tail(30))
    assert record.config["runtime"]["device"] == "cpu"


def test_what_only_one_rank_was_told_is_refused_in_one_sentence(root: Path, images: str) -> None:
    command = ("pretrain", *SMALL, "--data", images)
    with ranks_doing(2, called, root, command, (*command, "--set", "lr=0.1")) as ranks:
        (code, said), (other_code, other_said) = (rank.answer() for rank in ranks)
    assert (code, other_code, other_said) == (2, 2, "")
    (sentence,) = said.splitlines()
    assert "has the configuration " in sentence
    assert sentence.endswith("all ranks of a run need the same.")
    assert not list(folders(root))


@pytest.mark.parametrize("dies", [0, 1])
def test_a_killed_rank_ends_the_run_as_failed_and_is_named(
    root: Path, images: str, dies: int
) -> None:
    with ranks_doing(2, called, root, ("pretrain", *LONG, "--data", images)) as ranks:
        wait_for_steps(root, ranks[0])
        pid = ranks[dies].process.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        code, said = ranks[1 - dies].answer()
        assert time.monotonic() - began < 30.0
    record = only_run(root).record()
    assert (code, record.status) == (1, "failed")
    assert record.error is not None
    assert record.error.startswith(f"Rank {dies} (process {pid} on ")
    assert said.splitlines()[-1] == f"moco-tui: {record.error}"


def wait_for_steps(root: Path, rank: Rank) -> None:
    deadline = time.monotonic() + 180.0
    while not any(folder.metrics_path.exists() for folder in folders(root)):
        assert rank.process.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--parallel",), "--parallel needs --devices, which says where the ranks are"),
        (("--devices", "cpu:2"), "add --parallel to compute this run on them together"),
        (("--devices", "cpu:x", "--parallel"), "devices names cpu:x; it must be all, or devices"),
        (("--devices", "cuda:0,cpu:2", "--parallel"), "--devices is cuda:0,cpu:2; the ranks of"),
        (("--devices", "mps", "--parallel"), "--devices is mps; the ranks of one run need cards"),
        (("--devices", "cuda:7", "--parallel"), "devices names cuda:7, and "),
        (("--devices", "cuda:7,cuda:8", "--parallel"), "devices names cuda:7, and "),
        (("--devices", "cpu:2", "--parallel", "--device", "cpu"), "were both given"),
        (("--devices", "cpu:3", "--parallel"), "optim.batch_size is 32, which 3 ranks cannot"),
        (("--devices", "cpu:2", "--parallel", "--set", "model.bn_splits=1"), "model.bn_splits is"),
        (("--devices", "cpu:4", "--parallel", "--detach", "--data", "folder:/no"), "no folder /no"),
    ],
)
def test_what_does_not_fit_is_one_sentence_and_leaves_no_run(
    root: Path, call: Call, args: tuple[str, ...], words: str
) -> None:
    values = ("--set", "batch_size=32", "--set", "queue_size=64", "--set", "model.bn_splits=4")
    done = call("pretrain", "--preset", "quick", *values, *args)
    assert (done.code, done.out) == (2, "")
    assert words in done.err.splitlines()[-1]
    assert not list(folders(root))


@pytest.mark.parametrize("command", ALONE)
def test_torchrun_with_another_command_says_what_would_be_right(
    call: Call, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "0")
    done = call(command, "latest")
    assert done.code == 2
    assert f"torchrun started several processes of moco-tui {command}" in done.err
    assert "call it without torchrun" in done.err
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert call(command, "latest").err == "", "one of the processes says it"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--detach",), "--detach under torchrun"),
        (("--devices", "cpu:3"), "--devices names 3 devices, but the launcher has started 2"),
        (("--set", "batch_size=33"), "optim.batch_size is 33"),
    ],
)
def test_torchrun_with_options_of_others(
    call: Call, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], words: str
) -> None:
    environment = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    values = ("--set", "batch_size=32", "--set", "queue_size=64", "--set", "model.bn_splits=1")
    done = call("pretrain", "--preset", "quick", *values, *args)
    assert done.code == 2
    assert words in done.err


def test_only_a_pretraining_is_resumed_over_ranks(root: Path, call: Call) -> None:
    from engine.config.resolve import build
    from engine.config.schema import ProbeConfig
    from engine.runs import create

    parent = trained(root)
    probe = create(root, "probe", build(ProbeConfig, {}), parent=parent.id)
    done = call("resume", probe.id, "--devices", "cpu:2", "--parallel")
    assert done.code == 2
    assert "Several ranks compute a pretraining only" in done.err


@pytest.mark.slow  # a launcher and its ranks import torch three times
def test_a_launcher_starts_the_ranks_and_a_detached_one_goes_on_with_them(
    root: Path, images: str
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    moco_tui = [sys.executable, "-m", "moco_tui"]
    over_ranks = ["--devices", "cpu:2", "--parallel"]
    long = [argument for argument in LONG if argument not in ("--device", "cpu")]
    first = subprocess.Popen(
        [*moco_tui, "pretrain", *long, "--data", images, *over_ranks],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    while not any(folder.metrics_path.exists() for folder in folders(root)):
        assert first.poll() is None
        time.sleep(0.1)
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=180)
    assert first.returncode == 130
    folder = only_run(root)
    step = folder.record().step
    assert folder.status() == "stopped"
    assert f"moco-tui resume {folder.id} goes on from there" in said

    resume = [*moco_tui, "resume", folder.id, *over_ranks, "--detach", "--json"]
    done = subprocess.run(resume, capture_output=True, text=True, env=environment, timeout=180)
    assert done.returncode == 0, done.stderr
    assert folder.id == json.loads(done.stdout)["id"]
    while folder.record().step <= step + 2:
        assert folder.status() != "failed"
        time.sleep(0.1)
    stop = [*moco_tui, "stop", folder.id]
    assert subprocess.run(stop, env=environment, timeout=180).returncode == 0
    assert folder.status() == "stopped"
    assert folder.record().facts["ranks"] == 2
    launcher = json.loads(done.stdout)["pid"]
    deadline = time.monotonic() + 90.0
    while Path(f"/proc/{launcher}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
