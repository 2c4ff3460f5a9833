"""What the study screen says in words: progress, the answer, the pretrainings, the protocol."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from rich.text import Text

from engine.history.entry import Entry
from engine.runs.record import Record
from engine.runs.training_time import seconds_trained
from engine.study.comparisons import Comparison
from engine.study.formats import comparison_lines
from engine.study.legend import SHORTFALL_MARK
from engine.study.report import Report
from engine.study.scratch_tables import CROSSINGS_TITLE, crossing_lines
from engine.study.study_state import StudyState
from moco_tui.present import fmt
from moco_tui.present.lines import Line
from moco_tui.present.run_rows import GLYPHS
from moco_tui.present.study_view import QUEUE_LABEL, StudySnapshot

LEAST_WIDTH = 24


SHORT_NAMES = {"pretrainings": "runs"}
"""What panels are called where there is little room."""


def tabs(panels: Sequence[str], shown: str, *, full: bool, short: bool, width: int = 0) -> Text:
    """The panels with their keys, and what the brackets in the table mean.

    Where there is little room, what the brackets mean gives way to the names of the panels, except
    beside the table: there the names do, since their keys lead to them.

    Args:
        panels: in the order of their keys.
        shown: the one on the screen.
        full: whether cells give both ends of an interval.
        short: whether a training from scratch was too short.
        width: characters that there are; 0: as many as it takes.
    """
    legend = f"{'(95 %)' if full else '±95 %'} [range] {{partial}}"
    legend += f" {SHORTFALL_MARK} trained too short" if short else ""
    all_ = {name: name for name in panels}
    few = {name: name if name == shown else "" for name in panels}
    closely = {name: SHORT_NAMES.get(name, name) for name in panels}
    forms = [(all_, " ", legend), (closely, "", legend)]
    if shown != "table":
        forms += [(all_, " ", ""), (closely, "", "")]
    for names, pad, meaning in [*forms, (few, "", legend)]:
        text = Text(no_wrap=True, overflow="crop")
        for number, name in enumerate(panels, 1):
            label = f"{number} {names[name]}".strip()
            text.append(f"{pad}{label}{pad}", style="reverse" if name == shown else "")
            text.append(" " if not pad else "")
        if meaning:
            text.append(f"{pad}{meaning}", style="dim")
        if not width or text.cell_len <= width:
            break
    return text


MOST_VARIANT = 32
"""Characters of a variant in the list of pretrainings."""


def wrapped(text: str, width: int, look: str = "", indent: str = "") -> list[Line]:
    """A sentence as lines of so many characters."""
    lines = textwrap.wrap(
        fmt.clean(text), max(width, LEAST_WIDTH), subsequent_indent=indent, break_on_hyphens=False
    )
    return [[(line, look)] for line in lines]


def answer_lines(report: Report, width: int) -> list[Line]:
    """The answer, then every comparison with its verdict, the crossings, the protocol."""
    lines: list[Line] = []
    for sentence in report.answer:
        lines += [*([[("", "")]] if lines else []), *wrapped(sentence, width)]
    known = [c for c in report.comparisons if c.difference is not None]
    if known:
        lines += [[("", "")], [("comparisons, paired by pretraining seed", "strong")]]
        for comparison in known:
            lines += _comparison(comparison, width)
    if report.crossings:
        lines += [[("", "")], *wrapped(CROSSINGS_TITLE, width, "strong", indent="  ")]
        for who, task, head, share, span, seeds in crossing_lines(report.crossings)[1]:
            figures = [*([span] if span != "-" else []), f"{seeds} seeds cross"]
            lines += wrapped(f"{who}, {task}, {head}: {share}", width, indent="  ")
            lines += wrapped("  " + ", ".join(figures), width, "muted", indent="  ")
    lines += [[("", "")], [("protocol", "strong")]]
    for sentence in report.protocol:
        lines += wrapped(f"- {sentence}", width, indent="  ")
    return lines


def _comparison(comparison: Comparison, width: int) -> list[Line]:
    _, ((what, over, difference, span, seeds, p, verdict),) = comparison_lines([comparison])
    figures = [f"{difference} points", *([span] if span != "-" else []), f"{seeds} seeds"]
    if p != "-":
        figures.append(f"p {p}")
    return [
        *wrapped(f"{what}, {over}: {verdict}", width, indent="  "),
        *wrapped("  " + ", ".join(figures), width, "muted", indent="  "),
    ]


def pretraining_lines(study_state: StudyState) -> list[Line]:
    """A line for each pretraining of the grid: variant, seed, state, step, run."""
    places = study_state.pretrainings
    # Queue sizes alone: the column says once that these are K.
    queues = all(QUEUE_LABEL.fullmatch(label) for label, _ in places)
    head = "K" if queues else "variant"
    shown = {label: label.removeprefix("K ") if queues else fmt.clean(label) for label, _ in places}
    width = 8 if queues else min(max([8, *(len(text) for text in shown.values())]), MOST_VARIANT)
    title = f"{head:>{width}}" if queues else f"{head:<{width}}"
    lines: list[Line] = [[(f"{title} {'seed':>5}  {'state':<13} {'step':<19} run", "muted")]]
    for (label, seed), trained in places.items():
        glyph = "·" if trained.state == "missing" else GLYPHS.get(trained.state, "?")
        step = (
            f"{fmt.count(trained.step)}/{fmt.count(trained.total_steps)}"
            if trained.total_steps
            else ""
        )
        look = {"running": "good", "failed": "bad", "lost": "bad", "missing": "muted"}
        name = f"{shown[label]:>{width}}" if queues else fmt.fit(shown[label], width)
        lines.append(
            [
                (f"{name} {seed:>5}  ", ""),
                (f"{glyph} {trained.state:<12}", look.get(trained.state, "")),
                (f"{step:<19} {trained.run}", ""),
            ]
        )
    return lines


def progress_line(snapshot: StudySnapshot, width: int, *, ascii_only: bool) -> str:
    """A bar over the cells that are done."""
    counts = snapshot.counts()
    total = len(snapshot.study_state.cells)
    done = counts.get("done", 0)
    trained = sum(t.state == "finished" for t in snapshot.study_state.pretrainings.values())
    text = (
        f"{fmt.count(done)}/{fmt.count(total)} cells  "
        f"{trained}/{len(snapshot.study_state.pretrainings)} pretrainings"
    )
    share = done / total if total else 0.0
    cells = fmt.bar_cells(width, text)
    # Rounded down: the bar is full, and 100 % stands there, when the last cell is done.
    bar = fmt.bar(int(share * cells), cells, ascii_only=ascii_only)
    shown = 100 if share == 1 else min(int(100 * share), 99)
    return f"{bar} {shown:3d} %  {text}"


def state_line(snapshot: StudySnapshot, record: Record, status: str, left: str = "") -> str:
    """What the study does now; of one that does nothing, how it goes on.

    Args:
        snapshot: the study.
        record: of its run.
        status: the run's state, as shown.
        left: the time it still takes, in words; see ``time_left``.
    """
    study_state = snapshot.study_state
    counts = snapshot.counts()
    done = counts.get("done", 0)
    parts: list[str] = []
    if status in ("running", "paused"):
        if record.stage is not None:
            stage = record.stage
            count = f"{fmt.count(stage['done'])}/{fmt.count(stage['total'])}"
            parts.append(f"{fmt.clean(stage['name'])} {count}")
        else:
            parts += _at_work(study_state)
        if status == "running" and left:
            parts.append(left)
    elif done == len(study_state.cells):
        parts.append("every cell is done")
        took = seconds_trained(record)
        if took is not None:
            parts.append(f"took {fmt.duration(took)}")
    elif status == "queued":
        parts.append("it waits for its turn; r starts it here")
    elif status in ("stopped", "failed", "lost"):
        parts.append("r goes on with what is not done")
        if record.error:
            parts.append(fmt.clean(record.error))
    failed = counts.get("failed", 0)
    if failed:
        parts.append(f"{failed} cells failed: Enter on one shows why")
    if record.device:
        parts.append(fmt.clean(record.device))
    if record.host:
        parts.append(f"on {fmt.clean(record.host)}")
    return "  ".join(parts)


def header_facts(snapshot: StudySnapshot, record: Record, left: str = "") -> list[str]:
    """What the top line says of a study, the most important first; see ``state_line``."""
    cells = len(snapshot.study_state.cells)
    done = snapshot.counts().get("done", 0)
    facts = [f"{100 * done / cells:.0f} %"] if done < cells else []
    return [*facts, left, fmt.clean(record.device or "")]


def _at_work(study_state: StudyState) -> Sequence[str]:
    """The pretrainings that are trained now."""
    return [
        f"{fmt.clean(label)} seed {seed}: step {fmt.count(t.step)}/{fmt.count(t.total_steps)}"
        for (label, seed), t in study_state.pretrainings.items()
        if t.state in ("running", "paused") and t.total_steps
    ][:2]


def time_left(study_state: StudyState, entries: Mapping[str, Entry], now: float) -> str:
    """How long what is missing would take at the pace of what is done; empty when unknown.

    Args:
        study_state: how far the study is.
        entries: the runs by id.
        now: unix seconds.
    """
    took: list[float] = []
    missing = 0.0
    for trained in study_state.pretrainings.values():
        share = trained.step / trained.total_steps if trained.total_steps else 0.0
        entry = entries.get(trained.run)
        if trained.state == "finished":
            took += _known([entry])
            continue
        missing += 1.0 - min(share, 1.0)
        # In the first 2 % much of the time since the start may be that of reading the images.
        so_far = seconds_trained(entry, now) if entry is not None else None
        if trained.state == "running" and so_far and share > 0.02:
            took.append(so_far / share)
    # Probes of pretrained encoders alone; other baselines cost little beside them.
    encoders = {cell: found for cell, found in study_state.cells.items() if cell.source == "moco"}
    runs = {found.run for found in encoders.values() if found.state == "done"}
    probed = _known(entries.get(run) for run in runs)
    probes = sum(found.state != "done" for found in encoders.values())
    if missing and not took:
        return ""
    # The median: a run that shared the machine took longer than it would now.
    left = missing * statistics.median(took) if missing else 0.0
    # A training from scratch may take longer than all the rest, and its cells have no pace.
    scratch = sum(
        cell.source == "supervised" and found.state != "done"
        for cell, found in study_state.cells.items()
    )
    trainings = f"{scratch} training{'s' * (scratch > 1)} from scratch" if scratch else ""
    if probes and not probed:
        then = " and ".join(filter(None, ["probes", trainings]))
        return f"pretrainings about {fmt.duration(left)}, then {then}" if left else ""
    left += probes * statistics.median(probed) if probes else 0.0
    words = f"about {fmt.duration(left)} left" if left else ""
    if not trainings:
        return words
    return f"{words} and {trainings}" if words else f"{trainings} left"


def _known(entries: Iterable[Entry | None]) -> list[float]:
    """How long these runs took, as far as that is known."""
    seconds = (seconds_trained(entry) for entry in entries if entry is not None)
    return [known for known in seconds if known is not None]


def first_words(status: str) -> str:
    """What to do with a study of which nothing is done yet."""
    if status in ("queued", "stopped", "failed", "lost"):
        return "Nothing is measured yet. r starts it here; cells fill in one by one."
    return (
        "Nothing is measured yet. The first cells come when the first pretraining has ended; "
        "6 shows how it is trained."
    )
