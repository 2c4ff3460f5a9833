"""Configure a run: preset, every setting with its range, a preview, an estimate; start it."""

from __future__ import annotations

import asyncio

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.widgets import Button, Static

from engine.config.missing_settings import completed, flat_config
from engine.config.resolve import to_toml
from engine.config.schema import AnyConfig
from engine.errors import UserError
from engine.runs import RunFolder, create
from engine.runs.checkpoint_ref import split_checkpoint
from moco_tui import lazy
from moco_tui.present import fmt, form
from moco_tui.present import study_form as studyform
from moco_tui.present.augment_preview import Previewer
from moco_tui.present.probe_offer import probe_choices, to_record, why_no_probe_of
from moco_tui.screens.base_screen import BaseScreen
from moco_tui.screens.messages import StartRuns
from moco_tui.session import Session
from moco_tui.widgets.estimate_panel import EstimatePanel
from moco_tui.widgets.form_rows import FieldRow
from moco_tui.widgets.panel import Frame, ScrollFrame
from moco_tui.widgets.preview_panel import PreviewPanel
from moco_tui.widgets.run_form import RunForm
from moco_tui.widgets.study_axes import AddAxis, AxisRow, StudyAxes

CHECK_SECONDS = 0.15
"""How long nothing is typed before a study of many variants is checked."""


class NewRunScreen(BaseScreen):
    """The form for a pretraining, a probe or a study.

    Args:
        session: what all screens share.
        kind: what it begins with when neither of the others says it.
        parent: id of the pretraining to probe; with it the form begins as a probe.
        like: id of a run whose settings it begins with.
    """

    TITLE_TEXT = "New run"
    AUTO_FOCUS = ""  # on_mount chooses the field
    HELP = """Every setting has its range beside it and is checked as you type. A dot marks what
differs from the preset. Up and Down move between the fields, Left and Right choose, Enter opens a
section. F2 shows the augmentations on real images, F3 measures a few steps, F4 shows the same run
as a command and as TOML. What a study varies stands at the top, its values between commas: the
line below adds a setting, F9 takes the one in focus away."""
    BINDINGS = [
        # priority: also while a field has the focus, which would take the key first
        Binding("ctrl+s,f5", "start", "Start", key_display="^s", priority=True),
        Binding("f2", "side('preview')", "Preview"),
        Binding("f3", "side('estimate')", "Estimate"),
        Binding("f4", "side('text')", "Command"),
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
        self._starting = False
        self._meant: studyform.StudySize | None = None  # the person said that it may be so large
        self._focused_before: Widget | None = None
        self.found: dict[str, str] = {}  # what keeps the run from starting, as shown
        self.study_size: studyform.StudySize | None = None

    def _first_state(self) -> form.FormState:
        """What the form begins with: a run like another, a probe, or one of the chosen kind."""
        if self._like:
            try:
                record = self.session.folder(self._like).record()
                values = flat_config(record.kind, completed(record.kind, record.config))
                return form.FormState(record.kind, preset=record.preset, values=values)
            except (UserError, KeyError) as error:
                self.call_after_refresh(self.say, str(error), severity="error")
                return form.FormState("pretrain", preset="notebook")
        state = self.session.new_form("probe" if self._parent_id else self._kind)
        if self.session.device:
            state.use_device(self.session.device)
        return state

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
                begin=self.session.new_form,
                id="form",
            )
            with Vertical(id="side"):
                previewer = Previewer(self.session.data_dir)
                yield PreviewPanel(previewer, id="preview").add_class("side-part")
                with Frame("size", id="size", classes="side-part"):
                    yield Static("", id="size-text", markup=False)
                yield EstimatePanel(self.session.data_dir, id="estimate", classes="side-part")
                with ScrollFrame("as a command", id="text", classes="side-part"):
                    yield Static("", id="text-body", markup=False)
        yield Static("", id="size-line", markup=False)
        yield Static("", id="help", markup=False)

    @property
    def body(self) -> RunForm:
        """The form itself."""
        return self.query_one(RunForm)

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
        self.body.focus_first()

    def on_resize(self) -> None:
        """A wide screen shows the preview beside the form, once it is laid out."""
        self.call_after_refresh(self._show_preview)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Show the help of the field in focus."""
        del event
        self._show_help()

    def action_back(self) -> None:
        """Close the preview if it covers the form, else the form."""
        if self.has_class("-side"):
            self._close_side()
        else:
            super().action_back()

    def problems(self) -> dict[str, str]:
        """Everything that keeps the run from starting, by field."""
        return self.state.problems(self.body.parent_id)

    @on(RunForm.Changed)
    def _check(self) -> None:
        """Check all fields; update marks, help, command and preview."""
        state = self.state
        self.set_class(state.kind == "study", "-study")
        self.query_one(EstimatePanel).outdate()
        if state.kind != "study":
            self._show_found(self.problems())
        elif studyform.variants_at_most(state) < studyform.MANY_VARIANTS:
            self._show_study(studyform.sized(state))
        else:  # in a thread: thousands of variants would hold up the keys
            self.run_worker(self._check_study(state.copy()), group="check", exclusive=True)

    async def _check_study(self, state: form.FormState) -> None:
        await asyncio.sleep(CHECK_SECONDS)  # cancelled by the next key
        sized = await asyncio.to_thread(studyform.sized, state)
        if self.is_open and self.state.kind == "study":
            self._show_study(sized)

    def _show_study(self, sized: studyform.Sized) -> None:
        self.study_size = sized.size
        self.query_one("#size-line", Static).update(studyform.size_line(sized.size))
        self.query_one("#size-text", Static).update("\n".join(studyform.size_lines(sized.size)))
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
        row = self.focused.parent if self.focused is not None else None
        text = Text(overflow="ellipsis")
        wrong = ""
        if isinstance(row, FieldRow):
            field = row.field
            wrong = self.found.get(field.key, "")
            text.append(field.key, style="bold")
            text.append(f"  {field.help}\n")
            base = fmt.value(self.state.base[field.key])
            origin = "preset" if self.state.preset else "default"
            expected = f"{form.range_hint(field)}   {origin}: {fmt.clean(base)}"
            text.append(fmt.clean(wrong) if wrong else expected)
        elif isinstance(row, AxisRow):
            wrong = self.body.query_one(StudyAxes).drafts.wrong.get(row.key, "")
            about = studyform.varied_fields().get(row.key)
            text.append(fmt.clean(row.key), style="bold")
            text.append(f"  {about.help if about is not None else 'settings together'}\n")
            text.append(fmt.clean(wrong or f"{studyform.values_hint(row.key)}   F9 removes it"))
        else:
            text.append("Up and Down move, Left and Right choose, Enter opens a section.\n")
            text.append("• differs from the preset   ✗ has to be put right")
        help_ = self.query_one("#help", Static)
        help_.set_class(bool(wrong), "wrong")
        help_.update(text)

    def _show_preview(self) -> None:
        preview = self.query_one(PreviewPanel)
        if self.state.kind == "probe":
            preview.say("a probe sees the images as its head needs them")
            return
        settings = self.state.preview(self.found)
        if settings is not None:  # while one of them is wrong, the last pictures stay
            preview.show(*settings)

    def _command(self) -> str:
        body = self.body
        return self.state.command(parent=body.parent_id, name=body.run_name, detached=body.detached)

    def _show_text(self) -> None:
        if not self.query_one("#text").display:
            return
        text = Text(overflow="fold")
        text.append("The same run from the command line (F7 copies it):\n\n", style="bold")
        text.append(self._command() + "\n\n")
        text.append("Its configuration as TOML (F8 copies it):\n\n", style="bold")
        text.append(self.state.toml() or "something has to be put right first")
        self.query_one("#text-body", Static).update(text)

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
            self.call_after_refresh(self.set_focus, self._focused_before)

    def action_unvary(self) -> None:
        """Take the axis in focus away from what a study varies."""
        row = self.focused.parent if self.focused is not None else None
        if isinstance(row, AxisRow):
            row.remove_axis()
        else:
            self.say("F9 takes away the varied setting that is in focus; none is.")

    def action_views(self) -> None:
        """Draw other random views."""
        self.query_one(PreviewPanel).another()

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
        estimate = self.query_one(EstimatePanel)
        found = self.problems() if self.state.kind != "study" else self.found
        if found:
            key = next(iter(found))
            estimate.say(f"First put {form.label(key)} right: {found[key]}.")
        elif self.state.kind == "probe":
            estimate.say("An estimate is made for pretrainings; a probe takes minutes.")
        else:
            estimate.measure(to_toml(self.state.config()), self.state.kind, self.session.root)

    # ---------------------------------------------------------------------------- start

    @on(Button.Pressed, "#start")
    def action_start(self) -> None:
        """Start the run and show it."""
        self.run_worker(self._start(), group="start")

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
            self.say(f"{form.label(key) or 'settings'}: {found[key]}.", severity="error")
            self._focused_before = None  # the wrong field gets the focus
            self._close_side()
            await self.body.go_to(key)
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
        return create(
            self.session.root, kind, given, name=name, preset=preset, parent=run, checkpoint=which
        )
