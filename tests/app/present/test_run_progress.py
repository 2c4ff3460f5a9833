"""A run's progress as facts and as one line."""

from __future__ import annotations

from pathlib import Path

from engine.history.entry import make_entry
from engine.runs.metric_writer import encode_line
from engine.runs.record import UserNotes
from engine.runs.training_time import seconds_trained
from moco_tui.present.pace import run_pace
from moco_tui.present.run_progress import progress_facts, progress_text, rates_line
from moco_tui.present.run_rows import row_of

from ..conftest import NOW, write_run


def test_the_line_tells_rate_and_eta_only_while_the_run_goes_on(root: Path) -> None:
    folder = write_run(
        root, "k7m2qx", status="running", step=20, total_steps=40, pairs_per_step=256, ended=None
    )
    lines = [encode_line(s, s / 10, 100.0 + s / 4, {"train/loss": 9.0}) for s in range(1, 21)]
    folder.metrics_path.write_bytes(b"".join(lines))
    log = folder.metrics()
    log.poll()
    record = folder.record()
    record.last = {"train/loss": 9.0, "probe/pretrained/test_top1": 57.25, "train/lr": 0.06}
    # 4 steps a second of 256 pairs; 20 steps are left.
    text = progress_text(progress_facts(record, "running", log))
    assert text == (
        "running  epoch 1/4  step 20/40  loss 9.000  lr 0.0600"
        "  probe/pretrained/test_top1 57.2 %  1,024 pairs/s  ETA 5 s"
    )
    assert "1,024 pairs/s  ETA 5 s" in rates_line(record, run_pace(record, "running", log), NOW)
    text = progress_text(progress_facts(record, "paused", log))
    assert "pairs/s" not in text
    assert "ETA" not in text


def test_what_only_the_untrained_encoder_has_is_no_progress(root: Path) -> None:
    folder = write_run(root, "k7m2qx", status="running", ended=None)
    record, log = folder.record(), folder.metrics()
    record.last, record.untrained = {"train/loss": 9.0, "knn/top1": 40.0}, {"knn/top1": 40.0}
    facts = progress_facts(record, "running", log)
    assert "kNN" not in progress_text(facts)
    assert row_of(make_entry(record, UserNotes())).top1 is None
    record.best = {"knn/top1": 40.0}  # now it was measured, and came out the same
    assert "kNN 40.0 %" in progress_text(progress_facts(record, "running", log))
    row = row_of(make_entry(record, UserNotes()))
    assert (row.top1, row.best, row.gain) == (40.0, 40.0, 0.0)


def test_how_long_a_run_took(root: Path) -> None:
    record = write_run(root, "k7m2qx", checkpoint_time=NOW).record()
    assert seconds_trained(record) == 540
    line = rates_line(record, run_pace(record, "finished", write_run(root, "b").metrics()), NOW)
    assert line.startswith("took 9 min 00 s  checkpoint now")
    record.trained_seconds = 90.0  # of the nine minutes; it was paused for the rest
    line = rates_line(record, run_pace(record, "finished", write_run(root, "c").metrics()), NOW)
    assert line.startswith("took 1 min 30 s  checkpoint now")
    record.trained_seconds = record.ended = None
    assert seconds_trained(record) is None
    assert seconds_trained(record, NOW) == 600
