"""Rules that span several settings of a pretraining."""

from __future__ import annotations

from engine.config.augment import augment_problems
from engine.config.data.data_set import LARGEST_SIZE, SIZE
from engine.config.models.convnet import feature_width, last_side
from engine.config.schema import PretrainConfig

_MOST_WEIGHTS = 1 << 28
"""Of a layer of the projection head: 1 GiB in float32, four times that with what SGD keeps."""


def pretrain_problems(config: PretrainConfig) -> dict[str, str]:
    """Every rule over several settings of a pretraining that is broken, by the key at fault."""
    optim, model = config.optim, config.model
    found = augment_problems(config.augment)
    # Groups of equal size; the statistics of a single image would be no batch statistics.
    if optim.batch_size % model.bn_splits:
        found["model.bn_splits"] = (
            f"model.bn_splits is {model.bn_splits}, which does not divide optim.batch_size "
            f"({optim.batch_size}); it must divide it."
        )
    elif optim.batch_size // model.bn_splits < 2:
        found["model.bn_splits"] = (
            f"model.bn_splits is {model.bn_splits}, which leaves one image to normalise over; "
            f"it must be at most {optim.batch_size // 2} for optim.batch_size {optim.batch_size}."
        )
    found |= _size_problems(config)
    if model.stem != "cifar" and model.encoder == "convnet":
        found["model.stem"] = (
            f"model.stem is {model.stem}, and a convnet has no stem of a ResNet; it must be cifar."
        )
    if optim.stop_epoch > optim.epochs:
        found["optim.stop_epoch"] = (
            f"optim.stop_epoch is {optim.stop_epoch}, beyond optim.epochs ({optim.epochs}); "
            "it must not be larger."
        )
    if optim.warmup_epochs >= optim.epochs:
        found["optim.warmup_epochs"] = (
            f"optim.warmup_epochs is {optim.warmup_epochs}, and optim.epochs {optim.epochs}; the "
            "warm-up must be shorter."
        )
    if list(optim.milestones) != sorted(set(optim.milestones)):
        found["optim.milestones"] = (
            f"optim.milestones is {list(optim.milestones)}; each must be larger "
            "than the one before."
        )
    return found


def _size_problems(config: PretrainConfig) -> dict[str, str]:
    """What is wrong with the size of the images, by itself and for the encoder."""
    wanted, model = config.data.image_size, config.model
    key = "data.image_size"
    if wanted and not SIZE <= wanted <= LARGEST_SIZE:
        return {
            key: f"{key} is {wanted}; it must be from {SIZE} to {LARGEST_SIZE} pixels, or 0 for "
            "the set's own."
        }
    if model.encoder != "convnet":
        return {}
    size = config.data.size
    most = last_side(size)
    if model.feature_side > most:
        return {
            "model.feature_side": f"model.feature_side is {model.feature_side}, but the convnet's "
            f"last block has {most} x {most} places at {size} pixels; it must be at most {most}, "
            "or 0 for all of them."
        }
    width = feature_width(size, model.feature_side)
    if model.mlp_head and width * width > _MOST_WEIGHTS:
        return {
            "model.mlp_head": f"model.mlp_head makes a layer of {width:,} x {width:,} weights of "
            f"the convnet's features at {size} pixels, more than is of use; averages "
            "(model.feature_side 2), one linear layer (model.mlp_head false) or a resnet must be "
            "taken."
        }
    if width * model.dim > _MOST_WEIGHTS:
        return {
            "model.dim": f"model.dim is {model.dim}, which makes a layer of {width:,} x "
            f"{model.dim:,} weights of the convnet's features at {size} pixels; it must be at most "
            f"{_MOST_WEIGHTS // width:,} there."
        }
    return {}
