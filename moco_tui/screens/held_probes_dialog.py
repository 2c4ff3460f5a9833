"""Asks what becomes of probes that waited for a pretraining which has ended unfinished."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import Button, Static

from engine.errors import UserError
from engine.runs import RunFolder
from moco_tui.present import fmt
from moco_tui.screens.dialogs import WideChoice
from moco_tui.training.queued_probes import end_queued, pretraining_of, reached, state_words
from moco_tui.training.runner import Runner
from moco_tui.widgets.panel import Dialog

Answer = Literal["now", "wait", "drop"]
"""Probe the encoder as it stands; begin when the pretraining is finished; do not begin at all."""
_SHOWN = 5  # probes that are named; of the others their number


class HeldProbes(WideChoice[Answer]):
    """Names the pretraining, its step and the probes, and asks when they are to begin.

    Args:
        pretraining: that has ended and is not finished.
        probes: that waited for it, at least one.
    """

    BINDINGS = [
        Binding("escape,w", "answer('wait')", "Wait until it is finished"),
        Binding("p", "answer('now')", "Probe it now"),
        Binding("d", "answer('drop')", "Drop"),
    ]

    def __init__(self, pretraining: RunFolder, probes: Sequence[RunFolder]) -> None:
        super().__init__()
        self._pretraining, self._probes = pretraining, list(probes)
        self._at = reached(pretraining)

    def compose(self) -> ComposeResult:
        """What has happened, and the buttons; without a checkpoint nothing can be probed now."""
        names = [fmt.clean(probe.title()) for probe in self._probes[:_SHOWN]]
        if len(self._probes) > _SHOWN:
            names.append(f"and {len(self._probes) - _SHOWN} more")
        one = len(self._probes) == 1
        title = fmt.clean(self._pretraining.title())
        with Dialog("Probes that wait"):
            yield Static(
                f"{title} is {state_words(self._pretraining)}. "
                f"{'A probe waits' if one else f'{len(self._probes)} probes wait'} "
                f"for it: {', '.join(names)}.",
                classes="question",
                markup=False,
            )
            with Vertical(classes="choices"):
                yield Button(
                    "Wait until it is finished (w, Escape)",
                    id="wait",
                    variant="primary",
                    compact=True,
                )
                if self._at is not None:
                    yield Button(f"Probe it now, at {self._at.words()} (p)", id="now", compact=True)
                yield Button(
                    f"Drop (d): {'it does' if one else 'they do'} not begin; r starts "
                    f"{'it' if one else 'them'} after all",
                    id="drop",
                    compact=True,
                )

    def action_answer(self, answer: str) -> None:
        """Answer by a key."""
        if answer == "now" and self._at is None:
            return
        self.dismiss("now" if answer == "now" else "drop" if answer == "drop" else "wait")


def ask_about_held(
    app: App[Any], runner: Runner, start: Callable[..., None], say: Callable[..., None]
) -> None:
    """Start the held probes whose pretraining has finished; ask about those of one that has not.

    Args:
        app: shows the questions.
        runner: holds the probes.
        start: begins runs; called with their folders.
        say: shows a sentence.
    """

    def decide(probes: Sequence[RunFolder], answer: Answer | None) -> None:
        if answer == "now":
            start(*probes)
        elif answer == "drop":
            for probe in probes:
                try:
                    if runner.drop(probe):
                        end_queued(probe)
                except UserError as error:
                    say(str(error), severity="error")

    runner.start_ready()
    undecided: dict[RunFolder, list[RunFolder]] = {}
    while runner.undecided:
        probe = runner.undecided.popleft()
        pretraining = pretraining_of(probe)
        if pretraining is not None and probe in runner.held:
            undecided.setdefault(pretraining, []).append(probe)
    for pretraining, probes in undecided.items():
        app.push_screen(HeldProbes(pretraining, probes), partial(decide, probes))
