"""The rows of a runs folder."""

from __future__ import annotations

from pathlib import Path

from moco_tui.present.run_list import RunList


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
