"""What may differ between a pretraining and one that goes on from its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.config.phrases import shown_value
from engine.errors import ConfigError

_SHAPELESS = ("model.dropout", "model.bn_splits")
_IMAGES_FREE = ("data.holdout",)


def check_branch(old: Mapping[str, Any], new: Mapping[str, Any], epoch: float, run: str) -> None:
    """Refuses settings that the state of a checkpoint cannot take.

    The weights have the shapes of ``model``, so of that section ``dropout`` and ``bn_splits`` alone
    may differ. The statistics, the order and the number of the images are those of ``data``, of
    which ``holdout`` alone may. Another batch size makes other steps of an epoch, so it needs a
    checkpoint of a whole number of epochs. A queue of another size is filled anew, and with another
    seed every stream of random numbers begins anew; everything else is taken as it is.

    Args:
        old: of the run, dotted keys and builtin values; what it lacks is not compared.
        new: of the one that goes on.
        epoch: epochs behind the checkpoint.
        run: how the checkpoint is called in the sentence.

    Raises:
        ConfigError: for the first setting that cannot be.
    """
    for key in sorted(new.keys() & old.keys()):
        if _plain(new[key]) == _plain(old[key]):
            continue
        there = f"{key} is {shown_value(new[key])}, and {shown_value(old[key])} in {run}"
        if key.startswith("model.") and key not in _SHAPELESS:
            raise ConfigError(
                f"{there}, whose weights do not fit another one; it must be the same, or begin a "
                "new run.",
                key,
            )
        if key.startswith("data.") and key not in _IMAGES_FREE:
            raise ConfigError(
                f"{there}; a run goes on with the images that it began with, so it must be the "
                "same, or begin a new run.",
                key,
            )
        if key == "optim.batch_size" and epoch != int(epoch):
            raise ConfigError(
                f"{there}, which lies within epoch {int(epoch) + 1}; another batch size needs a "
                "checkpoint at the end of an epoch, as log.keep_every keeps them.",
                key,
            )
    for key, none in (("optim.epochs", None), ("optim.stop_epoch", 0)):
        end = new.get(key)
        if isinstance(end, int) and end != none and end <= epoch:
            raise ConfigError(
                f"{key} is {end}, and {run} has {epoch:.4g} epochs behind it; it must be larger.",
                key,
            )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
