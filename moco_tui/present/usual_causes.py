"""Settings that usually lie behind a fault of a pretraining, where they are far from the usual."""

from __future__ import annotations

from moco_tui.present import fmt
from moco_tui.present.run_evidence import Evidence

_LOW_MOMENTUM, _HIGH_RATE, _HIGH_TEMPERATURE, _HIGH_DECAY = 0.9, 0.5, 0.5, 0.1
# The presets have 0.99, 0.06, 0.07 to 0.2, and 0.0005. Momentum 0.9 is the least with which the
# paper still learned (arXiv:1911.05722, section 4.1, "Ablation: momentum").


def usual_cause(evidence: Evidence, otherwise: str) -> str:
    """What to change, in one sentence: of the settings that are far from the usual the first.

    Args:
        evidence: the run.
        otherwise: where none is.
    """
    batch, keys = evidence.number("optim.batch_size"), evidence.number("moco.queue_size")
    rate, temperature = evidence.number("optim.lr"), evidence.number("moco.temperature")
    if rate >= _HIGH_RATE:
        return f"Usually the steps are too large: optim.lr {rate:g}; presets have 0.06."
    decay = evidence.number("optim.weight_decay")
    if decay >= _HIGH_DECAY:
        return f"Usually the weights decay too fast: optim.weight_decay {decay:g}; presets: 0.0005."
    momentum = fmt.measured(evidence.settings.get("moco.momentum"))
    if momentum is not None and momentum < _LOW_MOMENTUM:
        return (
            "The key encoder changes too fast for consistent keys: moco.momentum "
            f"{momentum:g}; presets have 0.99 (arXiv:1911.05722, section 4.1)."
        )
    if momentum == 1.0:
        return "The key encoder never changes with moco.momentum 1; presets have 0.99."
    if temperature >= _HIGH_TEMPERATURE:
        return (
            f"With moco.temperature {temperature:g} key and negatives hardly differ in the loss; "
            "presets have 0.07 to 0.2."
        )
    if 0 < keys < batch:
        return (
            f"So few negatives say little: moco.queue_size {keys:.0f}; presets have 2,048 and more."
        )
    return otherwise
