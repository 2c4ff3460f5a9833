"""The screen of a form: its rows, what stands beside them, and what is typed there."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import Static

from engine.config.phrases import plural
from engine.machine.load_reader import LoadReader
from engine.runs.device_holder import holder_of
from engine.runs.heartbeat import host_name
from moco_tui import lazy
from moco_tui.present import fmt, form
from moco_tui.present import study_form as studyform
from moco_tui.present.device_choices import device_choices
from moco_tui.present.estimate_note import slowed_by, training_here
from moco_tui.present.form_choices import Choice
from moco_tui.present.form_help import axis_help, field_help, form_help
from moco_tui.present.lines import Line
from moco_tui.present.probe_offer import probe_choices
from moco_tui.screens.base_screen import BaseScreen
from moco_tui.screens.dialogs import LeaveEdits
from moco_tui.session import Session
from moco_tui.training.runner import Runner
from moco_tui.widgets.background_work import work_behind
from moco_tui.widgets.form_focus import focus_first
from moco_tui.widgets.form_rows import FieldRow, FormRow
from moco_tui.widgets.form_side import FormSide
from moco_tui.widgets.run_form import RunForm
from moco_tui.widgets.shown_text import show_text
from moco_tui.widgets.study_axes import AddAxis, AxisRow, StudyAxes

CHECK_SECONDS = 0.15
"""How long nothing is typed before a study of many variants is checked."""


class FormScreen(BaseScreen):
    """Shows a form, checks it as it is edited, and asks before what was typed is left.

    Args:
        session: what all screens share.
    """

    AUTO_FOCUS = ""  # on_mount chooses the field

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._parent_id = ""
        self._starting = False
        self._focused_before: Widget | None = None
        self._begun = False  # a field has the focus
        self._refocuses = False  # a field gets the focus back once it is seen again
        self._edits_given_up = False
        self.found: dict[str, str] = {}  # what keeps the run from starting, as shown
        self.study_size: studyform.StudySize | None = None

    def _first_state(self) -> form.FormState:
        """What the form begins with."""
        return self._begin("pretrain")

    def _begin(self, kind: str) -> form.FormState:
        """The form of a kind of run before anything is typed: as the last one was run."""
        return self.session.begun_form(kind, self._parent_id)

    def _parents(self) -> list[tuple[str, str]]:
        """The encoders that can be probed, and their titles."""
        rows = self.session.runs.rows
        return probe_choices(list(rows.values()), self.session.root, self._parent_id)

    # ---------------------------------------------------------------------------- widgets

    def content(self) -> ComposeResult:
        """The form, the side with preview, estimate and text, and the help of the field."""
        with Horizontal(id="form-body"):
            yield RunForm(
                self._first_state(),
                self._parents(),
                parent=self._parent_id,
                device=self.session.device,
                task_of=self.session.default_task,
                begin=self._begin,
                id="form",
            )
            yield FormSide(self.session.data_dir, self.session.root)
        yield Static("", id="size-line", markup=False)
        yield Static("", id="help", markup=False)

    @property
    def body(self) -> RunForm:
        """The form itself."""
        return self.query_one(RunForm)

    @property
    def side(self) -> FormSide:
        """What stands beside it."""
        return self.query_one(FormSide)

    @property
    def state(self) -> form.FormState:
        """The settings as entered."""
        return self.body.state

    # ---------------------------------------------------------------------------- life

    def on_mount(self) -> None:
        """Import torch ahead, check the form, focus the setting to change first.

        The preview and a started run need torch, whose import takes seconds.
        """
        lazy.preload()
        self._check()
        focus_first(self.body)
        work_behind(self, self._show_devices, group="devices")

    async def _show_devices(self) -> None:
        """Offer the devices of this machine, with who is on them now."""
        found = await asyncio.to_thread(_devices, self.session.runner)
        if self.is_open:
            self.body.offer_devices(*found)

    @property
    def holds_keys(self) -> bool:
        """Whether keys wait: no field has the focus yet, or the run is about to begin."""
        starts = any(each.group == "start" and each.is_running for each in self.workers)
        return starts or self._starting or self._refocuses or not self._begun

    def on_resize(self) -> None:
        """A wide screen shows the preview beside the form, once it is laid out."""
        self.call_after_refresh(self._show_preview)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Show the help of the field in focus."""
        del event
        self._begun = True
        self._show_help()

    def action_back(self) -> None:
        """Close the preview if it covers the form, else the form."""
        if self.has_class("-side"):
            self._close_side()
        elif not self.asks_about_edits(super().action_back):
            super().action_back()

    def asks_about_edits(self, leave: Callable[[], None]) -> bool:
        """Whether something was typed: then this asks whether to leave it, and does so.

        Args:
            leave: closes the form or the app; called when the person gives up what was typed.
        """
        count = self.body.drafts.typed() + bool(self.body.run_name)
        if not count or self._starting or self._edits_given_up:
            return False

        def answered(gives_up: bool | None) -> None:
            if gives_up:
                self._edits_given_up = True
                leave()
                self._edits_given_up = False  # it may still be kept open, by a run that trains

        if not isinstance(self.app.screen, LeaveEdits):  # a key pressed twice asks once
            self.app.push_screen(LeaveEdits(plural(count, "setting")), answered)
        return True

    def problems(self) -> dict[str, str]:
        """Everything that keeps the run from starting, by field."""
        return self.state.problems(self.body.parent_id)

    @on(RunForm.Changed)
    def _check(self) -> None:
        """Check all fields; update marks, help, command and preview."""
        state = self.state
        self.set_class(state.kind == "study", "-study")
        self.set_class(state.kind == "probe", "-probe")
        self.say_start()
        self.side.estimate.outdate()
        if state.kind != "study":
            self._show_found(self.problems())
        elif studyform.variants_at_most(state) < studyform.MANY_VARIANTS:
            self._show_study(studyform.sized(state))
        else:  # in a thread: thousands of variants would hold up the keys
            check = partial(self._check_study, state.copy())
            work_behind(self, check, group="check", exclusive=True)

    def say_start(self) -> None:
        """Say at the top what the form began with."""
        self.top.set(self.state.start_words())

    async def _check_study(self, state: form.FormState) -> None:
        await asyncio.sleep(CHECK_SECONDS)  # cancelled by the next key
        sized = await asyncio.to_thread(studyform.sized, state)
        if self.is_open and self.state.kind == "study":
            self._show_study(sized)

    def _show_study(self, sized: studyform.Sized) -> None:
        self.study_size = sized.size
        show_text(self.query_one("#size-line", Static), studyform.size_line(sized.size))
        self.side.show_size(sized.size)
        self._show_found(sized.found)

    def _show_found(self, found: dict[str, str]) -> None:
        self.found = found
        self.body.mark(found)
        self._show_help()
        self._show_text()
        self._show_preview()

    @on(AddAxis.Asked)
    def _choose_axis(self) -> None:
        """Ask for a setting that the study is to vary."""
        from moco_tui.screens.setting_dialog import SettingChoice

        axes = self.query_one(StudyAxes)

        async def add(key: str | None) -> None:
            if key:
                await axes.add(key)

        self.app.push_screen(SettingChoice(set(axes.drafts.texts)), add)

    # ---------------------------------------------------------------------------- showing

    def _show_help(self) -> None:
        """Below the form: what the field in focus is, its range and base value, or its error."""
        row = self._focused_row()
        if isinstance(row, FieldRow):
            wrong = self.found.get(row.field.key, "")
            lines = field_help(row.field, self.state, wrong)
        elif isinstance(row, AxisRow):
            wrong = self.body.query_one(StudyAxes).drafts.wrong.get(row.key, "")
            lines = axis_help(row.key, wrong)
        elif row is not None and row.hint:
            wrong, lines = "", [[(row.called.strip(), "strong"), (f"  {row.hint}", "")]]
        else:
            wrong, lines = "", form_help()
        help_ = self.query_one("#help", Static)
        help_.set_class(bool(wrong), "wrong")
        show_text(help_, _text(lines))

    def _focused_row(self) -> FormRow | None:
        """The row of the field in focus."""
        node = self.focused
        return (
            next((each for each in node.ancestors if isinstance(each, FormRow)), None)
            if node
            else None
        )

    def _show_preview(self) -> None:
        self.side.show_preview(self.state, self.found)

    def _command(self) -> str:
        body = self.body
        return self.state.command(parent=body.parent_id, name=body.run_name, detached=body.detached)

    def _show_text(self) -> None:
        self.side.show_text(self._command(), self.state.toml())

    def action_side(self, part: str) -> None:
        """Show the preview, the estimate or the text; on a narrow screen in place of the form."""
        classes = {"-side", f"-{part}"}
        already_shown = classes <= set(self.classes)
        if self.focused is not None:
            self._focused_before = self.focused
        if already_shown:
            self._close_side()
        else:
            self.remove_class("-side", "-preview", "-estimate", "-text")
            self.add_class(*classes)
        # What is hidden is not kept up to date; its display is known after the next refresh.
        self.call_after_refresh(self._show_text)
        self.call_after_refresh(self._show_preview)
        if part == "estimate" and not already_shown:
            self.action_estimate()

    def _close_side(self) -> None:
        """Show the form; refocus its field, which lost the focus when it was hidden."""
        self.remove_class("-side", "-preview", "-estimate", "-text")
        if self._focused_before is not None and self._focused_before.is_mounted:
            self._refocuses = True
            self.call_after_refresh(self._refocus, self._focused_before)

    def _refocus(self, field: Widget) -> None:
        self._refocuses = False
        self.set_focus(field)

    async def action_reset(self) -> None:
        """Give the row in focus the value of the preset."""
        self.say(await self.body.reset_focused())

    async def action_reset_all(self) -> None:
        """Give all rows the values of the preset, or bring back what that took."""
        self.say(await self.body.reset_all())

    def action_unvary(self) -> None:
        """Take the axis in focus away from what a study varies."""
        row = self._focused_row()
        if isinstance(row, AxisRow):
            row.remove_axis()
        else:
            self.say("F9 takes away the varied setting that is in focus; none is.")

    def action_views(self) -> None:
        """Draw other random views."""
        self.side.preview.another()

    def action_copy(self) -> None:
        """Put the command line on the clipboard."""
        self.app.copy_to_clipboard(self._command())
        self.say("The command is on the clipboard.")

    def action_copy_toml(self) -> None:
        """Put the configuration on the clipboard."""
        toml = self.state.toml()
        if toml:
            self.app.copy_to_clipboard(toml)
            self.say("The configuration is on the clipboard.")
        else:
            self.say("Something has to be put right first.", severity="warning")

    def action_estimate(self) -> None:
        """Measure a few steps in a process of its own."""
        found = self.problems() if self.state.kind != "study" else self.found
        names = training_here(self.session.runs.rows.values(), host_name())
        self.side.measure(self.state, found, slowed_by(names))


def _devices(runner: Runner) -> tuple[Sequence[Choice], Mapping[str, str]]:
    """The devices of this machine; called in a thread, as the driver may take a while."""
    here = {name: f"run {folder.id}" for name, folder in runner.computing().items()}
    reader = LoadReader()
    try:
        load = reader.read()
    finally:
        reader.close()
    holders = {card.uuid: holder_of(f"cuda-{card.uuid}") for card in load.cards if card.uuid}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return device_choices(load, holders, visible, mps=sys.platform == "darwin", here=here)


def _text(lines: Sequence[Line]) -> Text:
    """Lines as a text that wraps."""
    text = Text("\n").join(
        Text.assemble(*((fmt.clean(part), "bold" * (look == "strong")) for part, look in line))
        for line in lines
    )
    text.overflow = "fold"
    return text
