"""The rows of a runs folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from moco_tui.present.run_list import RunList

from ..conftest import write_run


def test_a_root_that_is_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("not a folder")
    catalog = RunList(tmp_path / "runs")
    catalog.refresh()
    assert catalog.rows == {}
    assert "runs" in catalog.error


def test_an_error_of_an_empty_list_counts_as_a_change(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    root.mkdir()
    runs = RunList(root)
    assert runs.refresh()
    assert not runs.refresh(full_every=0)
    version = runs.version
    root.rmdir()
    root.write_text("not a folder")
    assert runs.refresh(full_every=0), "the screen shows what has changed alone"
    assert "runs" in runs.error
    assert runs.version > version
    root.unlink()
    root.mkdir()
    assert runs.refresh(full_every=0)
    assert runs.error == ""


def test_sizes_are_counted_behind_the_list_and_again_while_files_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    still = write_run(tmp_path, "k7m2qx")
    grows = write_run(tmp_path, "q4r8st", status="queued")
    looked_at: list[str] = []

    def size_of(path: Path) -> int:
        looked_at.append(path.name)
        return sum(file.stat().st_size for file in path.iterdir())

    monkeypatch.setattr("moco_tui.present.run_list.size_of", size_of)
    runs = RunList(tmp_path)
    runs.refresh()
    assert looked_at == []
    assert [row.size for row in runs.rows.values()] == [None, None]
    runs.count_sizes()
    assert runs.refresh()
    assert runs.rows[still.id].size == still.record_path.stat().st_size
    monkeypatch.setattr("moco_tui.present.run_list._RECOUNT_SECONDS", 0.0)
    (grows.path / "more").write_bytes(b"m" * 999)
    looked_at.clear()
    runs.count_sizes()
    assert looked_at == [grows.id], "one whose files stay is counted once"
    runs.refresh()
    assert runs.rows[grows.id].size == grows.record_path.stat().st_size + 999
    later = RunList(tmp_path)
    later.refresh()
    assert later.rows[still.id].size == still.record_path.stat().st_size, "the index keeps it"
