"""An encoder as an ONNX graph, in eval mode, for any number of images."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import RunError, described
from engine.jobs.trained_encoder import TrainedEncoder
from engine.models.convnet import MaxPool2d
from engine.models.encoder import Encoder
from engine.text import clean_text

OPSET = 18
"""That which torch's exporter writes its operators in (``torch.onnx.export``, 2.6 to 2.14): another
one would be converted to. onnxruntime reads it from version 1.14 on."""


class _Outputs(nn.Module):
    """The features and, where there is a head, the embedding."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """``(N, 3, H, W)`` to ``(N, feature_dim)`` and ``(N, dim)``."""
        features = self.encoder.backbone(images)
        if not self.encoder.has_head:
            return (features,)
        return features, self.encoder.projection_head(features)


def onnx_graph(trained: TrainedEncoder, facts: Mapping[str, str]) -> bytes:
    """The graph as one file, without data beside it.

    Its input ``images`` is float32 ``(batch, 3, H, W)``, normalised; its outputs are float32
    ``features`` ``(batch, feature_dim)`` and, where there is a head, ``embedding``
    ``(batch, dim)``, not of unit length.

    Args:
        trained: the encoder.
        facts: the metadata.

    Raises:
        RunError: when the encoder, one of the user's own, cannot be written as a graph.
    """
    encoder = copy.deepcopy(trained.encoder).eval()
    encoder.backbone = encoder.backbone.to(memory_format=torch.contiguous_format)
    _with_plain_pooling(encoder.backbone)
    outputs = ["features", "embedding"] if encoder.has_head else ["features"]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of versions of packages, meant for torch's authors
            program: Any = _quietly_exported(
                _Outputs(encoder).eval(), outputs, trained.config.data.size
            )
        graph: Any = program.model_proto
    except Exception as error:  # the exporter raises nearly anything
        why = clean_text(described(error).partition("\n")[0], 200)
        raise RunError(
            f"The encoder {trained.config.model.encoder} cannot be written as an ONNX graph: {why}."
        ) from error
    _forget_sources(graph)
    for name, text in facts.items():
        entry = graph.metadata_props.add()
        entry.key, entry.value = name, text
    made: bytes = graph.SerializeToString(deterministic=True)
    return made


def _quietly_exported(net: nn.Module, outputs: list[str], size: int) -> Any:
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        return torch.onnx.export(
            net,
            (torch.zeros(2, 3, size, size),),  # not 1, which would be taken for a fixed size
            dynamo=True,
            opset_version=OPSET,
            input_names=["images"],
            output_names=outputs,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False,
            verbose=False,
        )
    finally:
        log.setLevel(level)


def _with_plain_pooling(module: nn.Module) -> None:
    """Pooling of torch's own in place of ours, which a graph would hold as slices and maxima."""
    for name, child in module.named_children():
        if isinstance(child, MaxPool2d):
            setattr(module, name, nn.MaxPool2d(2))
        else:
            _with_plain_pooling(child)


def _forget_sources(graph: Any) -> None:
    """Removes what names the files and lines of the program that wrote the graph."""
    inner = graph.graph
    del graph.metadata_props[:]
    for part in (inner, *inner.node, *inner.input, *inner.output, *inner.value_info):
        del part.metadata_props[:]
    for part in inner.initializer:
        del part.metadata_props[:]
    for node in inner.node:
        node.doc_string = ""
