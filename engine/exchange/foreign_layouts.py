"""Which of the weights in a file are those of an encoder, under the names that others give them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from engine.config.data.data_set import LARGEST_SIZE, SIZE
from engine.config.models.convnet import CHANNELS, last_side
from engine.config.schema import ModelConfig
from engine.errors import RunError
from engine.exchange.encoder_facts import FORMAT
from engine.exchange.foreign_file import ForeignFile
from engine.jobs.trained_encoder import build_encoder_quietly
from engine.text import clean_text

_NAMED = 3  # keys that a sentence names
_STEMS: Mapping[tuple[int, ...], Literal["cifar", "imagenet"]] = {
    (64, 3, 3, 3): "cifar",
    (64, 3, 7, 7): "imagenet",
}
_CLASSIFIER = re.compile(r"(fc|head|classifier|linear)\.")
# torch.nn.Sequential(*list(resnet.children())[:-1]): relu, maxpool and avgpool have no weights
_CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
_BATCHES = "num_batches_tracked"


@dataclass(frozen=True)
class Layout:
    """A way of others to name the weights of a backbone.

    Attributes:
        name: for people.
        prefix: of every weight of the backbone; what has another is no part of it.
    """

    name: str
    prefix: str


LAYOUTS = (
    Layout("facebookresearch/moco", "module.encoder_q."),
    Layout("facebookresearch/moco", "encoder_q."),
    Layout("solo-learn", "backbone."),
    Layout("torchvision in DataParallel", "module."),
    Layout("torchvision or timm", ""),
)
"""In the order in which they are looked for; that of lightly is ``backbone.`` with numbers."""


@dataclass(frozen=True)
class FoundEncoder:
    """An encoder in a file.

    Attributes:
        model: the net; ``bn_splits`` is 1, since that leaves no trace in weights.
        weights: of an ``Encoder``, float32: ``backbone.`` and, of our own files,
            ``projection_head.``; batch statistics are among them.
        layout: what named them, for people.
        left_out: keys of the file that are no part of it: heads, other nets, queues.
        image_size: height and width of the images that it was made for; 0: the file does not say.
    """

    model: ModelConfig
    weights: dict[str, Tensor]
    layout: str
    left_out: tuple[str, ...]
    image_size: int = 0

    @property
    def has_head(self) -> bool:
        """Whether the projection head came along."""
        return any(name.startswith("projection_head.") for name in self.weights)


def find_encoder(file: ForeignFile, encoder: str, name: str) -> FoundEncoder:
    """The weights of an encoder in a file.

    Args:
        file: what was read.
        encoder: name of the net that they are to be: ``resnet18``, ``convnet`` ...
        name: of the file, for messages.

    Raises:
        RunError: one sentence with the keys that fit nowhere, those that are missing, or the first
            tensor of the wrong shape or with values that are no finite numbers.
    """
    if file.metadata.get("format") == FORMAT:
        return _own(file, encoder, name)
    layout = next(
        known for known in LAYOUTS if any(k.startswith(known.prefix) for k in file.tensors)
    )
    inside = {
        key.removeprefix(layout.prefix): value
        for key, value in file.tensors.items()
        if key.startswith(layout.prefix)
    }
    outside = [key for key in file.tensors if not key.startswith(layout.prefix)]
    title = layout.name
    if encoder.startswith("resnet") and any(re.match(r"\d+\.", key) for key in inside):
        inside, title = {_renamed(key): value for key, value in inside.items()}, "lightly"
    heads = [key for key in inside if _CLASSIFIER.match(key)]
    body = {key: value for key, value in inside.items() if key not in set(heads)}
    stem = _stem(body, encoder, name)
    model = ModelConfig(encoder=encoder, stem=stem, bn_splits=1)
    width, expected = _expected(model)
    if encoder != "convnet" and width >= 2:
        model = ModelConfig(encoder=encoder, stem=stem, bn_splits=1, dim=width)
    weights = _fitted(body, expected, f"{name} (layout of {title})", encoder)
    left_out = [*outside, *(layout.prefix + key for key in heads)]
    return FoundEncoder(
        model, {f"backbone.{key}": value for key, value in weights.items()}, title, tuple(left_out)
    )


def _own(file: ForeignFile, encoder: str, name: str) -> FoundEncoder:
    """The encoder in a safetensors file that this program wrote, with its head."""
    tensors = dict(file.tensors)
    head = {key: value for key, value in tensors.items() if key.startswith("projection_head.")}
    mlp = "projection_head.0.weight" in head
    last = head.get("projection_head.2.weight" if mlp else "projection_head.weight")
    body = {k.removeprefix("backbone."): v for k, v in tensors.items() if k not in head}
    stem = _stem(body, encoder, name)
    size = _image_size(file)
    side = _feature_side(file, size) if encoder == "convnet" else 0
    dim = int(last.shape[0]) if last is not None and last.dim() == 2 else 0
    if not 2 <= dim <= 8192:
        dim = _expected(ModelConfig(encoder=encoder, stem=stem, feature_side=side), size)[0]
    model = ModelConfig(
        encoder=encoder, stem=stem, bn_splits=1, dim=dim, mlp_head=mlp, feature_side=side
    )
    expected = build_encoder_quietly(model, size).state_dict()
    if not head:
        expected = {k: v for k, v in expected.items() if k.startswith("backbone.")}
    return FoundEncoder(model, _fitted(tensors, expected, name, encoder), "moco-tui", (), size)


def _image_size(file: ForeignFile) -> int:
    """Height and width of the images that the encoder in a file of this program was made for."""
    size = _count(file, "image_size")
    return size if SIZE <= size <= LARGEST_SIZE else SIZE


def _feature_side(file: ForeignFile, size: int) -> int:
    """To how many places a side the convnet in such a file averages its last block; 0: it does not.

    The weights are those of any number; how many features they make is written beside them.
    """
    side = math.isqrt(_count(file, "feature_dim") // CHANNELS[-1])
    return side if side < last_side(size) else 0


def _count(file: ForeignFile, name: str) -> int:
    """A whole number that this program wrote beside the weights; 0 for anything else."""
    text = file.metadata.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 7 else 0


def _expected(model: ModelConfig, size: int = SIZE) -> tuple[int, dict[str, Tensor]]:
    """The width of the features of a net, and its state."""
    made = build_encoder_quietly(model, size)
    return made.feature_dim, made.backbone.state_dict()


def _renamed(key: str) -> str:
    """A key of a Sequential of a ResNet's children under torchvision's name."""
    number, _, rest = key.partition(".")
    return f"{_CHILDREN.get(number, number)}.{rest}"


def _stem(body: Mapping[str, Tensor], encoder: str, name: str) -> Literal["cifar", "imagenet"]:
    """The stem whose weight has the shape of that in the file.

    Raises:
        RunError: when it is of neither.
    """
    weight = body.get("conv1.weight")
    if not encoder.startswith("resnet") or weight is None:
        return "cifar"
    stem = _STEMS.get(tuple(weight.shape))
    if stem is None:
        raise RunError(
            f"{name} has a first convolution of {_size(weight)}; that of a ResNet must be "
            "64 x 3 x 3 x 3 (CIFAR) or 64 x 3 x 7 x 7 (ImageNet)."
        )
    return stem


def _fitted(
    found: Mapping[str, Tensor], expected: Mapping[str, Tensor], where: str, encoder: str
) -> dict[str, Tensor]:
    """The weights as the net has them.

    Raises:
        RunError: when they are not its weights.
    """
    unknown = [key for key in found if key not in expected]
    # Counts of batches: nothing reads them, and torch before 0.4.1 had none.
    missing = [key for key in expected if key not in found and not key.endswith(_BATCHES)]
    if unknown or missing:
        parts = []
        if unknown:
            parts.append(f"has {_keys(unknown)} that fit{'s' * (len(unknown) == 1)} nowhere")
        if missing:
            parts.append(f"lacks {_keys(missing)}")
        raise RunError(f"{where} does not hold a {encoder}: it {' and '.join(parts)}.")
    weights = {}
    for key, own in expected.items():
        weights[key] = _tensor(found[key], own, key, where) if key in found else own
    return weights


def _tensor(value: Tensor, own: Tensor, key: str, where: str) -> Tensor:
    """A weight in the type of ours.

    Raises:
        RunError: when it is of another shape or no finite number.
    """
    shown = clean_text(key, 80)
    if value.layout != torch.strided or value.is_meta or value.is_complex() or value.is_quantized:
        raise RunError(f"{where} has a tensor {shown} that is no plain tensor of numbers.")
    if value.shape != own.shape and value.numel() + own.numel() != 2:
        raise RunError(f"{where} has a tensor {shown} of {_size(value)}; it must be {_size(own)}.")
    made = value.detach().reshape(own.shape).to(own.dtype, copy=True).contiguous()
    if made.is_floating_point() and not bool(made.isfinite().all()):
        raise RunError(f"{where} has a tensor {shown} with values that are no finite numbers.")
    if key.endswith("running_var") and bool((made < 0).any()):
        raise RunError(f"{where} has a tensor {shown} with a variance below 0.")
    return made


def _keys(names: Sequence[str]) -> str:
    """How many keys, and the first of them: ``4 keys (fc.0.weight, ...)``."""
    shown = ", ".join(clean_text(name, 80) for name in names[:_NAMED])
    more = ", ..." if len(names) > _NAMED else ""
    return f"{len(names):,} key{'s' * (len(names) > 1)} ({shown}{more})"


def _size(values: Tensor) -> str:
    return clean_text(" x ".join(str(size) for size in values.shape) or "a single number", 80)
