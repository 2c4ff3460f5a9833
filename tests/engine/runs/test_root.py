"""The folder of all runs: runs are made whole and found by what people call them."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import pytest

from engine.config.run_schema import RuntimeConfig
from engine.config.schema import DataConfig, PretrainConfig, ProbeConfig
from engine.errors import RunError
from engine.runs import RunFolder, create, find, folders, own, runs_root


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


def test_a_run_is_found_by_id_prefix_name_and_latest(root: Path) -> None:
    folders_ = [create(root, "pretrain", PretrainConfig(), name=f"n{i}") for i in range(3)]
    with own(folders_[1]) as owner:
        owner.transition("running")
        owner.transition("stopped")
    folders_[1].set_user(name="the good one")
    for i, folder in enumerate(folders_):
        assert find(root, folder.id) == folder
        assert find(root, folder.id.upper()) == folder
        shortest = next(
            folder.id[:n]
            for n in range(1, 7)
            if sum(other.id.startswith(folder.id[:n]) for other in folders_) == 1
        )
        assert find(root, shortest) == folder
        assert find(root, "the good one" if i == 1 else f"n{i}") == folder
    assert find(root, "latest") == folders_[2]


def test_a_reference_that_means_none_or_several_is_a_sentence(root: Path) -> None:
    with pytest.raises(RunError, match="There are no runs in"):
        find(root, "latest")
    twins = [create(root, "pretrain", PretrainConfig(), name="twin") for _ in range(2)]
    with pytest.raises(RunError, match="could be any of") as caught:
        find(root, "twin")
    assert all(twin.id in str(caught.value) for twin in twins)
    for text in ("nothing", "../etc", "a/b", "", "  ", "\x1b[31m", "😀" * 300):
        with pytest.raises(RunError) as caught:
            find(root, text)
        assert "\x1b" not in str(caught.value)
        assert len(str(caught.value)) < 400


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
