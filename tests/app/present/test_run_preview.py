"""What the preview says of a run, beside its curves."""

from __future__ import annotations

from pathlib import Path

import pytest

from moco_tui.present.baseline import RunBaseline
from moco_tui.present.pace import RunPace
from moco_tui.present.run_list import RunList
from moco_tui.present.run_preview import PreviewReader, RunPreview, short_names

from ..conftest import some_runs, write_run
from ..studies import write_study


def preview(root: Path, run_id: str, *, base: str = "") -> RunPreview:
    catalog = RunList(root)
    catalog.refresh()
    rows = catalog.rows
    reader = PreviewReader(root)
    return reader.read(rows[run_id], rows, RunBaseline(rows, base), lambda record: RunPace())


def text(found: RunPreview, name: str = "", width: int = 80) -> str:
    lines = found.parts[name].lines(width) if name else found.head
    return "\n".join("".join(part for part, _ in line) for line in lines)


def test_a_pretraining_says_how_far_it_is_and_what_it_reached(root: Path) -> None:
    some_runs(root)
    found = preview(root, "q4r8st", base="k7m2qx")
    head = text(found)
    assert "epoch 8 of 12" in head
    assert "step 80 of 120" in head
    assert "of chance 19.41" in head, "2 ln(16384 + 1)"
    assert "K 16384" in head
    # best 48 + 10 (1 - exp(-80 / 50)) against 45 + 10 (1 - exp(-120 / 50)), of 44.3 untrained
    assert "best 56.0 % (untrained +11.7, base +1.9)" in head
    assert found.chance == pytest.approx(19.408, abs=1e-3)
    assert "(+9.8 over untrained)  the baseline" in text(preview(root, "k7m2qx", base="k7m2qx"))


def test_settings_stand_beside_those_of_the_preset(root: Path) -> None:
    write_run(root, "k7m2qx", sets=("moco.queue_size=1024", "augment.crop.enabled=false", "lr=2"))
    lines = text(preview(root, "k7m2qx"), "settings").splitlines()
    assert [line.split() for line in lines] == [
        ["crop", "off", "(on)"],
        ["queue_size", "1024", "(4096)"],
        ["lr", "2", "(0.06)"],
    ]
    write_run(root, "same00")
    assert "all is as in its preset" in text(preview(root, "same00"), "settings")


def test_a_setting_has_the_shortest_name_that_is_its_own() -> None:
    assert short_names(["moco.queue_size", "optim.lr"]) == ["queue_size", "lr"]
    assert short_names(["a.p", "b.p", "p"]) == ["a.p", "b.p", "p"]
    assert short_names(["x.crop.p", "y.crop.p", "q.p"]) == ["x.crop.p", "y.crop.p", "q.p"]
    assert short_names([]) == []


def test_a_failed_run_says_why_and_a_note_is_no_markup(root: Path) -> None:
    some_runs(root)
    found = preview(root, "f6g3hj")
    assert "a lower optim.lr usually helps" in text(found)
    assert "bad" in {look for line in found.head for _, look in line}
    assert "the first one that learns" in text(preview(root, "k7m2qx"))


def test_the_log_is_the_end_without_its_dates(root: Path) -> None:
    some_runs(root)
    assert text(preview(root, "k7m2qx"), "log") == "10:00:00 reading images\n10:00:02 epoch 1"
    assert "log" not in preview(root, "q4r8st").parts


def test_a_probe_shows_its_table_and_the_probes_beside_it(root: Path) -> None:
    some_runs(root)
    found = preview(root, "p2b9dz")
    table = text(found, "text")
    assert "pretrained" in table
    assert "57.3 %" in table
    assert "airplane" in table
    assert found.parts["probes"].title == "probes of notebook"


def test_a_study_shows_its_table_and_its_answer(root: Path) -> None:
    write_study(root, created=0.0)
    found = preview(root, "s5t6dy")
    for width in (20, 70, 150):
        shown = text(found, "text", width)
        assert "pretrainings" in shown
        assert "comparisons" in shown
        assert shown.count("task ") >= 2, "two tables"
    narrow = found.parts["text"].lines(70)
    assert all(len("".join(part for part, _ in line)) <= 70 for line in narrow[:8])


def test_a_run_that_cannot_be_read_says_so(root: Path) -> None:
    some_runs(root)
    catalog = RunList(root)
    catalog.refresh()
    (root / "k7m2qx" / "run.json").write_bytes(b"{")
    reader, rows = PreviewReader(root), catalog.rows
    found = reader.read(rows["k7m2qx"], rows, RunBaseline(rows, ""), lambda record: RunPace())
    assert "run.json" in text(found)
    assert found.parts == {}


def test_a_pace_stands_beside_the_progress(root: Path) -> None:
    some_runs(root)
    catalog = RunList(root)
    catalog.refresh()
    rows = catalog.rows
    pace = RunPace(steps_per_second=2.0, pairs_per_second=1898.0, eta_seconds=240.0)
    found = PreviewReader(root).read(rows["q4r8st"], rows, RunBaseline(rows, ""), lambda _: pace)
    assert "1,898 pairs/s  ETA 4 min 00 s" in text(found)
