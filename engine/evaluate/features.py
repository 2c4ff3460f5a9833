"""Features of a frozen encoder: the pass, the standardisation, and the check that it is frozen."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from engine.augment.augmenter import normalise, to_float
from engine.data.dataset import ImageRows
from engine.evaluate.modes import evaluating
from engine.evaluate.native_pass import NativePass
from engine.models.encoder import Encoder
from engine.native.library import OFF
from engine.sink import NullSink, Sink, check_interrupt

# Images of one pass. On a CPU the first activations of 256 images still stay near the cache:
# 5,500 images/s a core with the ConvNet, against 4,200 with 1,024.
_CPU_BATCH = 256
_DEVICE_BATCH = 2048
# Features converted to float64 at a time: 1 MB, which stays in the cache, 4 times as fast.
_FLOAT64_ENTRIES = 1 << 17


@torch.no_grad()
def extract(
    encoder: Encoder,
    images: Tensor | ImageRows,
    *,
    mean: Tensor,
    std: Tensor,
    device: torch.device,
    batch_size: int = 0,
    what: Literal["output", "backbone"] = "output",
    sink: Sink | None = None,
    stage: str = "features",
    kernels: str = OFF,
) -> Tensor:
    """Features of images, un-augmented, from the encoder in eval mode.

    Afterwards every module has the mode it had, also after an error. With kernels the features are
    the same up to rounding, and to the bit with any number of threads.

    Args:
        encoder: on ``device``.
        images: uint8 (N, 3, H, W), or float32 in [0, 1]; on any device.
        mean: float32 (3,), of the channels in [0, 1], as in the pretraining.
        std: float32 (3,).
        device: where to compute.
        batch_size: images in a pass; 0: as many as suit the device. Kernels take their own.
        what: ``output``: the embedding, not normalised; ``backbone``: before the projection.
        sink: receives the progress, and is asked once a batch whether to stop.
        stage: name of the progress.
        kernels: level of the kernels in C that a CPU uses where they know the backbone
            (``engine.native``), or ``off``.

    Returns:
        float32 (N, dim) or (N, feature_dim) on ``device``.

    Raises:
        Interrupted: when the sink asked to stop.
    """
    sink = NullSink() if sink is None else sink
    batch_size = batch_size or (_CPU_BATCH if device.type == "cpu" else _DEVICE_BATCH)
    forward: nn.Module = encoder if what == "output" else encoder.backbone
    width = encoder.dim if what == "output" else encoder.feature_dim
    mean, std = mean.to(device), std.to(device)
    out = torch.empty(len(images), width, device=device)
    if NativePass.can_take(encoder.backbone, kernels, device):
        head = encoder.projection_head if what == "output" else None
        with NativePass(encoder.backbone, head, mean=mean, std=std, kernels=kernels) as native:
            native(images, out, sink=sink, stage=stage)
        return out
    with evaluating(encoder):
        for start in range(0, len(images), batch_size):
            check_interrupt(sink)
            rows = slice(start, start + batch_size)
            batch = images[rows].to(device, memory_format=torch.channels_last)
            out[rows] = forward(normalise(to_float(batch), mean, std))
            sink.progress(stage, min(start + batch_size, len(images)), len(images))
    return out


def pixels(images: Tensor | ImageRows) -> Tensor:
    """Images uint8 (N, 3, H, W), or float in [0, 1], as float32 (N, 3 * H * W) in [0, 1]."""
    return to_float(images[:]).flatten(1)


@dataclass(frozen=True)
class Standardiser:
    """Centres features and scales them to unit variance.

    Attributes:
        mean: float64 (D,).
        scale: float64 (D,), the standard deviation (of the population, not the sample); 1 where a
            feature does not vary, so that it becomes 0 in place of amplified rounding.
    """

    mean: Tensor
    scale: Tensor

    @classmethod
    def fit(cls, features: Tensor) -> Standardiser:
        """The standardiser of these features, float (n, D), n >= 1."""
        mean = torch.zeros(features.shape[1], dtype=torch.float64, device=features.device)
        squares = torch.zeros_like(mean)
        for part in _parts(features):
            mean += part.double().sum(0)
        mean /= len(features)
        # A second pass: the mean of the squares less the square of the mean cancels.
        for part in _parts(features):
            squares += (part.double() - mean).square_().sum(0)
        scale = (squares / len(features)).sqrt()
        # a constant feature varies by its rounding, about 1e-7 of its size in float32
        constant = scale <= 1e-6 * mean.abs()
        return cls(mean, torch.where(constant, 1.0, scale))

    def __call__(self, features: Tensor) -> Tensor:
        """Standardised copy of features (n, D), float32."""
        out = torch.empty(features.shape, dtype=torch.float32, device=features.device)
        for part, into in zip(_parts(features), _parts(out), strict=True):
            # Subtracted in float64: a mean that is large beside the deviation costs no digits.
            into.copy_((part.double() - self.mean) / self.scale)
        return out


def _parts(features: Tensor) -> tuple[Tensor, ...]:
    """The rows of features (n, D) in parts: views of them."""
    return torch.split(features, max(1, _FLOAT64_ENTRIES // max(1, features.shape[1])))


def checksum(module: nn.Module, rename: Callable[[str], str] = str) -> str:
    """SHA-256 over the names, shapes, types and bytes of all parameters and buffers.

    Args:
        module: any module.
        rename: what a parameter or buffer is called, from its name in the module.
    """
    digest = hashlib.sha256()
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        digest.update(f"{rename(name)} {tuple(value.shape)} {value.dtype}\n".encode())
        # reshape: tensors without dimensions (num_batches_tracked) cannot be viewed as bytes
        data = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(data.numpy().tobytes())
    return digest.hexdigest()


class NotFrozenError(RuntimeError):
    """An encoder that a probe must not change has changed: a defect of the program."""


@contextlib.contextmanager
def frozen(encoder: nn.Module) -> Iterator[None]:
    """Checks at the end of the block that no weight and no buffer has changed.

    Raises:
        NotFrozenError: when something did.
    """
    before = checksum(encoder)
    yield  # without finally: an error inside the block is worth more than this check
    if checksum(encoder) != before:
        raise NotFrozenError("The frozen encoder has changed during the probe.")
