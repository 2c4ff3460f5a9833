"""The estimate of a pretraining or a study: parts of it, done for real in a process of their own.

There, an error or a lack of memory cannot end the app, and all that the steps took is freed.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

from textual.widgets import Static

from moco_tui.present import fmt
from moco_tui.present.study_form import plan_text
from moco_tui.training.detached import child_command, child_environment
from moco_tui.widgets.background_work import work_behind
from moco_tui.widgets.panel import Panel
from moco_tui.widgets.shown_text import show_text

TIMEOUT = 300
"""Seconds after which the process is killed."""


class EstimatePanel(Panel, Static):
    """What an epoch of a configuration costs here, measured on request.

    Args:
        data_dir: where data sets and their caches live.
    """

    def __init__(
        self, data_dir: Path, *, id: str | None = None, classes: str | None = None
    ) -> None:
        text = "F3 runs a few steps in a process of its own and tells what the run costs."
        super().__init__("estimate", text, id=id, classes=classes, markup=False)
        self._data_dir = data_dir
        self._process: subprocess.Popen[str] | None = None
        self._measuring = False
        self._result = ""  # what was measured last; empty while nothing was
        self._beside = ""  # what slowed that
        self._changes = 0  # of the settings

    def outdate(self) -> None:
        """The settings have changed: what was measured is of those before."""
        self._changes += 1
        if self._result:
            self._show_result(outdated=True)

    def _show_result(self, *, outdated: bool) -> None:
        note = "before the last change; F3 measures again:\n" if outdated else ""
        self.say("\n".join(filter(None, [note + self._result, self._beside])))

    def say(self, text: str) -> None:
        """Show a sentence, or several lines, which the caller has made safe to print."""
        if self.is_mounted:
            show_text(self, fmt.clean(text) if "\n" not in text else text)

    def measure(self, toml: str, kind: str, root: Path, beside: str = "") -> None:
        """Run a few steps of a configuration and show the result; one at a time.

        Args:
            toml: the pretraining or the study.
            kind: which of them.
            root: the runs folder, where results of the study may be already.
            beside: a sentence on what slows the measurement; empty for nothing.
        """
        if self._measuring:
            return
        self._beside = beside
        self._measuring = True  # here already: the worker sets ``_process`` later, in a thread
        self.say("\n".join(filter(None, ["Running a few steps ...", beside])))
        work_behind(self, partial(self._measure, toml, kind, root), group="estimate")

    def on_unmount(self) -> None:
        """The process does not outlive the form."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()

    async def _measure(self, toml: str, kind: str, root: Path) -> None:
        of = self._changes
        words = ["--study", "--runs-dir", str(root)] if kind == "study" else []
        try:
            code, out, err = await asyncio.to_thread(self._run, toml, words)
        except OSError as error:
            self.say(f"The estimate did not start: {error}.")
            return
        finally:
            self._process = None
            self._measuring = False
        if code:
            # The command's own sentence comes last, after what libraries may have written.
            lines = [line for line in err.strip().splitlines() if line.strip()]
            why = lines[-1].removeprefix("moco-tui: ") if lines else "it ended without a word"
            self.say(f"No estimate: {why}")
            return
        try:
            facts = json.loads(out)
            self._result = plan_text(facts) if kind == "study" else estimate_text(facts)
        except (ValueError, KeyError, TypeError):
            self.say("No estimate: its process said something unexpected.")
        else:
            self._show_result(outdated=of != self._changes)

    def _run(self, toml: str, words: list[str]) -> tuple[int, str, str]:
        """Exit code, output and errors of the process; called in a thread."""
        process = subprocess.Popen(
            child_command("_estimate", *words, "--data-dir", str(self._data_dir)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=child_environment(),
            start_new_session=True,  # signals of the terminal reach the app alone
        )
        self._process = process
        try:
            out, err = process.communicate(toml, timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()  # reaps it and closes the pipes
            return 1, "", f"no result within {TIMEOUT} s"
        return process.returncode, out, err


def estimate_text(facts: dict[str, Any]) -> str:
    """What the dry run found, in lines.

    Args:
        facts: the JSON that the command ``_estimate`` prints.

    Raises:
        KeyError, TypeError: when it is not that.
    """
    lines = [
        f"an epoch   {fmt.duration(facts['seconds_per_epoch'])} "
        f"({fmt.count(facts['steps_per_epoch'])} steps of "
        f"{fmt.number(1000 * facts['seconds_per_step'], 3)} ms)",
        f"the run    {fmt.duration(facts['seconds_run'])}",
        *_of_probe(facts["online_probe_share"]),
        *["           less once its kernels are ready"] * bool(facts["fused_later"]),
        *_often("kNN", facts["knn_passes"], facts["seconds_knn"]),
        *_often("checkpoints", facts["checkpoints"], facts["seconds_checkpoint"]),
        f"memory     {fmt.size(facts['memory_bytes'])}",
        f"disk       {fmt.size(facts['disk_bytes'])}",
        f"device     {fmt.clean(str(facts['device']))}, {fmt.clean(str(facts['precision']))}",
    ]
    return "\n".join(lines)


def _often(what: str, count: int, seconds: float) -> list[str]:
    """What is done so many times, and what it takes in all; nothing where it is not done."""
    return [f"           with {what}: {fmt.count(count)}, {fmt.duration(count * seconds)}"] * (
        count > 0
    )


def _of_probe(share: float) -> list[str]:
    """What the online probe takes of these times; nothing where there is none."""
    return [f"           {100 * share:.1f} % of it the online probe"] if share else []
