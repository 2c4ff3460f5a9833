"""What is printed when a run has ended in this process."""

from __future__ import annotations

from typing import Any

from engine.runs import RunFolder
from engine.runs.encoder_step import encoder_words
from engine.runs.log_summary import gains
from moco_tui.cli.output import clean, print_json, say, table


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
        print(result_table(record.result))
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


def result_table(result: dict[str, Any]) -> str:
    """The accuracies of a probe as plain text, with what they are of above and the protocol below.

    Raises:
        KeyError, TypeError, ValueError: when it is not the result of a whole probe.
    """
    rows = [
        [
            row["source"],
            f"{row['top1']:.1f}",
            f"{row['low']:.1f} - {row['high']:.1f}",
            f"{row['balanced']:.1f}",
            f"{row['majority']:.1f}",
        ]
        for row in result["rows"]
    ]
    head = (
        f"{clean(result['task'])}, {result['head']}, {100 * result['label_fraction']:g} % of the "
        f"labels ({result['labels']} images), {result['test_images']} test images"
    )
    head += f"\npretrained encoder: {encoder_words(result)}"
    body = table(
        ["encoder", "top-1 %", "95 % interval", "balanced %", "majority %"], rows, (1, 3, 4)
    )
    return f"{head}\n\n{body}\n\n{clean(result['protocol'])}"
