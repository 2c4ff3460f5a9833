"""The folder of all runs: runs are made whole or not at all, and one bad entry hides no other."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path

import msgspec
import pytest

from engine.config.run_schema import RuntimeConfig
from engine.config.schema import DataConfig, PretrainConfig, ProbeConfig
from engine.errors import RunError
from engine.runs import RunFolder, create, folder_names, folders, runs_root
from engine.runs import root as runs_folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def test_ids_are_short_unambiguous_and_their_own(root: Path) -> None:
    ids = [create(root, "probe", ProbeConfig()).id for _ in range(40)]
    assert len(set(ids)) == 40
    for id_ in ids:
        assert len(id_) == 6
        assert not set(id_) & set("aeiou01l")
        assert not id_.isdigit()
    assert sorted(ids) == [folder.id for folder in folders(root)]


def test_two_processes_that_make_runs_at_once_never_meet(root: Path) -> None:
    made: list[RunFolder] = []

    def work() -> None:
        made.extend(create(root, "pretrain", PretrainConfig()) for _ in range(10))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({folder.path for folder in made}) == 40
    assert all(folder.record().id == folder.id for folder in made)


def test_where_the_runs_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MOCO_TUI_RUNS", raising=False)
    assert runs_root(None) == Path.cwd() / "runs"
    monkeypatch.setenv("MOCO_TUI_RUNS", "elsewhere")
    assert runs_root(None) == Path.cwd() / "elsewhere"
    assert runs_root("/a/../b") == Path("/b")


def test_a_root_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot be written: .*--runs-dir"):
        create(tmp_path / "file" / "runs", "pretrain", PretrainConfig())


def test_a_new_run_is_queued_and_holds_its_resolved_config(root: Path) -> None:
    config = PretrainConfig(runtime=RuntimeConfig(seed=7))
    folder = create(root, "pretrain", config, name="a\nb", preset="quick")
    record = folder.record()
    assert folder.path == root / record.id
    assert folder.status() == record.status == "queued"
    assert (record.kind, record.preset, record.name, record.seed) == ("pretrain", "quick", "a b", 7)
    assert msgspec.convert(record.config, PretrainConfig) == config
    assert not folder.alive()
    assert folder.log_tail(5) == []
    assert not folder.metrics().poll()


def test_a_run_that_cannot_be_made_leaves_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(root, "pretrain", PretrainConfig())
    before = sorted(root.iterdir())

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    def odd(*args: object) -> None:
        raise UnicodeEncodeError("utf-8", "\udce9", 0, 1, "surrogates not allowed")

    for name, broken, error in (
        ("replace_file", full, RunError),
        ("encode_record", odd, RunError),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(runs_folder, name, broken)
            with pytest.raises(error):
                create(root, "pretrain", PretrainConfig())
        assert sorted(root.iterdir()) == before


def test_no_run_is_made_where_nobody_could_own_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(RunError, match=r"has no file locks \(flock\).*--runs-dir"):
        runs_folder.check_place(root)
    assert not root.exists()
    with pytest.raises(RunError, match=r"has no file locks \(flock\).*--runs-dir"):
        create(root, "pretrain", PretrainConfig())
    assert list(root.iterdir()) == []


def test_what_a_killed_process_left_half_made_is_removed(root: Path) -> None:
    old, young, other = root / ".bcdfgh.new", root / ".ghjkmn.new", root / ".notes.new"
    for folder in (old, young, other):
        folder.mkdir(parents=True)
        (folder / "run.json").write_bytes(b"")
    long_ago = time.time() - 86_400
    for folder in (old, other):
        os.utime(folder, (long_ago, long_ago))
    run = create(root, "pretrain", PretrainConfig())
    assert {path.name for path in root.iterdir()} == {
        ".ghjkmn.new",
        ".notes.new",
        ".newest",
        run.id,
    }


def test_an_entry_that_cannot_be_looked_at_is_left_out_and_named(root: Path) -> None:
    run = create(root, "pretrain", PretrainConfig())
    (root / "latest-run").symlink_to("latest-run")
    (root / "nowhere").symlink_to("gone")
    (root / "empty").mkdir()
    skipped: dict[str, OSError] = {}
    assert folder_names(root, skipped) == [run.id]
    assert list(skipped) == ["latest-run"]
    assert folder_names(root) == [run.id]


def test_a_run_that_cannot_be_recorded_leaves_nothing_behind(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PretrainConfig(data=DataConfig(source="folder:/lat\udce9n"))
    with pytest.raises(RunError, match="not UTF-8"):
        create(root, "pretrain", config)
    assert list(root.iterdir()) == []

    def full(*_args: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("engine.runs.root.replace_file", full)
    with pytest.raises(RunError, match="the disk is full"):
        create(root, "pretrain", PretrainConfig())
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("hours", [-87_660, -2, 2, 87_660])
def test_a_run_in_the_making_is_not_removed_whatever_the_clock_says(
    root: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """While it is made, the clock is set and another process makes a run."""
    moved = []

    def between(*_args: object) -> None:
        monkeypatch.undo()
        (making,) = root.glob(".*.new")
        then = time.time() + 3600 * hours
        os.utime(making, (then, then))
        moved.append(create(root, "pretrain", PretrainConfig()))

    monkeypatch.setattr("engine.runs.root.note_newest", between)
    run = create(root, "pretrain", PretrainConfig())
    assert run.record().status == "queued"
    assert {folder.id for folder in folders(root)} == {run.id, moved[0].id}
    assert not run.alive(), "nobody holds it any more"
    abandoned = root / ".bcdfgh.new"
    abandoned.mkdir()
    (abandoned / "lock").touch()  # of a process that was killed
    then = time.time() + 3600 * hours
    os.utime(abandoned, (then, then))
    create(root, "pretrain", PretrainConfig())
    assert not abandoned.exists()
