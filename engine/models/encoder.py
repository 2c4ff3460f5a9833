"""The encoders: the notebook's ConvNet and ResNet-18 with the CIFAR stem, each with its head."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from msgspec import Struct
from torch import Tensor, nn

from engine.config.schema import ModelConfig
from engine.models.dropout import Dropout
from engine.models.split_batchnorm import SplitBatchNorm2d, set_views

__all__ = [
    "ConvNet",
    "Encoder",
    "LayerRow",
    "ResNet18",
    "SplitBatchNorm2d",
    "build_encoder",
    "format_summary",
    "set_views",
    "summary",
]


class Encoder(nn.Module):
    """A backbone that makes features and a head that projects them.

    Args:
        backbone: ``(N, 3, 32, 32)`` to ``(N, feature_dim)``.
        head: ``(N, feature_dim)`` to ``(N, dim)``; the output is not normalised.
        feature_dim: width of the features, which the probes work on.
        dim: width of the embedding, which the contrastive loss works on.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module, feature_dim: int, dim: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.projection_head = head
        self.feature_dim = feature_dim
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(N, 3, 32, 32)``, normalised float, to embeddings ``(N, dim)``.

        The head computes in the dtype of its weights (float32), also under autocast.
        """
        features = self.backbone(x)
        with torch.autocast(x.device.type, enabled=False):
            weight = next(self.projection_head.parameters())
            embeddings: Tensor = self.projection_head(features.to(weight.dtype))
        return embeddings


class MaxPool2d(nn.MaxPool2d):
    """Pooling over squares of 2x2 pixels; bit by bit what torch's own gives.

    torch also writes down where each maximum was, as int64, for a gradient. Where there will be
    none, a CPU takes two maxima instead: 2 to 3 times as fast in channels_last, 10 times in the
    default format (measured).
    """

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to ``(N, C, H // 2, W // 2)``."""
        if x.device.type != "cpu" or (x.requires_grad and torch.is_grad_enabled()):
            return F.max_pool2d(x, 2)
        height, width = x.shape[2] // 2 * 2, x.shape[3] // 2 * 2
        rows = torch.maximum(x[:, :, 0:height:2], x[:, :, 1:height:2])
        return torch.maximum(rows[..., 0:width:2], rows[..., 1:width:2])


class ConvNet(nn.Sequential):
    """The notebook's backbone: 32x32 images to 512 features in three blocks.

    A block is convolution 3x3 (no padding, no bias), BatchNorm, dropout, 2x2 max pooling, ReLU.
    The notebook had ReLU before dropout. ReLU is monotonic and leaves 0 at 0, so it may come last
    with the same output and gradient, on a quarter of the values.

    Args:
        dropout: probability that a unit is dropped.
        bn_splits: groups of a batch that BatchNorm normalises apart.
    """

    feature_dim = 512  # 128 channels of 2x2

    def __init__(self, dropout: float, bn_splits: int) -> None:
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 32), (32, 64), (64, 128)):
            layers += [
                nn.Conv2d(inputs, outputs, 3, bias=False),
                SplitBatchNorm2d(outputs, bn_splits),
                Dropout(dropout),
                MaxPool2d(),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers, nn.Flatten())


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al., arXiv:1512.03385, figure 2).

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        stride: of the first convolution and of the shortcut.
        norm: makes the normalisation for a number of channels.
    """

    def __init__(
        self, inputs: int, outputs: int, stride: int, norm: Callable[[int], nn.Module]
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = norm(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """``(N, inputs, H, W)`` to ``(N, outputs, H / stride, W / stride)``."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        out: Tensor = self.relu(y + self.shortcut(x))
        return out


class ResNet18(nn.Sequential):
    """ResNet-18 for small images: a 3x3 stem of stride 1 and no max pooling.

    Args:
        bn_splits: groups of a batch that BatchNorm normalises apart.
    """

    feature_dim = 512

    def __init__(self, bn_splits: int) -> None:
        def norm(channels: int) -> nn.Module:
            return SplitBatchNorm2d(channels, bn_splits)

        layers: list[nn.Module] = [
            nn.Conv2d(3, 64, 3, 1, 1, bias=False),
            norm(64),
            nn.ReLU(inplace=True),
        ]
        inputs = 64
        for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
            layers += [
                BasicBlock(inputs, outputs, stride, norm),
                BasicBlock(outputs, outputs, 1, norm),
            ]
            inputs = outputs
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def build_encoder(config: ModelConfig) -> Encoder:
    """The encoder that ``config`` describes, initialised from torch's default generator.

    It takes normalised float images ``(N, 3, 32, 32)``, contiguous or channels_last.
    """
    backbone: ConvNet | ResNet18
    if config.encoder == "convnet":
        backbone = ConvNet(config.dropout, config.bn_splits)
    else:
        backbone = ResNet18(config.bn_splits)
    width = backbone.feature_dim
    head: nn.Module = nn.Linear(width, config.dim)
    if config.mlp_head:  # arXiv:2003.04297, section 3
        head = nn.Sequential(nn.Linear(width, width), nn.ReLU(inplace=True), head)
    return Encoder(backbone, head, width, config.dim)


class LayerRow(Struct, frozen=True):
    """A line of a summary.

    Attributes:
        name: dotted name of the layer in the encoder; ``total`` in the last row.
        kind: its class.
        shape: shape of its output, without the batch.
        parameters: learned values that are its own.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int


@torch.no_grad()
def summary(encoder: nn.Module, input_shape: Sequence[int] = (3, 32, 32)) -> list[LayerRow]:
    """The layers in the order in which an image passes them, and a last row with the total.

    Works on a copy in eval mode, so parameters, buffers and generators stay as they are.

    Args:
        encoder: any module that takes a batch of images; its layers without children are listed.
        input_shape: shape of one input.
    """
    encoder = copy.deepcopy(encoder).eval()
    rows: list[LayerRow] = []

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def record(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            count = sum(p.numel() for p in module.parameters())
            rows.append(LayerRow(name, type(module).__name__, tuple(output.shape[1:]), count))

        return record

    for name, module in encoder.named_modules():
        if not any(True for _ in module.children()) and not isinstance(module, nn.Identity):
            module.register_forward_hook(hook(name))
    first = next(encoder.parameters())
    output = encoder(torch.zeros(1, *input_shape, dtype=first.dtype, device=first.device))
    total = sum(p.numel() for p in encoder.parameters())
    rows.append(LayerRow("total", type(encoder).__name__, tuple(output.shape[1:]), total))
    return rows


def format_summary(rows: Sequence[LayerRow]) -> str:
    """The rows as a plain text table, without a line end after the last line."""
    cells = [("layer", "kind", "output", "parameters")]
    for row in rows:
        shape = "x".join(map(str, row.shape))
        cells.append((row.name, row.kind, shape, f"{row.parameters:,}"))
    widths = [max(len(line[i]) for line in cells) for i in range(4)]
    lines = [
        f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {shape:>{widths[2]}}  {count:>{widths[3]}}"
        for name, kind, shape, count in cells
    ]
    rule = "-" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])
