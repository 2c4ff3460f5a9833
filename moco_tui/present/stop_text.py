"""What is asked before a run is stopped: what ends, what is kept, how it goes on."""

from __future__ import annotations

_KEPT = {
    "pretrain": "It ends after its present step with a checkpoint. Its curves and checkpoints "
    "stay, and r goes on from there.",
    "probe": "It ends at the next step. The rows that are ready stay, and r computes the others.",
    "study": "The run that it trains ends after its present step with a checkpoint. What is "
    "finished stays, and r goes on from there.",
}
_QUEUED = (
    "It has not begun, and no longer waits for its turn. It stays in the list, and r starts it."
)


def stop_question(title: str, run_id: str, kind: str, status: str) -> str:
    """The question, with what is kept.

    Args:
        title: of the run, safe to print.
        run_id: added where it is not the title: many runs may have one name.
        kind: ``pretrain``, ``probe`` or ``study``.
        status: a state that may change.
    """
    what = title if title == run_id else f"{title} ({run_id})"
    kept = _QUEUED if status == "queued" else _KEPT.get(kind, _KEPT["pretrain"])
    return f"Stop {what}? {kept}"
