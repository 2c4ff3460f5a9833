"""The app: which screens there are, what they share, and how it is left."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.filter import LineFilter
from textual.screen import Screen

from engine.errors import UserError
from engine.runs import RunFolder
from moco_tui.present import fmt
from moco_tui.present.run_list import RunList
from moco_tui.screens.runs_screen import RunsScreen
from moco_tui.terminal import abilities as terminal
from moco_tui.training.runner import Runner

START_SECONDS = 1.0
"""After so long the collector works again, which the command line switches off for the start."""
STOP_SECONDS = 60.0
"""How long the app waits for a run that was asked to stop before it offers to leave anyway."""


class MocoApp(App[int]):
    """Configure, start, watch, browse and compare runs.

    Args:
        root: the runs folder.
        data_dir: where data sets and their caches live.
        device: device for new runs when the form does not say another; None: the config's own.
        read_only: look only.
        demo: start the demonstration at once.
        runner: trains runs; tests bring their own.
    """

    TITLE = "moco-tui"
    CSS_PATH = [
        "app.tcss",
        "screens/runs_screen.tcss",
        "screens/monitor_screen.tcss",
        "screens/new_run_screen.tcss",
        "screens/compare_screen.tcss",
        "screens/study_screen.tcss",
        "screens/help_screen.tcss",
    ]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (34, "-tall")]
    ENABLE_COMMAND_PALETTE = True
    BINDINGS = [
        Binding("question_mark,f1", "help", "Help", key_display="?"),
        Binding("q,ctrl+q", "leave", "Quit", key_display="q"),
        Binding("T", "toggle_theme", "Light or dark", show=False),
    ]

    def __init__(
        self,
        root: Path,
        *,
        data_dir: Path,
        device: str | None = None,
        read_only: bool = False,
        demo: bool = False,
        runner: Runner | None = None,
    ) -> None:
        self.ascii = terminal.ascii_only()
        self._ascii_filter = terminal.AsciiFilter()
        super().__init__()
        self.animation_level = "none"
        self.root = root
        self.data_dir = data_dir
        self.device = device
        self.read_only = read_only
        self.demo = demo
        self.catalog = RunList(root, read_only=read_only)
        self.runner = runner or Runner(data_dir)
        self.clock: Callable[[], float] = time.time
        self.offers_lost = False
        """Whether the app asks, when it has read the runs, to go on with those that were lost."""

    # ---------------------------------------------------------------------------- start

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Every line in ASCII where the terminal shows nothing else."""
        filters = list(super().get_line_filters())
        return [*filters, self._ascii_filter] if self.ascii else filters

    def get_default_screen(self) -> Screen[Any]:
        """The table of runs is home."""
        return RunsScreen()

    def on_mount(self) -> None:
        """Look after the trainer's thread, and start what was asked for."""
        self.set_interval(0.5, self._hear)
        if not gc.isenabled():
            self.set_timer(START_SECONDS, self._settle)
        if self.demo:
            self.call_after_refresh(self.start_demo)

    def _settle(self) -> None:
        """What can wait until the first screen is there."""
        gc.freeze()  # what the start has made stays: the collector need not look at it
        gc.enable()
        if not self.runner.busy:  # a trainer has its own wishes
            from engine.runtime.malloc import hand_back_freed_memory

            hand_back_freed_memory()

    def _hear(self) -> None:
        while self.runner.messages:
            severity, text = self.runner.messages.popleft()
            self.say(text, severity=severity)
        if self.offers_lost and self.catalog.loaded:
            self.offers_lost = False
            self.run_worker(self._offer_lost(), group="lost")

    async def _offer_lost(self) -> None:
        """Ask once what becomes of the runs that no process works on any more."""
        import asyncio

        from moco_tui.training.lost_runs import lost_among

        entries = [row.entry for row in self.catalog.rows.values()]
        lost = await asyncio.to_thread(lost_among, entries, self.root)
        if not lost:
            return
        from moco_tui.screens.lost_screen import LostRuns

        folders = [run.folder for run in lost]

        def answered(answer: str | None) -> None:
            if answer == "here":
                self.start_run(*folders)
                self.open_monitor(folders[0].id)
            elif answer == "detached":
                self.start_run(*folders, detached=True)

        self.push_screen(LostRuns(lost), answered)

    # ---------------------------------------------------------------------------- screens

    def say(self, text: str, *, severity: str = "information") -> None:
        """A sentence for the person, never read as markup."""
        level = severity if severity in ("information", "warning", "error") else "information"
        seconds = 4 if level == "information" else 8
        with contextlib.suppress(Exception):
            self.notify(
                fmt.clean(text)[:600],
                severity=level,  # type: ignore[arg-type]
                timeout=seconds,
                markup=False,
            )

    def open_monitor(self, run_id: str) -> None:
        """Show a run: a study as a study, every other in the monitor."""
        folder = RunFolder(self.root / run_id)
        if _kind(folder) == "study":
            from moco_tui.screens.study_screen import StudyScreen

            self.push_screen(StudyScreen(folder))
            return
        from moco_tui.screens.monitor_screen import MonitorScreen

        self.push_screen(MonitorScreen(folder))

    def open_study(self) -> None:
        """Show the newest study; where there is none, the form for one."""
        studies = [row for row in self.catalog.rows.values() if row.kind == "study"]
        if studies:
            self.open_monitor(max(studies, key=lambda row: row.created).id)
        else:
            self.open_form(kind="study")

    def open_form(self, *, kind: str = "pretrain", parent: str = "", like: str = "") -> None:
        """Configure a new run: a probe when a parent is given, else one of this kind."""
        if not self.writable():
            return
        from moco_tui.screens.new_run_screen import NewRunScreen

        self.push_screen(NewRunScreen(kind=kind, parent=parent, like=like))

    def open_compare(self, run_ids: Iterable[str]) -> None:
        """Compare runs; a study compares its own."""
        folders = [RunFolder(self.root / run_id) for run_id in run_ids]
        studies = [folder.id for folder in folders if _kind(folder) == "study"]
        if studies:
            self.say(
                f"{', '.join(studies)}: a study has no curves of its own to compare; open it, or "
                "mark its pretrainings and probes.",
                severity="warning",
            )
            return
        from moco_tui.screens.compare_screen import CompareScreen

        self.push_screen(CompareScreen(folders))

    def action_help(self) -> None:
        """Explain the keys of this screen."""
        from moco_tui.screens.help_screen import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.screen))

    def action_toggle_theme(self) -> None:
        """Light or dark."""
        self.theme = "textual-light" if self.current_theme.dark else "textual-dark"

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """What the command palette offers beside the keys of the screen."""
        yield SystemCommand("New pretraining", "Configure and start a run", self.open_form)
        yield SystemCommand("Study", "The newest study, or the form for one", self.open_study)
        yield SystemCommand("Demo", "A small run on the embedded images", self.start_demo)
        yield SystemCommand("Keys", "Help for this screen", self.action_help)
        yield SystemCommand("Light or dark", "Switch the theme", self.action_toggle_theme)
        yield SystemCommand("Theme", "Choose among all themes", self.action_change_theme)
        yield SystemCommand("Quit", "Leave the app", self.action_leave)
        from moco_tui.screens.help_screen import bound_actions

        for title, help_text, run in bound_actions(screen):
            yield SystemCommand(title, help_text, run)

    # ---------------------------------------------------------------------------- runs

    def writable(self) -> bool:
        """Whether anything may be changed; says so when not."""
        if self.read_only:
            self.say("This app only looks (--read-only).", severity="warning")
        return not self.read_only

    def start_run(self, *folders: RunFolder, detached: bool = False) -> None:
        """Train runs in turn, here or in a process of their own."""
        try:
            if detached:
                self.runner.start_detached(*folders)
                return
            for folder in folders:
                if not self.runner.start(folder):
                    self.say("It starts when the run before it has ended.")
        except UserError as error:
            self.say(str(error), severity="error")

    def start_demo(self) -> None:
        """A small pretraining on the embedded images, then a probe of it."""
        if not self.writable():
            return
        from moco_tui.training.demo_runs import create_demo

        try:
            pretraining, probe = create_demo(self.root, device=self.device)
        except UserError as error:
            self.say(str(error), severity="error")
            return
        self.start_run(pretraining)
        self.runner.start(probe)
        self.open_monitor(pretraining.id)

    # ---------------------------------------------------------------------------- leaving

    async def action_quit(self) -> None:
        """The library's own way out takes ours."""
        self.action_leave()

    def action_leave(self) -> None:
        """Leave; with a run active, ask what becomes of it."""
        from moco_tui.screens.dialogs import Leave

        active = self.runner.active
        if active is None and not self.runner.waiting:
            self.exit(0)
        elif not isinstance(self.screen, Leave):
            name = fmt.clean(active.title()) if active is not None else "A run"
            self.push_screen(Leave(name, len(self.runner.waiting)), self._answered)

    def _answered(self, answer: str | None) -> None:
        if answer not in ("keep", "stop"):
            return
        self.run_worker(self._depart(keep=answer == "keep"), group="leaving", exclusive=True)

    async def _depart(self, *, keep: bool) -> None:
        """End the training thread at a step boundary, hand on what is to go on, and exit."""
        import asyncio

        active = self.runner.active
        if active is not None:
            self.say("Finishing the step and writing the checkpoint ...")
        if keep:
            left = await asyncio.to_thread(self.runner.hand_over)
        else:
            self.runner.leave()
            left = active is None or await self._ask_to_end(active)
        if left:
            self.exit(0)

    async def _ask_to_end(self, active: RunFolder) -> bool:
        import asyncio

        with contextlib.suppress(UserError):  # it may have ended on its own in the meantime
            await asyncio.to_thread(active.request, "stop")
        if await asyncio.to_thread(self.runner.join, STOP_SECONDS):
            return True
        self.say(
            "The run has not reached the end of its step yet; it will be asked again when you "
            "quit again.",
            severity="warning",
        )
        return False


def run(
    root: Path,
    *,
    data_dir: Path,
    device: str | None = None,
    read_only: bool = False,
    demo: bool = False,
) -> int:
    """Run the app until it is left; returns the exit code.

    Args:
        root: the runs folder.
        data_dir: where data sets and their caches live.
        device: device for new runs.
        read_only: look only.
        demo: open on the demonstration.
    """
    from moco_tui.terminal.descriptors import Display
    from moco_tui.training.signals import Guard

    display = Display()
    runner = Runner(data_dir)
    runner.redirect_stderr = display.redirect_stderr

    def hand_over() -> str:
        runner.hand_over(leaving=True)
        return _farewell(runner)

    guard = Guard(display, hand_over)
    app = MocoApp(
        root, data_dir=data_dir, device=device, read_only=read_only, demo=demo, runner=runner
    )
    app.offers_lost = not (read_only or demo)
    try:
        code = app.run()
    finally:
        guard.wait_if_leaving()
        if runner.busy:  # an error of the screen never ends the training
            runner.hand_over()
        display.restore()
        if runner.handed_over:
            print(_farewell(runner), file=sys.stderr, flush=True)
    return code if code is not None else (app.return_code or os.EX_OK)


def _kind(folder: RunFolder) -> str:
    """The kind of a run; empty where its record cannot be read."""
    try:
        return folder.record().kind
    except UserError:
        return ""


def _farewell(runner: Runner) -> str:
    """Where the runs are that were trained here; empty when there are none."""
    if not runner.handed_over:
        return ""
    names = ", ".join(folder.id for folder in runner.handed_over)
    verb = "goes" if len(runner.handed_over) == 1 else "go"
    return f"{names} {verb} on in the background; moco-tui shows it."
