"""The encoder that a pretraining has trained, as probes use it."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import torch
from torch import Tensor

from engine.config.missing_settings import completed
from engine.config.schema import ModelConfig, PretrainConfig
from engine.errors import RunError
from engine.jobs.recorded_config import runnable_config
from engine.models.encoder import Encoder, build_encoder
from engine.pretrain import checkpoint as checkpoints
from engine.runs import RunFolder
from engine.runs.data_identity import DataIdentity, identity_in
from engine.runs.encoder_step import EncoderStep

_PREFIX = "encoder_q."  # the query encoder's parameters in the state of MoCo


@dataclass(frozen=True)
class TrainedEncoder:
    """A pretrained query encoder, and the normalisation of the images that it was trained on.

    Attributes:
        encoder: in eval mode, on the CPU.
        config: the configuration of its pretraining.
        mean, std: float32 ``(3,)``, of the channels in [0, 1].
        at: the step of its pretraining, and the steps of the whole schedule.
        data: what it was trained on last; None for a checkpoint of an earlier version.
    """

    encoder: Encoder
    config: PretrainConfig
    mean: Tensor
    std: Tensor
    at: EncoderStep
    data: DataIdentity | None = None


def load_encoder(folder: RunFolder) -> TrainedEncoder:
    """The query encoder of a pretraining, from its last checkpoint.

    Raises:
        ConfigError: when another user's record names code that this user has not named.
        RunError: when the run is no pretraining, has no checkpoint, or it cannot be read.
    """
    record, config = folder.record(), runnable_config(folder)
    if not isinstance(config, PretrainConfig):
        raise RunError(f"Run {record.id} is a {record.kind}; a probe needs a pretraining.")
    state = checkpoints.load(folder.checkpoint_path)
    try:
        model = completed("pretrain", {"model": state["model_config"]})["model"]
        encoder = build_encoder_quietly(msgspec.convert(model, ModelConfig))
        encoder.load_state_dict(
            {k.removeprefix(_PREFIX): v for k, v in state["model"].items() if k.startswith(_PREFIX)}
        )
        schedule = int(state["steps_per_epoch"]) * config.optim.epochs
        return TrainedEncoder(
            encoder.eval(),
            config,
            state["mean"],
            state["std"],
            EncoderStep(int(state["step"]), schedule),
            identity_in(state.get("data")),
        )
    except (KeyError, TypeError, RuntimeError, msgspec.ValidationError) as error:
        raise RunError(
            f"The checkpoint of run {record.id} does not hold the encoder that its record "
            "describes."
        ) from error


def build_encoder_quietly(model: ModelConfig) -> Encoder:
    """An encoder whose initialisation leaves torch's default generator as it was."""
    # Training in this process draws from that generator: an encoder that is built for a probe must
    # not change its numbers. Modules are initialised on the CPU, so no device is forked.
    with torch.random.fork_rng(devices=[]):
        return build_encoder(model)
