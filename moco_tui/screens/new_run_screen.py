"""Configure a run: preset, every setting with its range, a preview, an estimate; start it."""

from __future__ import annotations

import asyncio

from textual import on
from textual.binding import Binding
from textual.widgets import Button

from engine.config.missing_settings import completed, flat_config
from engine.config.schema import AnyConfig
from engine.errors import UserError
from engine.runs import RunFolder, create
from engine.runs.checkpoint_ref import split_checkpoint
from moco_tui.present import fmt, form, form_fields
from moco_tui.present import study_form as studyform
from moco_tui.present.probe_offer import to_record, why_no_probe_of
from moco_tui.screens.form_screen import FormScreen
from moco_tui.screens.messages import StartRuns
from moco_tui.session import Session
from moco_tui.widgets.background_work import work_behind
from moco_tui.widgets.form_focus import go_to


class NewRunScreen(FormScreen):
    """The form for a pretraining, a probe or a study.

    Args:
        session: what all screens share.
        kind: what it begins with when neither of the others says it.
        parent: id of the pretraining to probe; with it the form begins as a probe.
        like: id of a run whose settings it begins with.
    """

    TITLE_TEXT = "New run"
    HELP = """Every setting has its range beside it and is checked as you type. A dot marks what
differs from the preset: Ctrl+R gives a row its value of the preset, F10 gives all rows theirs, and
F10 again brings back what that took. What you type stays when you choose another preset or kind.
Up and Down move between the fields, Left and Right choose, Enter opens a section. F2 shows the
augmentations on real images, F3 measures a few steps, F4 shows the same run as a command and as
TOML. What a study varies stands at the top, its values between commas: the line below adds a
setting, F9 takes the one in focus away."""
    BINDINGS = [
        # priority: also while a field has the focus, which would take the key first
        Binding("ctrl+s,f5", "start", "Start", key_display="^s", priority=True),
        Binding("f2", "side('preview')", "Views"),
        Binding("f3", "side('estimate')", "Estimate"),
        Binding("f4", "side('text')", "Command"),
        Binding("ctrl+r", "reset", "Reset", key_display="^r"),
        Binding("f10", "reset_all", "Preset"),
        Binding("f9", "unvary", "Vary the setting no more", show=False),
        Binding("f6", "views", "Other views", show=False),
        Binding("ctrl+y,f7", "copy", "Copy the command", show=False),
        Binding("f8", "copy_toml", "Copy the TOML", show=False),
    ]

    def __init__(
        self, session: Session, *, kind: str = "pretrain", parent: str = "", like: str = ""
    ) -> None:
        super().__init__(session)
        self._kind, self._parent_id, self._like = kind, parent, like
        self._meant: studyform.StudySize | None = None  # the person said that it may be so large

    def _first_state(self) -> form.FormState:
        """What the form begins with: a run like another, a probe, or one of the chosen kind."""
        if self._like:
            try:
                record = self.session.folder(self._like).record()
                values = flat_config(record.kind, completed(record.kind, record.config))
                words = f"as run {fmt.clean(record.id)}"
                return form.FormState(record.kind, preset=record.preset, values=values, words=words)
            except (UserError, KeyError) as error:
                self.call_after_refresh(self.say, str(error), severity="error")
                return form.FormState("pretrain", preset="notebook")
        state = self._begin("probe" if self._parent_id else self._kind)
        if self.session.device:
            state.use_device(self.session.device)
        return state

    # ---------------------------------------------------------------------------- start

    @on(Button.Pressed, "#start")
    def action_start(self) -> None:
        """Start the run and show it."""
        work_behind(self, self._start, group="start")

    async def _checked(self) -> dict[str, str]:
        """What is wrong now; of a study worked out in a thread."""
        if self.state.kind != "study":
            return self.problems()
        sized = await asyncio.to_thread(studyform.sized, self.state.copy())
        self.study_size = sized.size
        return sized.found

    def _is_meant(self) -> bool:
        """Whether a very large study may begin; asks where it is not known, and then starts it."""
        size = self.study_size
        if self.state.kind != "study" or size is None or size.cells < studyform.MANY_CELLS:
            return True
        if self._meant == size:
            return True
        from moco_tui.screens.dialogs import Confirm

        def begin(yes: bool | None) -> None:
            if yes:
                self._meant = size
                self.action_start()

        question = f"The study has {studyform.size_line(size)}; that may take weeks. Begin it?"
        self.app.push_screen(Confirm(question, "Begin it (y)", "No (n)"), begin)
        return False

    async def _start(self) -> None:
        # A second press comes before the screen is closed: it must not create a second run.
        if self._starting or not self.writable():
            return
        found = await self._checked()
        if found:
            key = next(iter(found))
            self.say(f"{form_fields.label(key) or 'settings'}: {found[key]}.", severity="error")
            self._focused_before = None  # the wrong field gets the focus
            self._close_side()
            await go_to(self.body, key)
            return
        if not self._is_meant():
            return
        self._starting = True
        body = self.body
        if self.state.kind == "probe" and body.parent_id:
            # in a thread: it reads a file, which may lie on another machine
            parent = self.session.folder(split_checkpoint(body.parent_id)[0])
            if reason := await asyncio.to_thread(why_no_probe_of, parent):
                self._starting = False
                self.say(reason, severity="error")
                return
        detached = body.detached
        try:
            config = self.state.config()
            folder = await asyncio.to_thread(
                self.make_run, config, body.run_name, self.state.preset, body.parent_id
            )
        except UserError as error:
            self._starting = False
            self.say(str(error), severity="error")
            return
        self.dismiss()  # first, so that Escape in the run does not lead back to the form
        self.ask_app(StartRuns(folder, detached=detached, show=True, new=True))

    def make_run(self, config: AnyConfig, name: str, preset: str, parent: str) -> RunFolder:
        """The folder of the new run; called in a thread, where no widget may be touched."""
        kind, (run, which) = self.state.kind, split_checkpoint(parent)
        given = to_record(config, self.session.folder(run))
        folder = create(
            self.session.root, kind, given, name=name, preset=preset, parent=run, checkpoint=which
        )
        if problem := self.session.keep_form(self.state, parent):
            self.say(problem, severity="warning")
        return folder
