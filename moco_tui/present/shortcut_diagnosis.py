"""Diagnosis of a shortcut: the contrastive task is solved, and the features are none the better."""

from __future__ import annotations

from collections.abc import Iterator

from moco_tui.present import fmt
from moco_tui.present.run_evidence import KNN, Evidence, Said

SOLVED = 40.0
"""Percent of the queries that find their key among all negatives, at two measures in a row. Views
that differ in nothing but their BatchNorm groups reached 44 to 63 while kNN fell; healthy runs as
short had 2 to 9, and where a long one reaches as many, its kNN has long risen."""
GAIN = 3.0
"""Points above the untrained encoder up to which kNN stands still, a standard error included."""


def shortcut(evidence: Evidence) -> Said | None:
    """Queries find their keys by something that says nothing of the images."""
    solved, knn = evidence.last("contrast/top1", 2), evidence.points(KNN)
    if not solved or min(solved) < SOLVED or len(knn) < 2:
        return None
    before = evidence.untrained if evidence.untrained is not None else knn[0].value
    now, best = knn[-1].value, max(point.value for point in knn)
    stands = now - before + evidence.noise(now, before) < GAIN
    fell = best - now > 3 * evidence.noise(now, best)
    if not stands and not fell:
        return None
    than = (
        f"is at {now:.1f} % (untrained: {before:.1f} %)"
        if stands
        else (f"fell from {best:.1f} to {now:.1f} %")
    )
    return Said(
        f"A shortcut: {solved[-1]:.0f} % of the queries find their key among 1 + "
        f"{fmt.count(evidence.number('moco.queue_size'))}, while kNN {than}.",
        next(_causes(evidence)),
    )


def _causes(evidence: Evidence) -> Iterator[str]:
    """The usual causes that the settings allow, the likeliest first."""
    settings = evidence.settings
    groups = evidence.number("model.bn_splits")
    if groups > 1 and settings.get("moco.shuffle_keys") is False:
        yield (
            "BatchNorm tells which key belongs to a query: moco.shuffle_keys = true "
            "(arXiv:1911.05722, section 3.3)."
        )
    if groups == 1:
        yield (
            "One BatchNorm group for query and key can tell them: model.bn_splits = 8 with "
            "moco.shuffle_keys = true (arXiv:1911.05722, section 3.3)."
        )
    if settings.get("augment.color_jitter.enabled") is False:
        yield (
            "Views of an image share their colours: augment.color_jitter.enabled = true, or "
            "augment.grayscale.enabled."
        )
    if evidence.number("moco.queue_size") < 10 * evidence.number("optim.batch_size"):
        yield "So few negatives are told apart too easily: a larger moco.queue_size."
    yield (
        "Views that are too alike: stronger augmentations, such as a smaller "
        "augment.crop.scale_min."
    )
