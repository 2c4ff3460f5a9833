"""What all screens of one app share: the runs folder, its runs, the runner and how to draw."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from textual.dom import DOMNode

from engine.config.schema import TaskConfig
from engine.errors import RunError
from engine.runs import RunFolder
from engine.runs.default_task import default_task_of
from moco_tui.present.run_list import RunList
from moco_tui.terminal import abilities
from moco_tui.terminal.picture_store import PictureStore
from moco_tui.training.runner import Runner
from moco_tui.user.user_file import UserFile

if TYPE_CHECKING:
    from moco_tui.present.form import FormState
    from moco_tui.user.last_forms import LastForm

READ_ONLY = "This app only looks (--read-only)."
"""What a person is told who asks a read-only app for a change."""


class Session:
    """The state that the app hands to every screen.

    Args:
        root: the runs folder.
        data_dir: where data sets and their caches live.
        device: device for new runs when the form does not say another; None: the config's own.
        read_only: look only.
        runner: trains runs; tests bring their own.
        clock: the time now, in unix seconds.
        user: the user's own configuration; None: all of its defaults, and nothing is remembered.

    Attributes:
        runs: the runs of the folder, as last read.
        user: the user's own configuration.
        remembers: whether what the person chooses in the app is kept for the next start.
        ascii: whether everything is drawn in ASCII alone; found out once, as the terminal stays.
        pictures: how pictures are drawn.
        charts: keys of the charts that were chosen in this app, by kind of run.
    """

    def __init__(
        self,
        root: Path,
        *,
        data_dir: Path,
        device: str | None = None,
        read_only: bool = False,
        runner: Runner | None = None,
        clock: Callable[[], float] = time.time,
        user: UserFile | None = None,
    ) -> None:
        self.root = root
        self.data_dir = data_dir
        self.device = device
        self.read_only = read_only
        self.runs = RunList(root, read_only=read_only)
        self.runner = runner or Runner(data_dir)
        self.clock = clock
        self.user = user or UserFile(Path())
        self.remembers = user is not None and not read_only
        self._forms: Mapping[str, LastForm] | None = None  # None: not read yet
        self.ascii = abilities.ascii_only()
        self.pictures = PictureStore(ascii_only=self.ascii)
        self.charts: dict[str, list[str]] = {}

    def new_form(self, kind: str) -> FormState:
        """The form for a new run of a kind, as this user wants it to begin."""
        from moco_tui.present.form_start import first_form  # the first screen has no form

        return first_form(kind, self.user.config.form)

    def begun_form(self, kind: str, parent: str = "") -> FormState:
        """The form for a new run of a kind, like the last one of it that was made here.

        Args:
            kind: ``pretrain``, ``probe`` or ``study``.
            parent: id of the pretraining that a probe is of.
        """
        from moco_tui.present.form_start import first_form, of_parent

        last = of_parent(self._last_forms().get(kind), parent)
        return first_form(kind, self.user.config.form, last)

    def keep_form(self, state: FormState, parent: str = "") -> str:
        """Have the next form of its kind begin like this one; a sentence where that failed."""
        from moco_tui.present.form_start import last_form
        from moco_tui.user.last_forms import write_forms

        if self.remembers:
            self._forms = None  # another app may have written it meanwhile
        forms = {**self._last_forms(), state.kind: last_form(state, parent)}
        self._forms = forms
        return write_forms(self.user, forms) if self.remembers else ""

    def _last_forms(self) -> Mapping[str, LastForm]:
        if self._forms is None:
            from moco_tui.user.last_forms import read_forms

            self._forms = read_forms(self.user) if self.remembers else {}
        return self._forms

    def folder(self, run_id: str) -> RunFolder:
        """The folder of a run by its id."""
        return RunFolder(self.root / run_id)

    def default_task(self, run_id: str) -> str:
        """The task that suits the data of a pretraining; the usual where it cannot be read."""
        try:
            return default_task_of(self.folder(run_id).record())
        except RunError:
            return TaskConfig().name


class HasSession(Protocol):
    """An app with a session."""

    session: Session


def draws_ascii(node: DOMNode) -> bool:
    """Whether the app of a widget draws in ASCII alone; False in an app without a session.

    The filter of the app turns every line into ASCII anyway. Widgets ask where they have a better
    replacement than a character for a character, such as letters as the marks of curves.
    """
    if not hasattr(node.app, "session"):
        return False
    return cast(HasSession, node.app).session.ascii
