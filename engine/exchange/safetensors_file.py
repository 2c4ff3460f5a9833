"""An encoder as a safetensors file: https://huggingface.co/docs/safetensors."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from engine.exchange.torchvision_state import plain
from engine.jobs.trained_encoder import TrainedEncoder


def safetensors_file(trained: TrainedEncoder, facts: Mapping[str, str]) -> bytes:
    """Parameters and buffers of the query encoder, as ``backbone.*`` and ``projection_head.*``.

    Args:
        trained: the encoder.
        facts: the metadata.
    """
    library = importlib.import_module("safetensors.torch")  # an extra
    tensors = {name: plain(value) for name, value in trained.encoder.state_dict().items()}
    made: bytes = library.save(tensors, metadata=dict(facts))
    return made
