"""The result of a probe as a table."""

from __future__ import annotations

from pathlib import Path

from engine.history.entry import make_entry
from engine.runs.record import UserNotes
from moco_tui.present.probe_table import probe_lines
from moco_tui.present.run_order import arrange, fold_of
from moco_tui.present.run_rows import row_of
from moco_tui.present.run_summary import line

from ..conftest import RESULT, write_run

OLD = {key: value for key, value in RESULT.items() if not key.startswith("encoder_")}


def test_the_table_says_which_encoder_it_is_about(root: Path) -> None:
    for run_id, result, words in (
        ("a2b9dz", RESULT | {"encoder_step": 24}, "step 24 of 120, 20 %"),
        ("b2b9dz", OLD, "step not recorded"),
    ):
        record = write_run(root, run_id, kind="probe", result=result).record()
        text = "\n".join("".join(part for part, _ in each) for each in probe_lines(record, {}))
        assert f"pretrained encoder: {words}" in text
        row = row_of(make_entry(record, UserNotes()))
        assert words in line(row).plain
    queued = write_run(root, "c2b9dz", kind="probe", status="queued").record()
    assert "encoder" not in line(row_of(make_entry(queued, UserNotes()))).plain


def test_many_probes_show_the_best_of_the_furthest_encoder(root: Path) -> None:
    rows = []
    for number, (step, top1) in enumerate([(120, 50.0), (120, 52.0), (24, 90.0), (None, 91.0)]):
        result = {"top1": top1} | ({} if step is None else {**RESULT, "encoder_step": step})
        result["top1"] = top1
        record = write_run(root, f"p{number}", kind="probe", parent="k7m2qx", result=result)
        rows.append(row_of(make_entry(record.record(), UserNotes())))
    assert fold_of("k7m2qx", rows, open_=False).best == 52.0
    assert len(arrange(rows)) == 4
