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
