"""What is printed when a run has ended in this process."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from engine.runs import RunFolder
from engine.runs.encoder_step import encoder_words
from engine.runs.log_summary import gains
from moco_tui.cli.output import clean, print_json, print_text, say, table, terminal_width
from moco_tui.present.probe_row import scratch_words
from moco_tui.present.probe_table import transfer_words
from moco_tui.present.probe_training import training_words


def print_outcome(folder: RunFolder, outcome: str, *, as_json: bool) -> int:
    """Prints what came out of a pretraining or a probe.

    Returns:
        The exit code: 0, or 130 for a run that was stopped.
    """
    record = folder.record()
    if as_json:
        print_json(
            {
                "id": record.id,
                "path": str(folder.path),
                "status": outcome,
                "step": record.step,
                "last": record.last,
                "best": record.best,
                "untrained": record.untrained or {},
                "gain": gains(record.best, record.untrained),
                "result": record.result,
            }
        )
    elif record.result:
        print_text(result_table(record.result, record.config))
    return say_outcome(outcome, record.id)


def say_outcome(outcome: str, run_id: str) -> int:
    """Says on stderr how a run ended.

    Args:
        outcome: ``finished``, ``stopped`` or ``handed-over``.
        run_id: of the run.

    Returns:
        The exit code: 0, or 130 (128 + SIGINT) for a run that was stopped.
    """
    if outcome == "stopped":
        say(f"stopped; moco-tui resume {run_id} goes on from there")
    elif outcome != "handed-over":  # train_here has printed which process continues the run
        say(f"{outcome}: run {run_id}")
    return 130 if outcome == "stopped" else 0


def result_table(result: Mapping[str, Any], config: Mapping[str, Any] | None = None) -> str:
    """The accuracies of a probe as plain text, with what they are of above and the protocol below.

    Args:
        result: of the probe.
        config: its configuration, nested, where it is at hand; results of version 0.1 do not say
            how long a training was meant to be.

    Raises:
        KeyError, TypeError, ValueError: when it is not the result of a whole probe.
    """
    found = result["rows"]
    training = [training_words(row, config or {}) for row in found]
    gains = [scratch_words(row) for row in found]
    rows = [
        [
            clean(row["source"]),
            f"{row['top1']:.1f}",
            f"{row['low']:.1f} - {row['high']:.1f}",
            f"{row['balanced']:.1f}",
            f"{row['majority']:.1f}",
            *([words] if any(training) else []),
            *([gain] if any(gains) else []),
        ]
        for row, words, gain in zip(found, training, gains, strict=True)
    ]
    task, head = clean(result["task"]), clean(result["head"])
    title = (
        f"{task}, {head}, {100 * result['label_fraction']:g} % of the "
        f"labels ({result['labels']} images), {result['test_images']} test images"
    )
    title += f"\npretrained encoder: {encoder_words(result)}"
    if words := transfer_words(result):
        title += f"\n{clean(words)}"
    titles = ["encoder", "top-1 %", "95 % interval", "balanced %", "majority %"]
    titles += ["trained"] if any(training) else []
    titles += ["less from scratch"] if any(gains) else []
    body = table(titles, rows, (1, 3, 4))
    return f"{title}\n\n{body}\n\n{_in_lines(clean(result['protocol']))}"


def _in_lines(text: str) -> str:
    """A text in lines of the terminal, which would break them within words; a file has one line."""
    width = terminal_width()
    if width is None:
        return text
    return textwrap.fill(text, max(width - 1, 20), break_on_hyphens=False)
