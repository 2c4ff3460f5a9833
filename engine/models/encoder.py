"""An encoder: a backbone that makes features, and a head that projects them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from engine.config import own_code
from engine.config.data.data_set import SIZE
from engine.config.models import ENCODERS
from engine.config.schema import ModelConfig
from engine.errors import ConfigError, described


class Encoder(nn.Module):
    """A backbone that makes features and a head that projects them.

    Args:
        backbone: ``(N, 3, H, W)`` to ``(N, feature_dim)``.
        head: ``(N, feature_dim)`` to ``(N, dim)``; the output is not normalised. An identity where
            there is none, as of an encoder that came without its head.
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
        """Images ``(N, 3, H, W)``, normalised float, to embeddings ``(N, dim)``.

        The head computes in the dtype of its weights (float32), also under autocast: its output is
        divided by the temperature, which multiplies a rounding error.
        """
        return self.project(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        """Images as in ``forward`` to features ``(N, feature_dim)``, in the dtype of the head."""
        features: Tensor = self.backbone(x)
        weight = next(self.projection_head.parameters(), features)
        return features.to(weight.dtype)

    def project(self, features: Tensor) -> Tensor:
        """What ``features`` gave to embeddings ``(N, dim)``."""
        with torch.autocast(features.device.type, enabled=False):
            embeddings: Tensor = self.projection_head(features)
        return embeddings

    @property
    def has_head(self) -> bool:
        """Whether there is a projection head."""
        return not isinstance(self.projection_head, nn.Identity)

    def without_head(self) -> Encoder:
        """An encoder of the same backbone whose output are its features."""
        return Encoder(self.backbone, nn.Identity(), self.feature_dim, self.feature_dim)


def build_encoder(config: ModelConfig, size: int = SIZE) -> Encoder:
    """The encoder that ``config`` describes, initialised from torch's default generator.

    It takes normalised float images ``(N, 3, size, size)``, contiguous or channels_last.

    Args:
        config: the architecture.
        size: height and width of the images, in pixels.

    Raises:
        ConfigError: when ``model.encoder`` is something of the user's own that is no backbone.
    """
    backbone = ENCODERS.load(config.encoder)
    if own_code.is_path(config.encoder):
        backbone, width = _own_backbone(backbone, config, size)
    else:
        backbone = backbone(config, size)
        width = backbone.feature_dim
    head: nn.Module = nn.Linear(width, config.dim)
    if config.mlp_head:  # arXiv:2003.04297, section 3
        head = nn.Sequential(nn.Linear(width, width), nn.ReLU(inplace=True), head)
    return Encoder(backbone, head, width, config.dim)


def _own_backbone(make: Any, config: ModelConfig, size: int) -> tuple[nn.Module, int]:
    """A backbone of the user's own and the width of its features, tried on two black images.

    The trial leaves the default generator and the buffers as they were, so that a run has the same
    numbers as with a backbone that is not tried.

    Raises:
        ConfigError: when it cannot be made, or is not a backbone.
    """
    expected = (
        "it must be a function or class that takes the model's settings and gives an nn.Module "
        f"from images (N, 3, {size}, {size}) to features (N, width)"
    )

    def refuse(what: str) -> ConfigError:
        sentence = f"model.encoder is {config.encoder}, {what}; {expected}."
        return ConfigError(sentence, "model.encoder")

    try:
        backbone = make(config)
    except Exception as error:  # the user's code may raise anything
        raise refuse(f"which failed ({described(error)})") from error
    if not isinstance(backbone, nn.Module):
        raise refuse(f"which gave a {type(backbone).__name__}")
    if not any(True for _ in backbone.parameters()):
        raise refuse("which has no parameters to train")
    training = backbone.training
    try:
        # devices=[]: only the CPU's generator; the default would also ask for those of CUDA.
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            features = backbone.eval()(torch.zeros(2, 3, size, size))
    except Exception as error:
        raise refuse(f"which cannot take such images ({described(error)})") from error
    finally:
        backbone.train(training)
    if not isinstance(features, Tensor) or features.dim() != 2 or len(features) != 2:
        shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise refuse(f"which makes {shape} of two images")
    return backbone, features.shape[1]
