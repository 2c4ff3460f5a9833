"""The encoder that a pretraining has trained, as probes use it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import msgspec
import torch
from torch import Tensor

from engine.config.data.data_set import SIZE
from engine.config.missing_settings import completed
from engine.config.schema import ModelConfig, PretrainConfig
from engine.data.dataset import channel_statistics
from engine.errors import DamagedFileError, RunError
from engine.evaluate.features import checksum
from engine.files import is_gone
from engine.jobs.recorded_config import runnable_config
from engine.models.encoder import Encoder, build_encoder
from engine.pretrain import checkpoint as checkpoints
from engine.pretrain.state_check import (
    check_count,
    check_mapping,
    check_statistics,
    check_tensors,
)
from engine.runs import RunFolder
from engine.runs.data_identity import DataIdentity, identity_in
from engine.runs.encoder_step import EncoderStep
from engine.runs.kept_checkpoints import checkpoint_file

IMPORTED_KIND = "imported"
"""``kind`` in the checkpoint of an encoder that was trained elsewhere. It may lack the projection
head, and mean and std (None); its ``step`` and ``steps_per_epoch`` are 0."""

_PREFIX = "encoder_q."  # the query encoder's parameters in the state of MoCo


@dataclass(frozen=True)
class TrainedEncoder:
    """A pretrained query encoder, and the normalisation of the images that it was trained on.

    Attributes:
        encoder: in eval mode, on the CPU.
        config: the configuration of its pretraining.
        mean, std: float32 ``(3,)``, of the channels in [0, 1]; 0 and 1 where it
            ``takes_statistics``.
        at: the step of its pretraining, the steps of the whole schedule, and which weights it has.
        data: what it was trained on last; None for a checkpoint of an earlier version, and for
            an encoder that was trained elsewhere.
        takes_statistics: whether images are normalised by their own statistics: of an encoder from
            elsewhere whose normalisation nobody has named.
        imported: whether it was trained elsewhere.
    """

    encoder: Encoder
    config: PretrainConfig
    mean: Tensor
    std: Tensor
    at: EncoderStep
    data: DataIdentity | None = None
    takes_statistics: bool = False
    imported: bool = False

    @property
    def trained_on(self) -> str:
        """The data set that it was trained on; empty where it was trained elsewhere."""
        return "" if self.imported else self.config.data.source

    def on(self, images: Tensor) -> TrainedEncoder:
        """The encoder with the normalisation for a data set.

        Args:
            images: uint8 ``(N, 3, H, W)``, its training images.
        """
        if not self.takes_statistics:
            return self
        return self.normalised_by(*channel_statistics(images))

    def normalised_by(self, mean: Tensor, std: Tensor) -> TrainedEncoder:
        """The encoder with a normalisation that somebody has named.

        Args:
            mean: float32 (3,), of the channels in [0, 1].
            std: float32 (3,).
        """
        return replace(self, mean=mean, std=std, takes_statistics=False)


def load_encoder(folder: RunFolder, which: str = "") -> TrainedEncoder:
    """The query encoder of a pretraining, from its last checkpoint or one that it has kept.

    Args:
        folder: of the pretraining.
        which: see ``kept_checkpoints.checkpoint_file``.

    Raises:
        ConfigError: when another user's record names code that this user has not named.
        RunError: when the run is no pretraining, has no checkpoint, or it cannot be read.
    """
    record, config = folder.record(), runnable_config(folder)
    if not isinstance(config, PretrainConfig):
        raise RunError(f"Run {record.id} is a {record.kind}; a probe needs a pretraining.")
    state = _checkpoint(folder, which)
    try:
        step = check_count(state.get("step"), None, "step")
        steps_per_epoch = check_count(state.get("steps_per_epoch"), None, "steps_per_epoch")
        model = completed("pretrain", {"model": state["model_config"]})["model"]
        # The record's own, which names no code that nobody has named, and no layers of any size.
        if msgspec.convert(model, ModelConfig) != config.model:
            raise ValueError("the model is another one")
        encoder = build_encoder_quietly(config.model, config.data.size)
        trained = {
            name.removeprefix(_PREFIX): value
            for name, value in check_mapping(state.get("model"), "model").items()
            if isinstance(name, str) and name.startswith(_PREFIX)
        }
        imported = state.get("kind") == IMPORTED_KIND
        if imported and all(name.startswith("backbone.") for name in trained):
            encoder = encoder.without_head()
        check_tensors(trained, encoder.state_dict(), "encoder_q")
        encoder.load_state_dict(trained)
        unnamed = imported and state.get("mean") is None
        if unnamed:
            state = {**state, "mean": torch.zeros(3), "std": torch.ones(3)}
        mean, std = check_statistics(state, torch.zeros(3))
        return TrainedEncoder(
            encoder.eval(),
            config,
            mean,
            std,
            EncoderStep(
                step,
                steps_per_epoch * config.optim.epochs,
                step / steps_per_epoch if steps_per_epoch else None,
                checksum(encoder),
                which,
            ),
            identity_in(state.get("data")),
            takes_statistics=unnamed,
            imported=imported,
        )
    except (
        DamagedFileError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        RuntimeError,
    ) as error:
        raise RunError(
            f"The checkpoint of run {record.id} does not hold the encoder that its record "
            "describes."
        ) from error


def _checkpoint(folder: RunFolder, which: str) -> dict[str, Any]:
    """The state in a checkpoint; of the last, that before it would be of another step.

    Raises:
        RunError: when there is none, or it cannot be read.
    """
    path = checkpoint_file(folder, which)
    if path != folder.checkpoint_path:
        return checkpoints.load(path)
    try:
        return checkpoints.load(path)
    except DamagedFileError as error:
        if is_gone(checkpoints.previous(path)):
            raise
        raise DamagedFileError(
            f"{error} Resume run {folder.id}: it goes on from the one before it."
        ) from error


def build_encoder_quietly(model: ModelConfig, size: int = SIZE) -> Encoder:
    """An encoder whose initialisation leaves torch's default generator as it was.

    Args:
        model: the architecture.
        size: height and width of the images, in pixels.
    """
    # Training in this process draws from that generator: an encoder that is built for a probe must
    # not change its numbers. Modules are initialised on the CPU, so no device is forked.
    with torch.random.fork_rng(devices=[]):
        return build_encoder(model, size)
