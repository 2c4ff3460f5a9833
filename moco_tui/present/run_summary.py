"""The run under the cursor in words: one line on narrow screens, a list of facts on wide ones."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from engine.config.data import source_path
from engine.runs.checkpoint_ref import with_checkpoint
from engine.runs.encoder_step import encoder_words
from moco_tui.present import fmt
from moco_tui.present.run_order import Fold
from moco_tui.present.run_rows import CELLS, RunRow


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


def facts(row: RunRow, parent: RunRow | None) -> Text:
    """What is known of a run, for the panel of wide screens."""
    text = Text(overflow="fold")
    if isinstance(row, Fold):
        done = f"{round((row.share or 0) * row.count)} of {row.count} finished"
        best = "" if row.best is None else f"the best {fmt.accuracy(row.best)}\n"
        of = f"of {parent.title}\n" if parent is not None else ""
        text.append(f"{row.count} probes\n", style="bold")
        text.append(f"{of}{done}\n{best}\n{_fold_words(row)}")
        return text
    text.append(row.title + "\n", style="bold")
    text.append(f"{row.glyph} {row.status}\n\n")
    cells = {name: text_of(row, 0.0) for name, text_of in CELLS.items()}  # age is not shown here
    known = [
        ("id", row.id),
        ("kind", row.kind),
        ("cells", f"{row.members.done} of {row.members.total}" if row.members else ""),
        ("ahead", _ahead(row)),
        ("runs", f"{row.members.runs} pretrainings under it, f shows them" if row.members else ""),
        ("used by", ", ".join(row.used_by)),
        ("preset", row.preset),
        ("went on", row.entry.began_from and f"from {row.entry.began_from}"),
        ("of", with_checkpoint(parent.title if parent else row.parent, row.entry.checkpoint)),
        ("encoder", _encoder(row)),
        ("data", row.data),
        ("queue", cells["K"] and f"{cells['K']} keys"),
        *((name, cells[name]) for name in ("labels", "task", "head", "augment", "done", "loss")),
        ("best", cells["best"]),
        ("gain", cells["gain"] and f"{cells['gain']} points over the untrained encoder"),
        ("size", cells["size"]),
        ("tags", cells["tags"]),
        ("note", row.note),
        ("error", row.error),
    ]
    for name, value in known:
        if value:
            text.append(f"{name:<9}", style="dim")
            text.append(value + "\n")
    path = source_path(row.source)
    if path is not None:
        text.append(f"{'folder':<9}", style="dim")
        text.append(path + "\n")
    return text


def _ahead(row: RunRow) -> str:
    """The best variant of a study; empty for other runs, and while there is none."""
    members = row.members
    return f"{members.best}, {members.top1:.2f} %" if members and members.best else ""


def _encoder(row: RunRow) -> str:
    """The step of the encoder that a probe is about; empty where it has not begun."""
    return encoder_words(row.entry.result) if row.kind == "probe" and row.entry.result else ""


def _fold_words(fold: Fold) -> str:
    """What the keys do to the probes of a run."""
    verb = "hides" if fold.open else "shows"
    return f"Enter {verb} its {fold.count} probes; a filter such as kind:probe finds among them."


def first_words(root: str) -> Text:
    """What to do where there are no runs yet."""
    text = Text()
    text.append("No runs yet.\n\n", style="bold")
    for key, what in (
        ("D", "see it work: a small pretraining and a probe on embedded images"),
        ("n", "configure and start a pretraining"),
        ("?", "all keys"),
        ("q", "quit"),
    ):
        text.append(f"  {key}  ", style="bold")
        text.append(what + "\n")
    text.append(f"\nRuns are kept in {root}.")
    return text
