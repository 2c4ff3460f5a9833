"""What is said of a run that has ended, is lost, or shows a fault."""

from __future__ import annotations

import math

from msgspec import Struct

from engine.errors import RunError
from engine.runs import Record, RunFolder
from engine.text import one_line
from moco_tui.user.user_schema import Event

_MOST_CHARACTERS = 1000  # of a sentence; the record has all of it
_ACCURACIES = ("probe/pretrained/test_top1", "knn/top1")
_KINDS = {"pretrain": "Pretraining", "probe": "Probe", "study": "Study"}


class RunNote(Struct, frozen=True, kw_only=True):
    """One thing that is told of a run; all texts are clean.

    Attributes:
        event: what has happened.
        run_id: of the run.
        name: what people call it; its id where it has no name.
        kind: ``pretrain``, ``probe`` or ``study``.
        accuracy: in percent, such as ``57.3``: of a probe its test accuracy, else that of kNN;
            empty where none is known.
        message: one or two sentences.
        topic: what distinguishes it from others of its event and run: the name of a diagnosis.
    """

    event: Event
    run_id: str
    name: str
    kind: str
    accuracy: str
    message: str
    topic: str = ""

    @property
    def title(self) -> str:
        """A few words."""
        return f"moco-tui: {self.event}"

    def environment(self) -> dict[str, str]:
        """The variables that the command of a person finds."""
        return {
            "MOCO_TUI_RUN_ID": self.run_id,
            "MOCO_TUI_RUN_NAME": self.name,
            "MOCO_TUI_RUN_STATE": self.event,
            "MOCO_TUI_RUN_KIND": self.kind,
            "MOCO_TUI_ACCURACY": self.accuracy,
            "MOCO_TUI_MESSAGE": self.message,
        }


def note_of(folder: RunFolder, event: Event, detail: str = "", topic: str = "") -> RunNote:
    """The note on a run, from its folder as it is now. Never raises.

    Args:
        folder: the run; a damaged record leaves only its id.
        event: what has happened.
        detail: of a failure the reason, of a warning all that is said.
        topic: of a warning the name of the diagnosis.
    """
    try:
        record = folder.record()
    except RunError:
        record = Record(id=folder.id, kind="", created=0.0)
    accuracy = _accuracy(record)
    name = one_line(folder.title())
    what = _KINDS.get(record.kind, "Run")
    subject = f"{what} {name}" if name == folder.id else f"{what} {name} ({folder.id})"
    of = f", {accuracy} %" if accuracy else ""
    message = {
        "finished": f"{subject} is finished{of}.",
        "failed": f"{subject} failed: {detail or record.error or 'no reason is recorded'}",
        "lost": f"{subject} is lost after step {record.step}: its process is gone.",
        "warning": f"{subject}: {detail}",
    }[event]
    return RunNote(
        event=event,
        run_id=folder.id,
        name=name,
        kind=one_line(record.kind),
        accuracy=accuracy,
        message=one_line(message)[:_MOST_CHARACTERS],
        topic=topic,
    )


def sample_note() -> RunNote:
    """A note on no run, to try the ways out."""
    return RunNote(
        event="finished",
        run_id="test00",
        name="test",
        kind="pretrain",
        accuracy="57.3",
        message="This is a test: a run that has ended would be told like this.",
    )


def _accuracy(record: Record) -> str:
    for name in _ACCURACIES:
        value = record.last.get(name)
        if value is not None and math.isfinite(value):
            return f"{value:.1f}"
    return ""
