"""Configure a run: preset, every setting with its range, a preview, an estimate; start it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widget import Widget
from textual.widgets import Button, Input, Static

from engine.config import PretrainConfig
from engine.errors import ConfigError, UserError
from engine.presets import PRESETS
from engine.runs import RunFolder, create
from moco_tui import fmt, form, lazy
from moco_tui.detach import child_environment
from moco_tui.preview import Previewer
from moco_tui.screens.base import BaseScreen
from moco_tui.widgets.fields import Choice, FieldRow, Row, SectionHead, Tick
from moco_tui.widgets.line import Line
from moco_tui.widgets.preview import Preview

ESTIMATE_SECONDS = 300


class FormScroll(VerticalScroll, can_focus=False, inherit_bindings=False):
    """The form; the arrow keys go from field to field and take it along."""

    BINDINGS = [
        Binding("down", "app.focus_next", "Next field", show=False),
        Binding("up", "app.focus_previous", "Previous field", show=False),
        Binding("pagedown", "page_down", "Far down", show=False),
        Binding("pageup", "page_up", "Far up", show=False),
    ]


class NewRunScreen(BaseScreen):
    """The form for a pretraining or a probe.

    Args:
        parent: id of the pretraining to probe; with it the form begins as a probe.
        like: id of a run whose settings it begins with.
    """

    TITLE_TEXT = "New run"
    AUTO_FOCUS = ""
    HELP = """Every setting has its range beside it and is checked as you type. A dot marks what
differs from the preset. Up and Down move between the fields, Left and Right choose, Enter opens a
section. F2 shows the augmentations on real images, F3 measures a few steps, F4 shows the same run
as a command and as TOML."""
    BINDINGS = [
        Binding("ctrl+s,f5", "start", "Start", key_display="^s", priority=True),
        Binding("f2", "side('preview')", "Preview"),
        Binding("f3", "side('estimate')", "Estimate"),
        Binding("f4", "side('text')", "Command"),
        Binding("f6", "views", "Other views", show=False),
        Binding("ctrl+y,f7", "copy", "Copy the command", show=False),
        Binding("f8", "copy_toml", "Copy the TOML", show=False),
    ]

    def __init__(self, *, parent: str = "", like: str = "") -> None:
        super().__init__()
        self._of = parent
        self._like = like
        self._choices: list[tuple[str, str]] = []
        self._begin()
        self._estimate = (
            "F3 runs a few steps in a process of its own and tells what an epoch costs."
        )
        self._estimating: subprocess.Popen[str] | None = None
        self._starting = False

    def _begin(self) -> None:
        """The form's state: a run like another, a probe, or a pretraining."""
        self.state = form.FormState("pretrain", preset="notebook")
        if self._of and not self._like:
            self.state = form.FormState("probe")

    def _take_over(self) -> None:
        """Settings of the run that this one is to be like, and the parents to choose from."""
        rows = self.moco.catalog.rows
        self._choices = [
            (row.id, f"{row.title} ({row.id})" if row.name else row.id)
            for row in sorted(rows.values(), key=lambda row: -row.created)
            if row.kind == "pretrain"
        ]
        if self._of and self._of not in dict(self._choices):
            self._choices.insert(0, (self._of, self._of))
        if self._like:
            try:
                record = RunFolder(self.moco.root / self._like).record()
                from engine.entry import flat_config

                values = flat_config(record.kind, record.config)
                preset = record.preset if record.kind == "pretrain" else ""
                self.state = form.FormState(record.kind, preset=preset, values=values)
            except (UserError, KeyError) as error:
                self.call_after_refresh(self.say, str(error), severity="error")
        elif self.moco.device:
            self.state.set("runtime.device", self.moco.device)

    # ---------------------------------------------------------------------------- widgets

    def content(self) -> ComposeResult:
        """The form, the side with preview, estimate and text, and the help of the field."""
        self._take_over()
        with Horizontal(id="form-body"):
            with FormScroll(id="form"):
                yield from self._form()
            with Vertical(id="side"):
                yield Preview(Previewer(self.moco.data_dir), id="preview").add_class("side-part")
                yield Static(self._estimate, id="estimate", classes="side-part", markup=False)
                with VerticalScroll(id="text", classes="side-part"):
                    yield Static("", id="text-body", markup=False)
        yield Static("", id="help", markup=False)

    def _form(self) -> ComposeResult:
        kind = self.state.kind
        yield Row(
            "kind",
            Choice([("pretrain", "pretraining"), ("probe", "probe")], kind, id="kind"),
            "what to run",
        )
        if kind == "pretrain":
            presets = [(name, name) for name in PRESETS]
            summary = PRESETS[self.state.preset].summary if self.state.preset in PRESETS else ""
            preset = Choice([("", "defaults"), *presets], id="preset")
            preset.set_reactive(Choice.value, self.state.preset)
            yield Row("preset", preset, summary, id="preset-row")
        else:
            options = self._choices or [("", "no pretraining here yet")]
            parent = Choice(options, self._of, id="parent")
            yield Row("encoder of", parent, "the pretraining to probe", id="parent-row")
        yield Row(
            "name",
            Line(
                "",
                placeholder="optional",
                compact=True,
                max_length=200,
                id="name",
                select_on_focus=False,
            ),
            "for people",
        )
        for key in form.ESSENTIAL[kind]:
            yield FieldRow(self.state.known[key], self.state)
        yield Row(
            "run detached",
            Tick(False, id="detached"),
            "in a process of its own, which outlives this app",
        )
        with Horizontal(id="buttons"):
            yield Button("Start (^s)", id="start", variant="primary", compact=True)
            yield Static("", id="summary", markup=False)
        if kind == "pretrain":
            yield Static("Augmentations", classes="group", markup=False)
            for name in form.AUGMENTATIONS:
                yield from self._augmentation(name)
            yield FieldRow(self.state.known["augment.order"], self.state)
        yield Static("", classes="gap")
        for title, section in form.SECTIONS[kind]:
            keys = self._keys_of(section)
            if keys:
                yield SectionHead(title, section, len(keys))
                yield Vertical(id=f"s-{section or 'top'}", classes="rows")

    def _augmentation(self, name: str) -> ComposeResult:
        keys = [key for key in self.state.known if key.startswith(f"augment.{name}.")]
        head = next(key for key in keys if key.endswith(".enabled"))
        row = FieldRow(self.state.known[head], self.state)
        row._text = name
        yield row
        with Vertical(id=f"a-{name}", classes="rows") as inner:
            for key in keys:
                if key != head:
                    yield FieldRow(self.state.known[key], self.state, sub=True)
        inner.display = bool(self.state.values[head])

    def _keys_of(self, section: str) -> list[str]:
        shown = form.ESSENTIAL[self.state.kind]
        return [
            key
            for key, field in self.state.known.items()
            if field.section == section and key not in shown
        ]

    # ---------------------------------------------------------------------------- life

    def on_mount(self) -> None:
        """The keys act on the first field of interest."""
        lazy.preload()
        self._checked()
        self._focus_first()

    def _focus_first(self) -> None:
        """Put the focus on the knob of the run, as soon as its field is there."""
        first = "#f-moco-queue_size" if self.state.kind == "pretrain" else "#f-label_fraction"
        for row in self.query(first).results(FieldRow):
            if row.editor.is_mounted:
                self.set_focus(row.editor)
                return
        self.set_timer(0.01, self._focus_first)

    def on_resize(self) -> None:
        """A wide screen shows the preview at once."""
        self.call_after_refresh(self._show_preview)

    def on_unmount(self) -> None:
        """The estimate's process does not outlive the form."""
        if self._estimating is not None and self._estimating.poll() is None:
            self._estimating.kill()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Show the help of the field in focus."""
        del event
        self._show_help()

    def action_back(self) -> None:
        """From the preview to the form, from the form to where one came from."""
        if self.has_class("-side"):
            self.remove_class("-side", "-preview", "-estimate", "-text")
        else:
            super().action_back()

    # ---------------------------------------------------------------------------- editing

    @on(FieldRow.Edited)
    def _edited(self, event: FieldRow.Edited) -> None:
        self.state.set(event.key, event.value)
        if event.key.startswith("augment.") and event.key.endswith(".enabled"):
            name = event.key.split(".")[1]
            self.query_one(f"#a-{name}").display = bool(event.value)
        self._checked()

    @on(Choice.Changed, "#preset")
    def _preset(self, event: Choice.Changed) -> None:
        self.state.use_preset(event.choice.value)
        if self.moco.device:
            self.state.set("runtime.device", self.moco.device)
        for row in self.query(FieldRow):
            row.refill()
        for name in form.AUGMENTATIONS:
            key = f"augment.{name}.enabled"
            self.query_one(f"#a-{name}").display = bool(self.state.values[key])
        summary = PRESETS[event.choice.value].summary if event.choice.value else "no preset"
        self.query_one("#preset-row .hint", Static).update(summary)
        self._checked()

    @on(Choice.Changed, "#parent")
    def _parent_chosen(self, event: Choice.Changed) -> None:
        self._of = event.choice.value
        self._checked()

    @on(Choice.Changed, "#kind")
    async def _kind(self, event: Choice.Changed) -> None:
        kind = event.choice.value
        self.state = form.FormState(kind, preset="notebook" if kind == "pretrain" else "")
        if self.moco.device:
            self.state.set("runtime.device", self.moco.device)
        if kind == "probe" and not self._of and self._choices:
            self._of = self._choices[0][0]
        self._like = ""
        box = self.query_one("#form", FormScroll)
        async with self.batch():
            await box.remove_children()
            await box.mount_all(_collect(self._form))
        self.query_one("#kind").focus()
        self._checked()

    @on(Input.Changed, "#name")
    def _name_changed(self) -> None:
        self._show_text()

    @on(Tick.Changed, "#detached")
    def _detached_changed(self) -> None:
        self._show_text()

    @on(SectionHead.Toggled)
    async def _toggled(self, event: SectionHead.Toggled) -> None:
        await self._open(event.head)

    async def _open(self, head: SectionHead) -> None:
        box = self.query_one(f"#s-{head.section or 'top'}", Vertical)
        if head.open and not box.children:
            keys = self._keys_of(head.section)
            await box.mount_all([FieldRow(self.state.known[key], self.state) for key in keys])
        box.display = head.open
        self._checked()

    def problems(self) -> dict[str, str]:
        """Everything that keeps the run from starting, by field."""
        found = self.state.errors()
        source = self.state.values.get("data.source", "")
        if isinstance(source, str) and source.startswith("folder:") and "data.source" not in found:
            folder = Path(source[7:]).expanduser()
            if not folder.is_dir():
                found["data.source"] = f"there is no folder {folder}"
        if self.state.kind == "probe" and not self._of:
            found["parent"] = "there is no pretraining to probe; start one first"
        return found

    def _checked(self) -> None:
        """Mark what differs and what is wrong, everywhere it shows."""
        found = self.problems()
        for row in self.query(FieldRow):
            key = row.field.key
            row.mark(changed=self.state.is_changed(key), error=found.get(key, ""))
        for head in self.query(SectionHead):
            keys = set(self._keys_of(head.section))
            changed = sum(self.state.is_changed(key) for key in keys)
            head.note(changed, len(keys & found.keys()))
        if self.state.kind == "probe":
            for other in self.query("#parent-row").results(Row):
                other.mark(changed=False, error=found.get("parent", ""))
        changed = len(self.state.changed())
        text = f"{changed} changed from the preset" if changed else "as the preset says"
        if self.state.kind == "probe":
            text = f"{changed} changed from the defaults" if changed else "defaults"
        if found:
            text = f"✗ {len(found)} to put right: " + ", ".join(
                form.label(key) if key else "settings" for key in found
            )
        self.query_one("#summary", Static).update(text)
        self.query_one("#start", Button).disabled = False
        self._show_help()
        self._show_text()
        self._show_preview()

    # ---------------------------------------------------------------------------- showing

    def _show_help(self) -> None:
        help_ = self.query_one("#help", Static)
        row = self.focused.parent if self.focused is not None else None
        text = Text(overflow="ellipsis")
        wrong = False
        if isinstance(row, FieldRow):
            field = row.field
            error = self.problems().get(field.key, "")
            text.append(field.key, style="bold")
            text.append(f"  {field.help}\n")
            base = fmt.value(self.state.base[field.key])
            origin = "preset" if self.state.preset else "default"
            if error:
                wrong = True
                text.append(fmt.clean(error))
            else:
                text.append(f"{form.expectation(field)}   {origin}: {fmt.clean(base)}")
        else:
            text.append("Up and Down move, Left and Right choose, Enter opens a section.\n")
            text.append("• differs from the preset   ✗ has to be put right")
        help_.set_class(wrong, "wrong")
        help_.update(text)

    def _show_preview(self) -> None:
        preview = self.query_one("#preview", Preview)
        if not isinstance(self.state, form.FormState) or self.state.kind != "pretrain":
            preview.rows, preview.problem = [], "a probe sees the images as its head needs them"
            preview._strips = None
            preview.refresh()
            return
        try:
            config = self.state.config()
        except ConfigError:
            return
        if isinstance(config, PretrainConfig):
            preview.show(config.data.source, config.augment)

    def _typed_name(self) -> str:
        return fmt.clean(self.query_one("#name", Input).value).strip()

    def _command(self) -> str:
        detached = self.query_one("#detached", Tick).value
        return self.state.command(parent=self._of, name=self._typed_name(), detached=detached)

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
        wanted = {"-side", f"-{part}"}
        there = wanted <= set(self.classes)
        self.remove_class("-side", "-preview", "-estimate", "-text")
        if not there:
            self.add_class(*wanted)
        self.call_after_refresh(self._show_text)
        self.call_after_refresh(self._show_preview)
        if part == "estimate" and not there:
            self.action_estimate()

    def action_views(self) -> None:
        """Draw other random views."""
        self.query_one("#preview", Preview).another()

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

    # ---------------------------------------------------------------------------- estimate

    def action_estimate(self) -> None:
        """Measure a few steps in a process of its own."""
        if self.state.kind != "pretrain":
            self._say_estimate("An estimate is made for a pretraining; a probe takes minutes.")
            return
        if self._estimating is not None:
            return
        found = self.problems()
        if found:
            key = next(iter(found))
            self._say_estimate(f"First put {form.label(key)} right: {found[key]}.")
            return
        self._say_estimate("Running a few steps ...")
        self.run_worker(self._measure(self.state.toml()), group="estimate")

    def _say_estimate(self, text: str) -> None:
        self._estimate = text
        if self.is_mounted:
            self.query_one("#estimate", Static).update(
                fmt.clean(text) if "\n" not in text else text
            )

    async def _measure(self, toml: str) -> None:
        def work() -> tuple[int, str, str]:
            command = [sys.executable, "-m", "moco_tui", "_estimate"]
            command += ["--data-dir", str(self.moco.data_dir)]
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=child_environment(),
                start_new_session=True,
            )
            self._estimating = process
            try:
                out, err = process.communicate(toml, timeout=ESTIMATE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                return 1, "", f"no result within {ESTIMATE_SECONDS} s"
            return process.returncode, out, err

        try:
            code, out, err = await asyncio.to_thread(work)
        except OSError as error:
            self._say_estimate(f"The estimate did not start: {error}.")
            return
        finally:
            self._estimating = None
        if code:
            lines = [line for line in err.strip().splitlines() if line.strip()]
            why = lines[-1].removeprefix("moco-tui: ") if lines else "it ended without a word"
            self._say_estimate(f"No estimate: {why}")
            return
        try:
            self._say_estimate(estimate_text(json.loads(out)))
        except (ValueError, KeyError, TypeError):
            self._say_estimate("No estimate: its process said something unexpected.")

    # ---------------------------------------------------------------------------- start

    @on(Button.Pressed, "#start")
    def _pressed(self) -> None:
        self.run_worker(self._start(), group="start")

    def action_start(self) -> None:
        """Start the run and show it."""
        self.run_worker(self._start(), group="start")

    async def _start(self) -> None:
        if self._starting or not self.moco.writable():
            return
        found = self.problems()
        if found:
            key = next(iter(found))
            self.say(f"{form.label(key) or 'settings'}: {found[key]}.", severity="error")
            await self._go_to(key)
            return
        self._starting = True
        detached = self.query_one("#detached", Tick).value
        try:
            folder = create(
                self.moco.root,
                self.state.kind,
                self.state.config(),
                name=self._typed_name(),
                preset=self.state.preset,
                parent=self._of if self.state.kind == "probe" else "",
            )
        except UserError as error:
            self._starting = False
            self.say(str(error), severity="error")
            return
        self.app.pop_screen()
        self.moco.start_run(folder, detached=detached)
        self.moco.open_monitor(folder.id)

    async def _go_to(self, key: str) -> None:
        """Put the focus on a field, opening its section."""
        self.remove_class("-side", "-preview", "-estimate", "-text")
        if key == "parent":
            self.query_one("#parent").focus()
            return
        if key not in self.state.known:
            return
        for head in self.query(SectionHead):
            if key in self._keys_of(head.section) and not head.open:
                head.open = True
                await self._open(head)
        for row in self.query(FieldRow):
            if row.field.key == key:
                row.editor.focus()


def _collect(compose: Any) -> list[Widget]:
    """The widgets of a compose method, for mounting them later."""
    from textual.compose import compose as collect

    class _Node(Widget):
        def compose(self) -> ComposeResult:
            yield from compose()

    return collect(_Node())


def estimate_text(facts: dict[str, Any]) -> str:
    """What the dry run found, in lines."""
    lines = [
        f"an epoch   {fmt.duration(facts['seconds_per_epoch'])} "
        f"({fmt.count(facts['steps_per_epoch'])} steps of "
        f"{fmt.number(1000 * facts['seconds_per_step'], 3)} ms)",
        f"the run    {fmt.duration(facts['seconds_total'])} without kNN and checkpoints",
        f"memory     {fmt.size(facts['memory_bytes'])}",
        f"device     {fmt.clean(str(facts['device']))}, {fmt.clean(str(facts['precision']))}",
    ]
    return "\n".join(lines)
