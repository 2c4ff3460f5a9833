"""Messages from the screens to the app, one class for each thing that it does for them.

Screens do not call the app, so that neither module imports the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from textual.message import Message

from engine.runs import RunFolder
from engine.runs.encoder_look import LookRequest

Severity = Literal["information", "warning", "error"]


class Say(Message):
    """Show a sentence for a few seconds; it is never read as markup."""

    def __init__(self, text: str, severity: Severity = "information") -> None:
        super().__init__()
        self.text, self.severity = text, severity


class OpenMessage(Message):
    """Open a screen. A key pressed twice opens one: of waiting requests only the newest counts."""

    def can_replace(self, message: Message) -> bool:
        """Whether the next message in the queue supersedes this one, which is then dropped."""
        return isinstance(message, OpenMessage)


class OpenRun(OpenMessage):
    """Show a run: a study as a study, every other in the monitor."""

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.run_id = run_id


class OpenForm(OpenMessage):
    """Configure a new run.

    Args:
        kind: what the form begins with when neither of the others says it.
        parent: id of the pretraining to probe; with it the form begins as a probe.
        like: id of a run whose settings it begins with.
    """

    def __init__(self, kind: str = "pretrain", *, parent: str = "", like: str = "") -> None:
        super().__init__()
        self.kind, self.parent, self.like = kind, parent, like


class OpenSetting(OpenMessage):
    """Show the form at a setting.

    Args:
        kind: of run; a form for this kind that is shown already stays as it is.
        key: of the setting.
    """

    def __init__(self, kind: str, key: str) -> None:
        super().__init__()
        self.kind, self.key = kind, key


class OpenBranch(OpenMessage):
    """Configure a run that goes on from a checkpoint of another one.

    Args:
        run_id: of the pretraining.
        which: its checkpoint: an epoch, ``best``, or empty for the last.
        longer: begin with twice as many epochs.
    """

    def __init__(self, run_id: str, which: str = "", *, longer: bool = False) -> None:
        super().__init__()
        self.run_id, self.which, self.longer = run_id, which, longer


class OpenStudy(OpenMessage):
    """Show the newest study; where there is none, the form for one."""


class OpenComparison(OpenMessage):
    """Show runs side by side."""

    def __init__(self, run_ids: Sequence[str]) -> None:
        super().__init__()
        self.run_ids = list(run_ids)


class OpenLook(OpenMessage):
    """Show what encoders make of images."""

    def __init__(self, request: LookRequest) -> None:
        super().__init__()
        self.request = request


class StartRuns(Message):
    """Train or resume runs in turn.

    Args:
        folders: the runs.
        detached: in a process of their own that outlives the app, else in the app.
        show: open the first of them.
        new: they were made for this a moment ago: those that cannot be started are removed again.
    """

    def __init__(
        self, *folders: RunFolder, detached: bool = False, show: bool = False, new: bool = False
    ) -> None:
        super().__init__()
        self.folders, self.detached, self.show, self.new = folders, detached, show, new


class StartDemo(Message):
    """Start a small pretraining on the embedded images and a probe of it."""
