"""A ResNet's weights under torchvision's names."""

from __future__ import annotations

import io
from collections import OrderedDict

import torch
from torch import Tensor
from torchvision.models.resnet import ResNet

from engine.errors import RunError
from engine.jobs.trained_encoder import TrainedEncoder


def torchvision_state(trained: TrainedEncoder) -> bytes:
    """A file of ``torch.save`` that torchvision's net of the same name loads with ``strict=True``.

    The net must have the run's stem and an identity in place of its ``fc``.

    Raises:
        RunError: when torchvision has no such net.
    """
    backbone, name = trained.encoder.backbone, trained.config.model.encoder
    if type(backbone) is not ResNet:
        raise RunError(
            f"torchvision has no net like the encoder {name}; --format safetensors writes its "
            "weights and --format onnx its graph."
        )
    state = OrderedDict((key, plain(value)) for key, value in backbone.state_dict().items())
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def plain(values: Tensor) -> Tensor:
    """A copy on the CPU in the usual order: files keep the strides, and whole storages."""
    return values.detach().to("cpu").clone(memory_format=torch.contiguous_format)
