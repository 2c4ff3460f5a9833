"""What is said of a run: clean, short, with its accuracy where there is one."""

from __future__ import annotations

from pathlib import Path

from engine.runs import RunFolder
from engine.runs.record import UserNotes
from moco_tui.notify.run_note import note_of

from ..conftest import write_run

ESCAPE = "\x1b]0;owned\x07"


def test_a_pretraining_and_a_probe_have_their_accuracy(root: Path) -> None:
    run = write_run(root, "k7m2qx", name="notebook", steps=20)
    note = note_of(run, "finished")
    knn = run.record().last["knn/top1"]
    assert note.message == f"Pretraining notebook (k7m2qx) is finished, {knn:.1f} %."
    assert note.environment() == {
        "MOCO_TUI_RUN_ID": "k7m2qx",
        "MOCO_TUI_RUN_NAME": "notebook",
        "MOCO_TUI_RUN_STATE": "finished",
        "MOCO_TUI_RUN_KIND": "pretrain",
        "MOCO_TUI_ACCURACY": f"{knn:.1f}",
        "MOCO_TUI_MESSAGE": note.message,
    }
    last = {"probe/pretrained/test_top1": 57.34, "probe/pixels/test_top1": 31.0}
    probe = write_run(root, "p2b9dz", kind="probe", last=last)
    assert note_of(probe, "finished").message == "Probe p2b9dz is finished, 57.3 %."


def test_without_an_accuracy_it_is_empty(root: Path) -> None:
    run = write_run(root, "f6g3hj", last={"knn/top1": float("nan")}, status="failed", error="Why.")
    note = note_of(run, "failed")
    assert note.accuracy == ""
    assert note.message == "Pretraining f6g3hj failed: Why."


def test_hostile_texts_come_out_clean(root: Path) -> None:
    run = write_run(
        root,
        "f6g3hj",
        status="failed",
        error=f"a{ESCAPE}\nb" * 2000,
        notes=UserNotes(name=f"x{ESCAPE}\u202ey"),
    )
    for event in ("failed", "lost", "warning", "finished"):
        note = note_of(run, event, f"c{ESCAPE}" if event == "warning" else "")
        for text in note.environment().values():
            assert text.isprintable() or text == ""
            assert len(text) <= 1000


def test_a_run_that_cannot_be_read_is_told_by_its_id(root: Path) -> None:
    (root / "aaaaaa").mkdir(parents=True)
    assert note_of(RunFolder(root / "aaaaaa"), "lost").message.startswith("Run aaaaaa is lost")
