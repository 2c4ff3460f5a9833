"""Results of probes of earlier versions: whether a probe may keep the rows in one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator

from torch import Tensor

from engine.config.fields import flatten
from engine.config.schema import ProbeConfig
from engine.data.dataset import Dataset
from engine.evaluate.features import checksum
from engine.models.encoder import Encoder
from engine.pretrain.old_checkpoints import name_in_0_1

# The settings that version 0.1 had and that its fingerprints hold. What was added since has, in a
# probe of 0.1, the value of a run that does not name it.
_SETTINGS = (
    "label_fraction", "head", "subset_seed", "validation", "baselines", "task.name", "task.groups",
    "linear.epochs", "linear.batch_size", "linear.lr", "linear.weight_decay", "linear.views",
    "logistic.l2", "logistic.max_iter", "logistic.tolerance",
    "supervised.epochs", "supervised.max_images", "supervised.batch_size", "supervised.lr",
    "supervised.weight_decay", "runtime.seed", "runtime.precision",
)  # fmt: skip


def old_fingerprints(
    config: ProbeConfig, dataset: Dataset, pretrained: Encoder, mean: Tensor
) -> Iterator[str]:
    """What versions without digests of the data have written into the result of this probe.

    The count of the images and the channel means of the pretraining stood for the images then. The
    layers of the encoder had other names in version 0.1.
    """
    flat = flatten(config)
    kept = {key: flat[key] for key in _SETTINGS}
    test = len(dataset.test) if dataset.test is not None else 0
    data = [len(dataset.train), test, dataset.class_names, mean.tolist()]
    names: tuple[Callable[[str], str], ...] = (str, name_in_0_1)
    for rename in names:
        text = json.dumps([kept, data, checksum(pretrained, rename)], sort_keys=True)
        yield hashlib.sha256(text.encode()).hexdigest()[:16]
