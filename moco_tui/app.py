"""The app: opens screens, starts runs, and asks how to leave while a run is trained."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from rich.console import Console
from textual import on
from textual.app import SystemCommand
from textual.binding import Binding
from textual.filter import LineFilter
from textual.screen import Screen
from textual.theme import ThemeProvider

from engine.errors import UserError
from engine.runs import RunFolder
from moco_tui.present import fmt
from moco_tui.present.recorded_fact import recorded_fact
from moco_tui.screens import messages, screen_registry, user_choices
from moco_tui.screens.screen_registry import SCREENS
from moco_tui.screens.submitted_runs import is_submitted, submit_again_behind
from moco_tui.session import READ_ONLY, Session
from moco_tui.terminal.abilities import AsciiFilter
from moco_tui.terminal.key_turns import KeyTurns
from moco_tui.widgets.background_work import work_behind
from moco_tui.widgets.named_keys import NamedKeys
from moco_tui.widgets.picture_layer import PictureApp

START_SECONDS = 1.0
"""How long the garbage collector stays off, which the command line switches off for the start."""
RUNNER_SECONDS = 0.5
"""How often the app shows the messages of the runner, whose thread must not touch widgets."""
STOP_SECONDS = 60.0
"""How long the app waits for a run that was asked to stop before it offers to leave anyway."""


class MocoApp(NamedKeys, KeyTurns, PictureApp, user_choices.UserThemedApp):
    """Configure, start, watch, browse and compare runs.

    Args:
        session: what the screens share.
        demo: start the demonstration at once.
    """

    TITLE = "moco-tui"
    CSS_PATH = ["app.tcss", *screen_registry.style_sheets()]
    # Classes of the screen by its size in cells; the style sheets lay panels side by side in a
    # wide one, and show more of a study at once in a tall one.
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (34, "-tall")]
    ENABLE_COMMAND_PALETTE = True
    BINDINGS = [
        *screen_registry.bindings(),
        # Without a key_display, which would name the first of two keys where only the second acts.
        Binding("q,ctrl+q", "leave", "Quit"),
        Binding("T", "toggle_theme", "Light or dark", show=False),
    ]

    def __init__(self, session: Session, *, demo: bool = False) -> None:
        self.session = session
        self._ascii_filter = AsciiFilter()
        super().__init__()
        self.animation_level = "none"  # each frame would be a redraw sent over the connection
        self.demo = demo
        self.opens: messages.OpenMessage | None = None  # what is shown over the runs at the start
        self.offers_lost = False
        """Whether the app asks, when it has read the runs, to go on with those that were lost."""
        self.chosen_keys = dict(session.user.config.keys)
        self.set_keymap(self.chosen_keys)
        user_choices.use_theme(self, session)

    # ---------------------------------------------------------------------------- start

    def keep_errors(self) -> io.StringIO:
        """Has Textual write what an error was into a text instead of on the terminal."""
        text = io.StringIO()
        self.error_console = Console(file=text, width=100, markup=False, highlight=False)
        return text

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Every line in ASCII where the terminal shows nothing else."""
        filters = list(super().get_line_filters())
        return [*filters, self._ascii_filter] if self.session.ascii else filters

    def get_key_display(self, binding: Binding) -> str:
        """How the key line and the palette name a key; by its word where there is no sign."""
        shown = super().get_key_display(binding)
        if not self.session.ascii or shown.isascii():
            return shown
        from moco_tui.screens.help_screen import key_text

        return key_text(binding.key)

    def get_default_screen(self) -> Screen[Any]:
        """The first screen is the table of runs."""
        return screen_registry.create("runs", self.session)

    def on_mount(self) -> None:
        """Poll the runner from now on, and start the demonstration if it was asked for."""
        self.set_interval(RUNNER_SECONDS, self._poll_runner)
        if not gc.isenabled():
            self.set_timer(START_SECONDS, self._enable_gc)
        self.set_timer(START_SECONDS, partial(user_choices.say_problems, self.session, self.say))
        self.set_timer(START_SECONDS, self._watch_runs)
        if self.demo:
            self.call_after_refresh(self.start_demo)
        if self.opens is not None:
            self.call_after_refresh(self.post_message, self.opens)

    def _watch_runs(self) -> None:
        """Show from now on what happens to runs; the first screen does not wait for it."""
        from moco_tui.screens.run_notices import RunNotices

        RunNotices(self, self.session, self.say).start()

    def _enable_gc(self) -> None:
        """Switch the garbage collector on, now that the first screen is painted."""
        gc.freeze()  # modules and classes stay for good: no collection need look at them
        gc.enable()
        # A trainer asks for the opposite, for the whole process: leave its setting alone.
        if not self.session.runner.busy:
            from engine.runtime.malloc import hand_back_freed_memory

            hand_back_freed_memory()

    def _poll_runner(self) -> None:
        """Show what the runner has to say; once the runs are read, offer the lost ones."""
        runner = self.session.runner
        while runner.messages:
            severity, text = runner.messages.popleft()
            self.say(text, severity=severity)
        if runner.waiting:
            runner.begin_ready()
        if runner.held:
            from moco_tui.screens.held_probes_dialog import ask_about_held

            ask_about_held(self, runner, self.start_runs, self.say)
        while runner.refused:
            from moco_tui.screens.other_data_dialog import OtherData

            self.push_screen(OtherData(runner, *runner.refused.popleft(), self.say))
        if self.offers_lost and self.session.runs.loaded:
            from moco_tui.screens.lost_runs_dialog import offer_lost

            self.offers_lost = False  # once per start, whatever the answer
            offer = partial(offer_lost, self, self.session, self.start_runs)
            work_behind(self, offer, group="lost")

    async def _close_all(self) -> None:
        """End the workers before the widgets that they would show something in go, one by one."""
        self.workers.cancel_all()
        await super()._close_all()

    # ---------------------------------------------------------------------------- messages

    @on(messages.Say)
    def _say(self, message: messages.Say) -> None:
        self.say(message.text, severity=message.severity)

    @on(messages.OpenRun)
    def _open_run(self, message: messages.OpenRun) -> None:
        self.open_run(message.run_id)

    @on(messages.OpenForm)
    def _open_form(self, message: messages.OpenForm) -> None:
        self.open_form(kind=message.kind, parent=message.parent, like=message.like)

    @on(messages.OpenSetting)
    async def _open_setting(self, asked: messages.OpenSetting) -> None:
        from moco_tui.screens.palette_commands import show_setting

        if self._writable():
            await show_setting(self, self.session, asked.kind, asked.key)

    @on(messages.OpenBranch)
    def _open_branch(self, asked: messages.OpenBranch) -> None:
        if self._writable():
            self._open("branch", source=asked.run_id, which=asked.which, longer=asked.longer)

    @on(messages.OpenStudy)
    def _open_study(self) -> None:
        self.open_study()

    @on(messages.OpenComparison)
    def _open_comparison(self, message: messages.OpenComparison) -> None:
        self.open_comparison(message.run_ids)

    @on(messages.OpenLook)
    def _open_look(self, message: messages.OpenLook) -> None:
        self._open("look", request=message.request)

    @on(messages.StartRuns)
    def _start_runs(self, message: messages.StartRuns) -> None:
        first = message.folders[0]
        if is_submitted(first):
            submit_again_behind(self, self.session, first, self.say)
            return
        how = {"detached": message.detached, "show": message.show, "new": message.new}
        self.start_runs(*message.folders, **how)

    @on(messages.StartDemo)
    def _start_demo(self) -> None:
        self.start_demo()

    # ---------------------------------------------------------------------------- screens

    def say(self, text: str, *, severity: str = "information") -> None:
        """Show a sentence for a few seconds; it is never read as markup."""
        level = severity if severity in ("information", "warning", "error") else "information"
        seconds = 4 if level == "information" else 8
        with contextlib.suppress(Exception):  # there is no screen to show it on while it closes
            self.notify(
                fmt.fit(fmt.clean(text), 600).rstrip(),  # 70 cells wide: more would cover it all
                severity=level,  # type: ignore[arg-type]
                timeout=seconds,
                markup=False,
            )

    def action_open(self, name: str) -> None:
        """Open a screen of the registry that needs no arguments, unless it is shown already.

        Its key is bound in the whole app, so it can be pressed again while the screen is open.
        """
        if not isinstance(self.screen, SCREENS[name].load()):
            self._open(name)

    def _open(self, name: str, **arguments: Any) -> None:
        self.push_screen(screen_registry.create(name, self.session, **arguments))

    def open_run(self, run_id: str) -> None:
        """Show a run: a study as a study, every other in the monitor."""
        folder = self.session.folder(run_id)
        is_study = recorded_fact(folder, "kind") == "study"
        self._open("study" if is_study else "monitor", folder=folder)

    def open_study(self) -> None:
        """Show the newest study; where there is none, the form for one."""
        studies = [row for row in self.session.runs.rows.values() if row.kind == "study"]
        if studies:
            self.open_run(max(studies, key=lambda row: row.entry.place).id)
        else:
            self.open_form(kind="study")

    def open_form(self, *, kind: str = "pretrain", parent: str = "", like: str = "") -> None:
        """Configure a new run: a probe when a parent is given, else one of this kind."""
        if self._writable():
            self._open("form", kind=kind, parent=parent, like=like)

    def open_comparison(self, run_ids: Iterable[str]) -> None:
        """Compare runs; a study has no curves to compare, which is said instead."""
        folders = [self.session.folder(run_id) for run_id in run_ids]
        studies = [folder.id for folder in folders if recorded_fact(folder, "kind") == "study"]
        if studies:
            self.say(
                f"{', '.join(studies)}: a study has no curves of its own to compare; open it, or "
                "mark its pretrainings and probes.",
                severity="warning",
            )
            return
        self._open("compare", folders=folders)

    def action_command_palette(self) -> None:
        """Open the palette, once."""
        from moco_tui.screens.palette import JumpProvider, Palette

        if not isinstance(self.screen, Palette):
            words = "A command, run, screen or setting ..."
            # Without a name: one that closes may still have it.
            self.push_screen(Palette(providers=[JumpProvider], placeholder=words))

    def search_themes(self) -> None:
        """Offer all themes."""
        from moco_tui.screens.palette import Palette

        self.push_screen(Palette(providers=[ThemeProvider], placeholder="Search for themes ..."))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """What the command palette offers beside runs and settings."""
        from moco_tui.screens.palette_commands import palette_commands

        return palette_commands(self, screen)

    def show_runs(self) -> None:
        """Close what is shown over the table of runs."""
        while len(self.screen_stack) > 1:
            self.pop_screen()

    # ---------------------------------------------------------------------------- runs

    def _writable(self) -> bool:
        """Whether anything may be changed; says so when not."""
        if self.session.read_only:
            self.say(READ_ONLY, severity="warning")
        return not self.session.read_only

    def start_runs(
        self, *folders: RunFolder, detached: bool = False, show: bool = False, new: bool = False
    ) -> None:
        """Train runs in turn, here or in a process of their own; show the first if asked to.

        A run that cannot be started, because another process has it, is named in a message; one
        that is ``new``, made for this a moment ago, is removed again then.
        """
        runner = self.session.runner
        try:
            if detached:
                runner.start_detached(*folders)
            else:
                waited = recorded_fact(folders[0], "status") == "queued"
                at_once = [runner.start(folder) for folder in folders]
                if not at_once[0]:
                    self.say(runner.why_waiting(folders[0]) or "It waits for its turn.")
                elif not show:  # else its screen says it
                    self.say("Starting ..." if waited else "Resuming ...")
        except UserError as error:
            from engine.runs.unstarted import take_back  # the first screen starts nothing

            self.say(str(error), severity="error")
            gone = [folder for folder in folders if new and take_back(folder, str(error))]
            show = show and folders[0] not in gone
        if show:
            self.open_run(folders[0].id)

    def start_demo(self) -> None:
        """A small pretraining on the embedded images, then a probe of it."""
        if not self._writable():
            return
        from moco_tui.training.demo_runs import create_demo

        try:
            pretraining, probe = create_demo(self.session.root, device=self.session.device)
        except UserError as error:
            self.say(str(error), severity="error")
            return
        self.start_runs(pretraining, probe, show=True, new=True)

    # ---------------------------------------------------------------------------- leaving

    async def action_quit(self) -> None:
        """Ask as ``action_leave`` does: Textual's own action would exit and end the training."""
        self.action_leave()

    def action_leave(self) -> None:
        """Leave; with a run active, ask what becomes of it."""
        from moco_tui.screens.dialogs import Leave, edits_are_asked_about

        if edits_are_asked_about(self, self.action_leave):
            return
        runner = self.session.runner
        active = runner.active
        if active is None and not runner.waiting:
            self.exit(0)
        elif not isinstance(self.screen, Leave):  # q pressed twice asks once
            name = fmt.clean(active.title()) if active is not None else "A run"
            self.push_screen(Leave(name, len(runner.waiting)), self._leave_if_confirmed)

    def _leave_if_confirmed(self, answer: str | None) -> None:
        if answer in ("keep", "stop"):
            leave = partial(self._leave, keep=answer == "keep")
            work_behind(self, leave, group="leaving", exclusive=True)

    async def _leave(self, *, keep: bool) -> None:
        """End the training thread at a step boundary, hand over what is to go on, and exit.

        The waits are in threads, so that the screen is drawn and keys act meanwhile. The app
        stays open when the run could not be handed over or has not stopped.

        Args:
            keep: a detached process goes on with the runs; else they stop with a checkpoint.
        """
        runner = self.session.runner
        active = runner.active
        if active is not None:
            self.say("Finishing the step and writing the checkpoint ...")
        if keep:
            ended = await asyncio.to_thread(runner.hand_over)
        else:
            runner.leave()
            ended = active is None or await self._stop(active)
        if ended:
            self.exit(0)

    async def _stop(self, active: RunFolder) -> bool:
        """Ask the active run to stop; False when it has not after ``STOP_SECONDS``."""
        with contextlib.suppress(UserError):  # it may have ended by itself in the meantime
            await asyncio.to_thread(active.request, "stop")
        if await asyncio.to_thread(self.session.runner.join, STOP_SECONDS):
            return True
        self.say(
            "The run has not reached the end of its step yet; it will be asked again when you "
            "quit again.",
            severity="warning",
        )
        return False
