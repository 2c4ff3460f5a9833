"""What leads from a run on a screen to what comes next: a probe of it, others beside it."""

from __future__ import annotations

from collections.abc import Sequence

from engine.errors import UserError
from engine.runs import find
from engine.runs.checkpoint_ref import split_checkpoint
from moco_tui.present.comparable import likely_rival
from moco_tui.present.probe_offer import why_no_probe_of
from moco_tui.screens.base_screen import BaseScreen
from moco_tui.screens.dialogs import Ask
from moco_tui.screens.messages import OpenComparison, OpenForm

LEAST, MOST = 2, 8
"""How many runs stand side by side."""


def compare(screen: BaseScreen, run_ids: Sequence[str]) -> None:
    """Compare runs; where they are too few or too many, ask which."""
    chosen = list(dict.fromkeys(run_ids))
    if LEAST <= len(chosen) <= MOST:
        screen.ask_app(OpenComparison(chosen))
    else:
        ask_to_compare(screen, chosen)


def compare_with_another(screen: BaseScreen, run: str) -> None:
    """Ask which runs to compare a run with; the one that is most like it is offered."""
    rival = likely_rival(screen.session.runs.rows, run)
    ask_to_compare(screen, [run, rival] if rival else [run])


def ask_to_compare(screen: BaseScreen, run_ids: Sequence[str]) -> None:
    """Ask which runs to compare.

    Args:
        screen: asks, and says what cannot be.
        run_ids: that are offered.
    """

    def answered(text: str | None) -> None:
        if not text or not text.strip():
            return
        # A name may have spaces in it.
        refs = text.split(",") if "," in text else text.split()
        try:
            found = [find(screen.session.root, ref.strip()).id for ref in refs if ref.strip()]
        except UserError as error:
            screen.say(str(error), severity="error")
            return
        chosen = list(dict.fromkeys(found))
        if LEAST <= len(chosen) <= MOST:
            screen.ask_app(OpenComparison(chosen))
        else:
            screen.say(f"Name two to eight runs; these are {len(chosen)}.", severity="warning")

    question = "Compare which runs? Two to eight ids, or names with commas between them"
    offered = "".join(f"{run} " for run in run_ids[:MOST])
    screen.app.push_screen(Ask(question, offered), answered)


def probe(screen: BaseScreen, encoder: str) -> None:
    """Configure a probe; says so where none can be.

    Args:
        screen: that is left.
        encoder: id of the pretraining, where one is meant with its checkpoint behind an ``@``;
            or the id of a probe, whose encoder is probed anew.
    """
    rows = screen.session.runs.rows
    run = split_checkpoint(encoder)[0]
    row = rows.get(run)
    if row is not None and row.kind == "study":
        screen.say(f"{row.title} is a study; its pretrainings can be probed.")
        return
    if row is not None and row.kind == "probe":
        encoder, run = row.encoder, row.parent
    if reason := why_no_probe_of(screen.session.folder(run)):
        screen.say(reason, severity="warning")
        return
    screen.ask_app(OpenForm(parent=encoder))
