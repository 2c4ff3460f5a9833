"""What changes where a run goes on from another one's checkpoint, in words."""

from __future__ import annotations

from engine.config.schedule import learning_rate
from engine.config.schema import PretrainConfig
from engine.runs.record import Branch


def rate_words(old: PretrainConfig, new: PretrainConfig, branch: Branch) -> str:
    """The learning rate at the end of the checkpoint's run so far, and that of the next step.

    A cosine that had come near zero rises again when its schedule gets longer.
    """
    step, epoch = branch["step"], branch["epoch"]
    per_epoch = round(step / epoch) if epoch else 1
    before = learning_rate(old.optim, max(step - 1, 0), per_epoch)
    after = learning_rate(new.optim, step, per_epoch)
    verb = "stays at" if before == after else "rises" if after > before else "falls"
    if before == after:
        return f"the learning rate {verb} {after:.4g} at epoch {epoch:.4g}"
    return f"the learning rate {verb} from {before:.4g} to {after:.4g} at epoch {epoch:.4g}"
