"""The run under the cursor in one line, and how many there are."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from engine.runs.encoder_step import encoder_words
from moco_tui.present import fmt
from moco_tui.present.run_order import Fold
from moco_tui.present.run_rows import RunRow


def line(row: RunRow) -> Text:
    """One line on the run under the cursor, for narrow screens."""
    text = Text(no_wrap=True, overflow="ellipsis")
    if isinstance(row, Fold):
        text.append(f" {_fold_words(row)}")
        return text
    text.append(f" {row.id} ", style="bold")
    if row.error:
        text.append(fmt.clean(row.error))
        return text
    encoder = _encoder(row)
    parts = [
        row.job,
        row.members and row.members.text,
        row.used_by and f"used by {', '.join(row.used_by)}",
        row.data,
        row.augment,
        encoder and f"encoder: {encoder}",
        row.entry.began_from and f"from {row.entry.began_from}",
        row.preset and f"preset {row.preset}",
        row.head,
        row.task,
    ]
    parts += [" ".join(row.tags), row.note]
    text.append("  ".join(part for part in parts if part))
    return text


def counts(rows: Sequence[RunRow], total: int, *, marked: int) -> str:
    """How many runs there are, such as ``3 of 12 runs, 1 live``.

    Args:
        rows: those that are shown.
        total: of all.
        marked: of those that are marked.
    """
    runs = f"{total} runs" if total != 1 else "1 run"
    live = sum(row.status in ("running", "paused") for row in rows)
    parts = [runs if len(rows) == total else f"{len(rows)} of {runs}"]
    parts += [f"{live} live"] if live else []
    parts += [f"{marked} marked"] if marked else []
    return ", ".join(parts)


def _encoder(row: RunRow) -> str:
    """The step of the encoder that a probe is about; empty where it has not begun."""
    return encoder_words(row.entry.result) if row.kind == "probe" and row.entry.result else ""


def _fold_words(fold: Fold) -> str:
    """What the keys do to the runs that a line stands for."""
    verb = "hides" if fold.open else "shows"
    if fold.kind != "probe":
        return f"Enter {verb} its {fold.count} runs, which differ by their seed alone."
    return f"Enter {verb} its {fold.count} probes; a filter such as kind:probe finds among them."


def first_words(root: str) -> Text:
    """What to do where there are no runs yet."""
    text = Text()
    text.append("No runs yet.\n\n", style="bold")
    for key, what in (
        ("D", "see it work: a small pretraining and a probe on embedded images"),
        ("n", "configure and start a pretraining"),
        ("?", "all keys"),
        ("F1", "the manual"),
        ("q", "quit"),
    ):
        text.append(f"  {key:<2}  ", style="bold")
        text.append(what + "\n")
    text.append(f"\nRuns are kept in {root}.")
    return text
