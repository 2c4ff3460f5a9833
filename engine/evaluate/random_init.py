"""An encoder with random weights, the baseline of a probe, and BatchNorm statistics for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from engine.augment.augmenter import normalise, to_float
from engine.config.schema import ModelConfig
from engine.evaluate.modes import evaluating
from engine.evaluate.native_pass import NativePass
from engine.models.encoder import Encoder, build_encoder
from engine.native.library import OFF
from engine.runtime.parted_net import PartedNet
from engine.runtime.worker_threads import single_threaded
from engine.seeds import default_generator
from engine.sink import NullSink, Sink, check_interrupt

_STATISTICS_IMAGES = 8192  # of the training images, that BatchNorm statistics are set on
_STATISTICS_BATCH = 512  # about; the images are divided into equal batches


def random_encoder(
    model: ModelConfig,
    images: Tensor,
    *,
    mean: Tensor,
    std: Tensor,
    device: torch.device,
    seed: int,
    sink: Sink | None = None,
    kernels: str = OFF,
) -> Encoder:
    """An encoder with random weights and the BatchNorm statistics of the training images.

    With the initial statistics its features would be worse, and the pretrained ones look better
    beside them than they are.

    Args:
        model: the architecture; its BatchNorm is not split here (in eval mode that is the same).
        images: uint8 (N, 3, H, W), of the training set; 8,192 of them, evenly spaced, are used.
        mean: float32 (3,), of the channels in [0, 1].
        std: float32 (3,).
        device: where the encoder is to be.
        seed: of the weights; torch's default generator is left as it was.
        sink: receives the progress, and is asked once a batch whether to stop.
        kernels: see ``calibrate_bn``.

    Raises:
        Interrupted: when the sink asked to stop.
    """
    # Drawn on the CPU and then moved: a seed gives the same weights on every device.
    with default_generator(seed, torch.device("cpu")):
        encoder = build_encoder(msgspec.structs.replace(model, bn_splits=1), images.shape[-1])
    encoder = encoder.to(device).eval()
    calibrate_bn(encoder, images, mean=mean, std=std, sink=sink, kernels=kernels)
    return encoder


def calibrate_bn(
    encoder: Encoder,
    images: Tensor,
    *,
    mean: Tensor,
    std: Tensor,
    sink: Sink | None = None,
    kernels: str = OFF,
) -> None:
    """Sets the BatchNorm statistics of an encoder on training images.

    Args:
        encoder: on any device; its backbone's running statistics are replaced.
        images: uint8 (N, 3, H, W); 8,192 of them, evenly spaced, are used.
        mean: float32 (3,), of the channels in [0, 1].
        std: float32 (3,).
        sink: receives the progress, and is asked once a batch whether to stop.
        kernels: level of the kernels in C that a CPU uses where they know the backbone and its
            BatchNorm is not split (``engine.native``), or ``off``.

    Raises:
        Interrupted: when the sink asked to stop.
    """
    sink = NullSink() if sink is None else sink
    device = next(encoder.parameters()).device
    count = min(len(images), _STATISTICS_IMAGES)
    # Evenly spaced, not drawn: no generator is touched, and the same images serve every encoder.
    rows = torch.arange(count, device=images.device) * len(images) // count
    batches = max(1, count // _STATISTICS_BATCH)
    splits = max((getattr(m, "num_splits", 1) for m in encoder.backbone.modules()), default=1)

    def batch(i: int) -> Tensor:
        check_interrupt(sink)
        sink.progress("BatchNorm statistics", i + 1, batches)
        # Every batch is spread over the whole set, whose images may be sorted by class.
        chosen = rows[i::batches]
        chosen = chosen[: len(chosen) // splits * splits]  # BatchNorm's groups must be equal
        part = images[chosen].to(device, memory_format=torch.channels_last)
        return normalise(to_float(part), mean.to(device), std.to(device))

    backbone = encoder.backbone
    if splits > 1 or not NativePass.can_take(backbone, kernels, device):
        set_statistics(backbone, batch, batches)
        return
    parted = PartedNet(backbone, kernels=kernels, batch_size=count // batches)
    with parted, single_threaded():
        set_statistics(backbone, batch, batches, forward=parted.forward)


@torch.no_grad()
def set_statistics(
    backbone: nn.Module,
    batch: Callable[[int], Tensor],
    batches: int,
    *,
    forward: Callable[[Tensor], object] | None = None,
) -> None:
    """Sets the running statistics of every BatchNorm to their mean over some batches.

    Only BatchNorm is in train mode meanwhile: dropout does not disturb the statistics.

    Args:
        backbone: any module with BatchNorm layers.
        batch: makes the i-th batch, images that the backbone takes; all of about the same size.
        batches: how many.
        forward: passes a batch through the layers of the backbone; None: the backbone does.
    """
    forward = backbone if forward is None else forward
    layers: list[Any] = [
        m for m in backbone.modules() if isinstance(getattr(m, "running_mean", None), Tensor)
    ]
    momenta = [layer.momentum for layer in layers]
    with evaluating(backbone):
        for layer in layers:
            layer.train()
        for i in range(batches):
            for layer in layers:
                # Makes the running statistics the plain mean over the batches so far; the usual
                # momentum would weight the last ones most.
                layer.momentum = 1.0 / (i + 1)
            forward(batch(i))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
