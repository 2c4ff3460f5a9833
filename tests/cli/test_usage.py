"""Mistakes of the person at the prompt: one sentence on stderr, nothing on stdout, exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.runs import folder_names
from moco_tui.cli import COMMANDS

from ..environment import with_packages
from .conftest import Call, trained

ESCAPE = "\x1b[2J"


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["traim"], "train"),
        (["run"], "runs"),
        (["zzzz"], "--help"),
        ([f"a{ESCAPE}\nb"], "command"),
        (["pretrain", "--preset", "notebok"], "notebook"),
        (["pretrain", "--preset", f"x{ESCAPE}\ny"], "preset"),
        (["pretrain", "--set", "queue_size"], "key=value"),
        (["pretrain", "--set", "queue_sise=4096"], "queue_size"),
        (["pretrain", "--set", f"x{ESCAPE}\ny=1"], "setting"),
        (["pretrain", "--set", "queue_size=0"], "at least 1"),
        (["pretrain", "--set", "queue_size=many"], "whole number"),
        (["pretrain", "--set", "temperature=0"], "above 0"),
        (["pretrain", "--set", "temperature=nan"], "moco.temperature"),
        (["pretrain", "--set", "p=0.5"], "whole name"),
        (["pretrain", "--set", "bn_splits=7"], "divide"),
        (["pretrain", "--data", "imagenet"], "folder:PATH"),
        (["pretrain", "--config", "missing.toml"], "missing.toml"),
        (["pretrain", "--config", f"missing\n{ESCAPE}.toml"], "config file"),
        (["pretrain", "--nonsense"], "--nonsense"),
        (["pretrain", "extra"], "extra"),
        (["presets", "notebok"], "notebook"),
        (["probe", "nobody"], "no runs"),
        (["show"], "RUN"),
        (["show", "nobody"], "no runs"),
        (["show", ""], "no runs"),
        (["compare", "nobody", "noone"], "no runs"),
        (["runs", "--limit", "0"], "--limit"),
        (["runs", "--json=3"], "--json"),
        (["export", "nobody", "--format", "xls"], "csv"),
        (["stop", "nobody", "--timeout", "-1"], "--timeout"),
        (["watch", "nobody", "--interval", "0"], "--interval"),
        (["completion", "tcsh"], "bash"),
        (["completion"], "Choose from: bash, zsh, fish."),
        (["stop", "latest", "--timeout", "nan"], "number of seconds"),
        (["resume", "latest", "extra"], "extra argument (extra)."),
        (["pretrain", "--config", "/"], "a folder stands where a file should be"),
        (["pretrain", "--device", "cuda:x"], "cuda:N"),
        (["pretrain", "--data", "folder:"], "folder:PATH"),
        (["pretrain", "--set", "model.encoder=resnet99"], "resnet18"),
        (["pretrain", "--name"], "--name"),
        (["pretrain", "--set", "=3"], "--set =3 names no key"),
        (["study", "--set", " = 3"], "names no key"),
        (["pretrain", "--preset", ""], "notebook"),
        (["probe"], "RUN"),
        (["resume", "latest", "--allow-code", "Net"], "package.module:Name"),
        (["study", "--rows", ""], "source, task"),
        (["runs", "--filter", "("], "ends where"),
        (["runs", "--sort", "nonsense"], "nonsense"),
        (["delete"], "RUN"),
        (["restore", "nobody"], "empty"),
        (["reindex", "x"], "extra argument (x)."),
        (["presets", "a", "b"], "extra argument (b)."),
        (["doctor", "--json=1"], "--json"),
        (["--nope"], "--nope"),
        (["--runs-dir"], "--runs-dir"),
        (["--device", "banana", "demo", "--no-app"], "cuda:N"),
        (["_train"], "PATHS"),
        (["_train", "x", "--lock-fd", "x"], "--lock-fd"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    call: Call, root: Path, args: list[str], named: str
) -> None:
    called = call(*args)
    assert called.code == 2
    assert called.out == ""
    assert called.err.startswith("moco-tui: ")
    assert called.err.count("\n") == 1
    assert called.err.endswith((".\n", "?\n"))
    assert named in called.err
    assert "\x1b" not in called.err
    assert folder_names(root) == []


def test_an_unknown_run_and_an_ambiguous_one(call: Call, root: Path) -> None:
    runs = {trained(root).id for _ in range(30)}  # more than there are first letters
    first = next(c for c in "bcdfghjkmnpqrstvwxyz23456789" if sum(r[0] == c for r in runs) > 1)
    for command in ("show", "watch", "stop", "tag", "export"):
        called = call(command, first)
        assert (called.code, called.out) == (2, "")
        assert "could be any of" in called.err
        assert called.err.count("\n") == 1
        called = call(command, f"no\nbody{ESCAPE}")
        assert (called.code, called.out) == (2, "")
        assert called.err.count("\n") == 1
        assert "\x1b" not in called.err


def test_an_empty_toml_key_and_a_broken_file_are_named(call: Call, tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("[moco\nqueue_size = 1")
    called = call("pretrain", "--config", str(broken))
    assert called.code == 2
    assert "not valid TOML" in called.err
    assert called.err.count("\n") == 1
    broken.write_text("[moco]\nqueue_sise = 1")
    called = call("pretrain", "--config", str(broken))
    assert called.code == 2
    assert "did you mean" in called.err


def test_the_app_without_a_terminal_is_refused(call: Call) -> None:
    called = call()
    assert called.code == 2
    assert "terminal" in called.err
    assert called.err.count("\n") == 1


@pytest.mark.parametrize("command", [name for name in COMMANDS if not name.startswith("_")])
def test_every_command_has_help_that_names_its_options(call: Call, command: str) -> None:
    called = call(command, "--help")
    assert (called.code, called.err) == (0, "")
    assert called.out.startswith(f"Usage: moco-tui {command}")
    assert "--runs-dir" in called.out


@pytest.mark.parametrize(
    "args",
    [
        ["tag", "{id}", "+x"],
        ["note", "{id}", "x"],
        ["rename", "{id}", "x"],
        ["delete", "{id}"],
        ["restore", "{id}"],
        ["stop", "{id}"],
        ["reindex"],
        ["pretrain", "--preset", "quick"],
        ["probe", "{id}"],
        ["resume", "{id}"],
        ["demo"],
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_read_only_changes_nothing(call: Call, root: Path, args: list[str], before: bool) -> None:
    id_ = trained(root, status="stopped").id
    files = _files(root)
    words = [word.format(id=id_) for word in args]
    called = call("--read-only", *words) if before else call(*words, "--read-only")
    assert (called.code, called.out) == (2, "")
    assert "--read-only" in called.err
    assert _files(root) == files


@pytest.mark.parametrize(
    "args", [["runs"], ["show", "{id}"], ["watch", "{id}"], ["tag", "{id}"], ["restore"]]
)
def test_looking_works_read_only_and_leaves_no_file(
    call: Call, root: Path, args: list[str]
) -> None:
    id_ = trained(root).id
    files = _files(root)
    called = call("--read-only", *(word.format(id=id_) for word in args))
    assert called.code == 0
    assert _files(root) == files


def _files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["runs"],
        ["runs", "--json", "--filter", "kind:pretrain"],
        ["show", "latest"],
        ["compare", "{a}", "{b}"],
        ["watch", "{a}"],
        ["tag", "{a}", "+x"],
        ["export", "{a}"],
        ["presets"],
    ],
)
def test_commands_that_only_look_import_neither_torch_nor_textual(
    root: Path, args: list[str]
) -> None:
    ids = {"a": trained(root).id, "b": trained(root).id}
    words = [word.format(**ids) for word in args]
    code = (
        "import sys\n"
        "from moco_tui.cli import main\n"
        "try:\n"
        f"    main({words!r})\n"
        "except SystemExit as left:\n"
        "    assert not left.code, left.code\n"
        "heavy = {'torch', 'torchvision', 'numpy', 'textual', 'plotext', 'tensorboard'}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=with_packages(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = ("made anew", "was never full")  # of the history, and of the queue in so few steps
    lines = done.stderr.splitlines()
    narrated = [line for line in lines if not any(words in line for words in said)]
    wanted = [f"tags of {ids['a']}:"] if args[0] == "tag" else []
    assert (done.returncode, narrated) == (0, wanted)


def test_the_shell_completes_commands_and_runs(
    root: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    id_ = trained(root).id
    monkeypatch.setenv("_MOCO_TUI_COMPLETE", "zsh_complete")
    for words, at, wanted in (
        ("moco-tui comp", "1", "compare"),
        (f"moco-tui show {id_[:2]}", "2", id_),
    ):
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", at)
        called = call()
        assert wanted in called.out.split("\n")
        assert "_train" not in called.out
    monkeypatch.delenv("_MOCO_TUI_COMPLETE")
    for shell in ("bash", "zsh", "fish"):
        assert "_MOCO_TUI_COMPLETE" in call("completion", shell).out


def _run(words: list[str], **streams: Any) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    environment["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, sys.path))
    return subprocess.run(
        [sys.executable, "-m", "moco_tui", *words],
        env=environment,
        text=True,
        timeout=60,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams,
    )


def test_a_reader_that_has_enough_is_no_failure(root: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as gone:
        done = _run(["presets", "--settings"], stdout=gone)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("words", [["presets", "--settings"], ["--version"], ["--help"]])
def test_a_full_disk_under_stdout_is_a_sentence(root: Path, words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = _run(words, stdout=full)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "No space left" in done.stderr


def test_closed_streams_are_no_failure(root: Path) -> None:
    trained(root)
    command = f"{sys.executable} -m moco_tui runs >&- 2>&-"
    environment = with_packages()
    assert subprocess.run(["sh", "-c", command], env=environment, timeout=60).returncode == 0
