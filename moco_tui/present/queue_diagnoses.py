"""Diagnoses of the dictionary: keys that are too old, and a queue that is not full yet."""

from __future__ import annotations

from engine.config.queue_fill import steps_to_fill
from moco_tui.present import fmt
from moco_tui.present.run_evidence import Evidence, Said
from moco_tui.present.usual_causes import usual_cause

DRIFT = 0.5
"""Distance of an old key from the same key now, as a share of that of any two images, from which
the queue no longer holds keys of its images. Momentum 0 had 2.6 and 1.1 in the first epochs, and
0.16 once its rate was low; with 0.99 it was 0.14 at most, after the very first steps."""
TOLD_APART = 0.02
"""Least distance of any two images, as 1 less their cosine: below it all is one point."""


def old_queue(evidence: Evidence) -> Said | None:
    """Keys have moved so far since they were encoded that they no longer are those of the images.

    What an old key and the same image's key now have in common (``queue/agreement``) is compared
    with what any two keys have in common (``contrast/negative``): one point of the sphere, and all
    others, are near each other in an encoder that has just begun.
    """
    agreement, others = evidence.last("queue/agreement", 2), evidence.last("contrast/negative", 2)
    if not agreement or not others or not evidence.keys_per_step:
        return None
    apart = 1 - sum(others) / 2
    if apart < TOLD_APART or min((1 - cosine) / apart for cosine in agreement) < DRIFT:
        return None
    age = evidence.number("moco.queue_size") / evidence.keys_per_step
    return Said(
        f"The queue is too old: a key that leaves it, {fmt.number(age, 3)} steps old, agrees with "
        f"the encoder of today by a cosine of {agreement[-1]:.2f}, two images by "
        f"{others[-1]:.2f}.",
        usual_cause(
            evidence,
            "The key encoder changes too fast for so many keys: a higher moco.momentum, a smaller "
            "moco.queue_size or a lower optim.lr.",
        ),
    )


def queue_filling(evidence: Evidence) -> Said | None:
    """Part of the queue still holds the random vectors that it began with. No fault."""
    record = evidence.record
    full_at = steps_to_fill(record.config)
    if not 0 < record.step < full_at:
        return None
    size = int(evidence.number("moco.queue_size"))
    filled = min(record.step * evidence.keys_per_step, size)
    seen = f"The queue holds {fmt.count(filled)} keys of {fmt.count(size)}"
    if record.status == "finished":
        return Said(
            f"{seen}, and was never full: its loss was measured against random vectors.",
            "moco.queue_size is too large for so few steps: a smaller one, or more optim.epochs.",
        )
    return Said(
        f"{seen}: the loss rises until it is full, after step {fmt.count(full_at)}.",
        "The rest are random vectors, which are told apart easily; a smaller moco.queue_size is "
        "full sooner.",
    )
