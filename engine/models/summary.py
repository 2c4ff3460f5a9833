"""The layers of a network as a table: names, shapes of the outputs, numbers of parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from msgspec import Struct
from torch import Tensor, nn


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
        # An Identity stands for a layer taken out (max pooling and the classifier of a ResNet).
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
