"""The form for a new run: its rows, made from the configuration type, and the values entered."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Button, Input, Static

from engine.config.augment import AUGMENTATIONS
from engine.config.open_settings import followed, following
from engine.config.presets import presets_of
from moco_tui.present import fmt, form_fields
from moco_tui.present.form import FormState
from moco_tui.present.form_choices import Choice
from moco_tui.present.form_drafts import FormDrafts
from moco_tui.present.form_following import use_task
from moco_tui.present.study_form import AxisDrafts, ablated, switch_ablation
from moco_tui.widgets.after_layout import after_layout
from moco_tui.widgets.choosers import Checkbox, Chooser
from moco_tui.widgets.form_rows import FieldRow, FormRow, SectionHead
from moco_tui.widgets.form_sections import augmentation_rows, keys_of, rows_of, section_id
from moco_tui.widgets.line_input import LineInput
from moco_tui.widgets.open_rows import ChoiceRow, field_row
from moco_tui.widgets.panel import Panel
from moco_tui.widgets.shown_text import show_text
from moco_tui.widgets.study_axes import AblationRow, AxisRow, StudyAxes, ablation_rows

KINDS = (("pretrain", "pretraining"), ("probe", "probe"), ("study", "study"))


class RunForm(Panel, VerticalScroll, can_focus=False, inherit_bindings=False):
    """The form; the arrow keys move the focus from field to field, which scrolls as well.

    Args:
        state: the settings it begins with.
        parents: ids and titles of the pretrainings that can be probed.
        parent: id of the one to probe.
        device: the device that the app was told to use; None: the configuration's own.
        task_of: the task that suits the data of a pretraining, by its id.
        begin: the form of a kind of run before anything is typed.

    Attributes:
        devices: of this machine, as offered; None until they are known.
    """

    BINDINGS = [
        Binding("down", "app.focus_next", "Next field", show=False),
        Binding("up", "app.focus_previous", "Previous field", show=False),
        Binding("pagedown", "page_down", "Far down", show=False),
        Binding("pageup", "page_up", "Far up", show=False),
    ]

    class Changed(Message):
        """Something was typed or chosen."""

    def __init__(
        self,
        state: FormState,
        parents: Sequence[tuple[str, str]],
        *,
        parent: str = "",
        device: str | None = None,
        task_of: Callable[[str], str] | None = None,
        begin: Callable[[str], FormState] = lambda kind: FormState(kind),
        id: str | None = None,
    ) -> None:
        super().__init__("settings", id=id)
        self.drafts = FormDrafts(state, self._begun)
        self.parent_run = parent
        self._parents = list(parents)
        self._device = device
        self._task_of, self._begin = task_of, begin
        self._axes: AxisDrafts | None = None  # of the study, once there is one
        self._name = ""  # kept while the rows are made anew
        self._is_detached = False
        self.devices: tuple[Sequence[Choice], Mapping[str, str]] | None = None
        self._use_task()

    @property
    def state(self) -> FormState:
        """The settings of the kind of run that is shown."""
        return self.drafts.state

    def _begun(self, kind: str) -> FormState:
        """The form of another kind before anything is typed."""
        state = self._begin(kind)
        if self._device:
            state.use_device(self._device)
        return state

    def _axis_drafts(self) -> AxisDrafts:
        if self._axes is None:
            self._axes = AxisDrafts(self.state)
        return self._axes

    def on_mount(self) -> None:
        """Open the sections that there is room for."""
        after_layout(self, self.open_what_fits)

    def on_resize(self) -> None:
        """Keep the field in focus in sight: the help below takes lines from the form."""
        if self.has_focus_within and self.screen.focused is not None:
            focused = self.screen.focused
            after_layout(self, lambda: focused.scroll_visible(animate=False))

    def offer_devices(self, choices: Sequence[Choice], about: Mapping[str, str]) -> None:
        """Offer the devices of this machine.

        Args:
            choices: see ``ChoiceRow.offer``.
            about: what is said of each.
        """
        self.devices = choices, about
        self._show_devices()

    def _show_devices(self) -> None:
        if self.devices is not None:
            for row in self.query(ChoiceRow):
                if row.field.name == "device":
                    row.offer(*self.devices)

    # ---------------------------------------------------------------------------- rows

    def compose(self) -> ComposeResult:
        """What to run, the most important settings, and the others in sections."""
        kind = self.state.kind
        yield FormRow(
            "kind",
            Chooser(KINDS, kind, id="kind"),
            "what to run",
        )
        presets = presets_of(self.state.type)
        if presets:
            names = [(name, name) for name in presets]
            preset = Chooser([("", "defaults"), *names], self.state.preset, id="preset")
            yield FormRow("preset", preset, self._preset_summary(), id="preset-row")
        if kind == "probe":
            options = self._parents or [("", "no pretraining here yet")]
            parent = Chooser(options, self.parent_run, id="parent")
            yield FormRow("encoder of", parent, "the pretraining to probe", id="parent-row")
        name = LineInput(
            self._name,
            placeholder="optional",
            compact=True,
            max_length=200,
            id="name",
            select_on_focus=False,
        )
        yield FormRow("name", name, "for people")
        if kind == "study":
            yield StudyAxes(self._axis_drafts())
            yield SectionHead("Leave augmentations out", "ablate", len(AUGMENTATIONS))
            yield Vertical(id=section_id("ablate"), classes="rows")
        for key in form_fields.ESSENTIAL[kind]:
            yield field_row(self.state.known[key], self.state)
        yield FormRow(
            "run detached",
            Checkbox(self._is_detached, id="detached"),
            "in a process of its own, which outlives this app",
        )
        with Horizontal(id="buttons"):
            yield Button("Start (Ctrl+S)", id="start", variant="primary", compact=True)
            yield Static("", id="summary", markup=False)
        if kind == "pretrain":
            yield Static("Augmentations", classes="group", markup=False)
            yield from augmentation_rows(self.state)
        yield Static("", classes="gap")
        for title, section in form_fields.SECTIONS[kind]:
            keys = keys_of(section, self.state)
            if keys:
                yield SectionHead(title, section, len(keys))
                # Empty until it is opened: a row is four widgets, and most are never looked at.
                yield Vertical(id=section_id(section), classes="rows")

    def _preset_summary(self) -> str:
        preset = presets_of(self.state.type).get(self.state.preset)
        summary = preset.summary if preset is not None else "no preset"
        words = self.state.start_words()
        return f"{words}; {summary}" if words else summary

    # ---------------------------------------------------------------------------- what was entered

    @property
    def run_name(self) -> str:
        """The name of the run, as typed."""
        return fmt.clean(self.query_one("#name", Input).value).strip()

    @property
    def detached(self) -> bool:
        """Whether it is to run in a process of its own."""
        return self.query_one("#detached", Checkbox).value

    @property
    def parent_id(self) -> str:
        """The pretraining that a probe is of; empty for other runs."""
        return self.parent_run if self.state.kind == "probe" else ""

    # ---------------------------------------------------------------------------- editing

    @on(FieldRow.Edited)
    def _edited(self, event: FieldRow.Edited) -> None:
        event.stop()
        if event.state is not self.state:  # of a row that went with another kind of run
            return
        self.state.set(event.key, event.value)
        if event.key == "pretrain.runtime.device":  # the probes of a study use the same device
            self.state.set("probe.runtime.device", event.value)
            for row in self.query("#f-probe-runtime-device").results(FieldRow):
                row.refill()
        if event.key in followed(self.state.type):
            self._refill({*following(self.state.type)} - {event.key})
        self._unfold_augmentations()
        self.post_message(self.Changed())

    def _refill(self, keys: Collection[str]) -> None:
        """Show the settings that follow others as they are now."""
        for row in self.query(FieldRow):
            if row.field.key in keys:
                row.refill()

    def _unfold_augmentations(self) -> None:
        """Show the settings of the augmentations that are on."""
        for box in self.query("Vertical.rows"):
            name = (box.id or "").removeprefix("a-")
            if name in AUGMENTATIONS:
                key = f"{self.state.within}augment.{name}.enabled"
                box.display = bool(self.state.values[key])

    @on(Chooser.Changed, "#preset")
    async def _preset_chosen(self, event: Chooser.Changed) -> None:
        event.stop()
        self.state.use_preset(event.choice.value)
        await self.show_state()

    async def show_state(self) -> None:
        """Show all values as they are now, after another preset was chosen or rows were reset."""
        for row in self.query(FieldRow):
            row.refill()
        for axes in self.query(StudyAxes):
            await axes.refill()
        await self._refill_ablation()
        self._unfold_augmentations()
        for preset in self.query("#preset-row").results(FormRow):
            preset.say(self._preset_summary())
        self.post_message(self.Changed())

    async def reset_focused(self) -> str:
        """Give the row in focus the value of the preset; what was done, in words."""
        row = self.screen.focused
        while row is not None and not isinstance(row, FormRow):
            row = row.parent if isinstance(row.parent, Widget) else None
        if isinstance(row, FieldRow):
            key, called = row.field.key, form_fields.label(row.field.key)
        elif isinstance(row, AxisRow | AblationRow):
            key = "axes" if isinstance(row, AxisRow) else "ablate"
            called = "what is varied" if key == "axes" else "what is left out"
        else:
            return "No setting has the focus."
        if not self.state.is_changed(key) and key not in self.state.wrong:
            return f"{called} is as the preset says."
        self.state.reset(key)
        if key == "pretrain.runtime.device":  # which the probes use as well
            self.state.reset("probe.runtime.device")
        if key == "axes":
            await self._renew_axes()
            self.query_one(StudyAxes).go_to_wrong()
        await self.show_state()
        return f"{called} is as the preset says again."

    async def _renew_axes(self) -> None:
        for axes in self.query(StudyAxes):
            axes.drafts = self._axes = AxisDrafts(self.state)
            await axes.recompose()

    async def reset_all(self) -> str:
        """Give all rows the values of the preset, or bring back what that took; which, in words."""
        back = self.state.bring_back()
        if not back:
            self.state.reset_all()
        await self._renew_axes()
        await self.show_state()
        return "Your edits are back." if back else "All is as the preset says."

    @on(StudyAxes.Changed)
    def _axes_changed(self, event: StudyAxes.Changed) -> None:
        event.stop()
        self.post_message(self.Changed())

    @on(AblationRow.Switched)
    def _ablation_switched(self, event: AblationRow.Switched) -> None:
        event.stop()
        switch_ablation(self.state, event.name, event.on)
        for row in self.query(AblationRow):
            if isinstance(row.editor, Checkbox):
                chosen = ablated(self.state)
                whole = row.augmentation == "augment"
                named = "augment" in self.state.values["ablate"]
                row.editor.value = named if whole else row.augmentation in chosen
        self.post_message(self.Changed())

    async def _refill_ablation(self) -> None:
        for box in self.query("#" + section_id("ablate")):
            await box.remove_children()
            if any(head.open and head.section == "ablate" for head in self.query(SectionHead)):
                await box.mount_all(ablation_rows(self.state))

    def _use_task(self) -> None:
        """Solve the task that suits what is probed, unless the person has chosen one."""
        if self.state.kind == "probe" and self.parent_run and self._task_of is not None:
            use_task(self.state, self._task_of(self.parent_run))

    @on(Chooser.Changed, "#parent")
    def _parent_chosen(self, event: Chooser.Changed) -> None:
        event.stop()
        self.parent_run = event.choice.value
        self._use_task()
        self._refill({"task.name"})
        self.post_message(self.Changed())

    @on(Chooser.Changed, "#kind")
    async def _kind_chosen(self, event: Chooser.Changed) -> None:
        event.stop()
        kind = event.choice.value
        self._name = self.query_one("#name", Input).value
        self._is_detached = self.detached
        self.drafts.go_to(kind)
        if kind == "probe" and not self.parent_run and self._parents:
            self.parent_run = self._parents[0][0]
        self._use_task()
        if self._axes is not None and kind == "study":
            self._axes.lay_again()
        # Other settings altogether, so the rows are composed anew, and only the focus is kept.
        await self.recompose()
        self.query_one("#kind").focus()
        self._show_devices()
        after_layout(self, self.open_what_fits)
        self.post_message(self.Changed())

    @on(Input.Changed, "#name")
    @on(Checkbox.Changed, "#detached")
    def _name_or_place_changed(self, event: Message) -> None:
        event.stop()
        self.post_message(self.Changed())

    @on(SectionHead.Toggled)
    async def _toggled(self, event: SectionHead.Toggled) -> None:
        event.stop()
        if event.head.is_attached:
            await self.open_section(event.head)
        self.post_message(self.Changed())  # rows that were just mounted have no marks yet

    async def open_section(self, head: SectionHead) -> None:
        """Show or hide the rows of a section; they are made when it is opened first."""
        box = self.query_one("#" + section_id(head.section), Vertical)
        if head.open and not box.children:
            await box.mount_all(rows_of(head.section, self.state))
            self._show_devices()
        box.display = head.open

    async def open_what_fits(self) -> None:
        """Open the sections that there is room for, with a few lines for hints that wrap."""
        used = max((row.virtual_region.bottom for row in self.displayed_children), default=0)
        room = self.size.height - used
        for head in self.query(SectionHead):
            if not head.open and 0 < head.count <= room - 2 and head.section != "ablate":
                head.action_fold()
                room -= head.count

    # ---------------------------------------------------------------------------- showing

    def mark(self, problems: Mapping[str, str]) -> None:
        """Mark what differs from the preset and what is wrong, everywhere it shows.

        Args:
            problems: the sentence on each field that has to be put right.
        """
        for row in self.query(FieldRow):
            key = row.field.key
            row.mark(changed=self.state.is_changed(key), error=problems.get(key, ""))
        for axes in self.query(StudyAxes):
            axes.mark(problems)
        for head in self.query(SectionHead):
            keys = set(keys_of(head.section, self.state))
            changed = sum(self.state.is_changed(key) for key in keys)
            head.note(changed, len(keys & problems.keys()))
        for parent_row in self.query("#parent-row").results(FormRow):
            parent_row.mark(changed=False, error=problems.get("parent", ""))
        show_text(self.query_one("#summary", Static), self._summary(problems))

    def _summary(self, problems: Mapping[str, str]) -> str:
        if problems:  # under an empty key what is wrong with several settings together
            names = ", ".join(form_fields.label(key) if key else "settings" for key in problems)
            return f"✗ {len(problems)} to put right: {names}"
        return self.state.changed_words()
