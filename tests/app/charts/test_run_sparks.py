"""The losses of the runs on screen as lines of blocks."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.runs.log_sample import sampled
from engine.runs.metric_writer import encode_line
from moco_tui.charts import run_sparks
from moco_tui.charts.run_sparks import RunSparks
from moco_tui.present.run_list import RunList

from ..conftest import some_runs, write_run


def test_a_run_shows_its_loss_and_how_far_it_is(root: Path) -> None:
    some_runs(root)
    folder = write_run(root, "n5w7xy", total_steps=16, status="stopped")
    lines = [encode_line(s, s, s, {"train/loss": 16.0 - s}) for s in range(8)]
    folder.metrics_path.write_bytes(b"".join(lines))
    catalog = RunList(root)
    catalog.refresh()
    sparks = RunSparks(root)
    row = catalog.rows["n5w7xy"]
    assert sparks.text(row, 8) == "", "nothing was read yet"
    assert sparks.read(["n5w7xy", "p2b9dz"])
    # Means of two steps each, highest to lowest, and the half that is not trained yet.
    assert sparks.text(row, 8) == "█▆▃▁    "
    assert RunSparks(root, ascii_only=True).text(row, 8) == ""
    assert sparks.text(catalog.rows["p2b9dz"], 8) == "", "it has no curve"


def test_only_what_has_grown_is_read_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some_runs(root)
    sparks = RunSparks(root)
    assert sparks.read(["k7m2qx", "q4r8st"])
    read: list[Path] = []
    inner = sampled

    def counted(path: Path, *rest: object) -> object:
        read.append(path)
        return inner(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(run_sparks, "sampled", counted)
    assert not sparks.read(["k7m2qx", "q4r8st"])
    with (root / "q4r8st" / "metrics.jsonl").open("ab") as file:
        file.write(encode_line(81, 8.1, 0, {"train/loss": 8.0}))
    assert sparks.read(["k7m2qx", "q4r8st"])
    assert [path.parent.name for path in read] == ["q4r8st"]


def test_a_bounded_number_of_runs_stays_in_memory(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_sparks, "MOST_KEPT", 3)
    sparks = RunSparks(root)
    sparks.read([f"r{number}" for number in range(10)])
    assert len(sparks._samples) <= 3
