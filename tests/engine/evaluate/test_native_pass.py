"""Features by the kernels in C against float64, the ordinary way, and other numbers of threads."""

from __future__ import annotations

import copy
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from engine.augment.augmenter import Augmenter, normalise
from engine.config.schema import ModelConfig
from engine.evaluate.features import extract, frozen
from engine.evaluate.native_pass import ROWS, NativePass
from engine.evaluate.random_init import calibrate_bn, random_encoder
from engine.models.encoder import Encoder, build_encoder
from engine.models.fused_layers import fuse
from engine.models.split_batchnorm import SplitBatchNorm2d
from engine.native.library import LEVELS, OFF, library
from engine.probe.augmented_views import augmented_features, light_augment
from engine.sink import Interrupted, NullSink, Request

LIBRARY = library()
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="the kernels were not built")
AVAILABLE = LEVELS[: LIBRARY.moco_levels()] if LIBRARY is not None else ()
CPU = torch.device("cpu")
MEAN, STD = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.25, 0.3])
OPTIONS: dict[str, Any] = {"mean": MEAN, "std": STD, "device": CPU}

every_level = pytest.mark.parametrize("level", AVAILABLE)
both_nets = pytest.mark.parametrize("kind", ["convnet", "resnet18"])


def encoder_of(kind: str, size: int = 32, stem: Literal["cifar", "imagenet"] = "cifar") -> Encoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = build_encoder(
            ModelConfig(encoder=kind, dim=16, bn_splits=2, dropout=0.5, stem=stem), size
        )
        for module in encoder.modules():  # statistics that differ from the identity
            if isinstance(module, SplitBatchNorm2d):
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 2.0)
                module.weight.data.uniform_(0.5, 1.5)
                module.bias.data.normal_(std=0.1)
    return encoder


def some_images(n: int, seed: int = 0, size: int = 32) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randint(256, (n, 3, size, size), generator=g, dtype=torch.uint8)


def distance(ours: Tensor, exact: Tensor) -> float:
    """Of the image that is farthest off: length of the difference over that of its features."""
    lengths = (ours.double() - exact.double()).norm(dim=1) / exact.double().norm(dim=1)
    return float(lengths.max())


@every_level
@pytest.mark.parametrize(
    ("kind", "size", "stem"),
    [("convnet", 33, "cifar"), ("convnet", 96, "cifar"), ("resnet18", 96, "imagenet")],
)
def test_images_of_any_size_pass(
    kind: str, size: int, stem: Literal["cifar", "imagenet"], level: str
) -> None:
    encoder, images = encoder_of(kind, size, stem), some_images(3, size=size)
    got = extract(encoder, images, what="output", kernels=level, **OPTIONS)
    exact = copy.deepcopy(encoder).double().eval()
    with torch.no_grad():
        expected = exact(normalise(images.double() / 255, MEAN.double(), STD.double()))
    assert distance(got, expected) < 1e-5


@both_nets
@every_level
@pytest.mark.parametrize("what", ["backbone", "output"])
def test_features_are_those_of_float64_and_of_the_ordinary_way(
    kind: str, level: str, what: Any
) -> None:
    encoder, images = encoder_of(kind), some_images(7)
    with frozen(encoder):
        got = extract(encoder, images, what=what, kernels=level, **OPTIONS)
    exact = copy.deepcopy(encoder).double().eval()
    inputs = normalise(images.double() / 255, MEAN.double(), STD.double())
    with torch.no_grad():
        expected = exact.backbone(inputs)
        expected = expected if what == "backbone" else exact.projection_head(expected)
    assert got.dtype == torch.float32
    assert distance(got, expected) < 1e-5
    assert distance(got, extract(encoder, images, what=what, **OPTIONS)) < 1e-5


@both_nets
def test_any_number_of_threads_gives_the_same_bits(kind: str) -> None:
    encoder = encoder_of(kind)
    images = some_images(ROWS + 5)  # two passes, one of them small
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(extract(encoder, images, kernels=AVAILABLE[-1], **OPTIONS))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_float_images_and_such_that_do_not_lie_in_a_row_are_taken() -> None:
    encoder, images = encoder_of("convnet"), some_images(20)
    expected = extract(encoder, images, **OPTIONS)
    options: dict[str, Any] = {"kernels": AVAILABLE[-1], **OPTIONS}
    for other in (images.float() / 255, images.contiguous(memory_format=torch.channels_last)):
        assert distance(extract(encoder, other, **options), expected) < 1e-5
    every_other = extract(encoder, images[::2], **options)
    assert distance(every_other, expected[::2]) < 1e-5
    assert len(extract(encoder, images[:0], **options)) == 0


def test_modes_come_back_also_after_a_stop_which_is_asked_for_on_the_way() -> None:
    class Stopping(NullSink):
        def __init__(self) -> None:
            self.seen: list[tuple[str, int, int]] = []

        def progress(self, stage: str, done: int, total: int) -> None:
            self.seen.append((stage, done, total))

        def request(self) -> Request | None:
            return "stop" if self.seen else None

    encoder = encoder_of("convnet").train()
    encoder.backbone.get_submodule("1").eval()
    before = [module.training for module in encoder.modules()]
    sink = Stopping()
    # More than a machine of many cores takes at once.
    images = some_images(1).expand(4 * ROWS * torch.get_num_threads() + 1, 3, 32, 32)
    with pytest.raises(Interrupted):
        extract(encoder, images, sink=sink, kernels=AVAILABLE[-1], **OPTIONS)
    assert sink.seen == [("features", len(images) - 1, len(images))]
    assert before == [module.training for module in encoder.modules()]


def test_a_backbone_without_kernels_goes_the_ordinary_way_bit_by_bit() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.conv(x)).mean((2, 3))

    encoder = Encoder(Own(), nn.Linear(4, 2), 4, 2)
    assert not NativePass.can_take(encoder.backbone, AVAILABLE[-1], CPU)
    images = some_images(5)
    native = extract(encoder, images, kernels=AVAILABLE[-1], **OPTIONS)
    assert torch.equal(native, extract(encoder, images, **OPTIONS))


def test_a_gradient_that_would_be_missing_is_refused() -> None:
    net = fuse(encoder_of("convnet").backbone.eval(), AVAILABLE[-1])
    with pytest.raises(RuntimeError, match="no gradient"):
        net(torch.zeros(2, 3, 32, 32))


@every_level
def test_views_are_those_of_the_ordinary_way(level: str) -> None:
    encoder = encoder_of("convnet").eval()
    coarse = torch.rand(150, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    smooth = nn.functional.interpolate(coarse, (32, 32), mode="bicubic").clamp(0, 1)
    images = (smooth * 255).round().to(torch.uint8)
    rows = torch.arange(0, 150, 2)
    options: dict[str, Any] = {"views": 2, "seed": 3, "augment": light_augment()}

    def ordinary(views: Tensor) -> Tensor:
        with torch.no_grad():
            return encoder.backbone(normalise(views, MEAN, STD))  # type: ignore[no-any-return]

    def refused(_views: Tensor) -> Tensor:
        raise AssertionError("the kernels should have made these")

    expected = augmented_features(ordinary, images, rows, **options)
    with NativePass(encoder.backbone, mean=MEAN, std=STD, kernels=level) as native:

        def embed(augmenter: Augmenter, some: Tensor, indices: Tensor, params: Any) -> Tensor:
            return native.views(augmenter, some, indices, params, encoder.feature_dim)

        got = augmented_features(refused, images, rows, embed_views=embed, **options)
    assert got.shape == (2, 75, 512)
    # Places are rounded in another order: a crop's bilinear weights are off by about 1e-6.
    assert distance(got.flatten(0, 1), expected.flatten(0, 1)) < 1e-4


@both_nets
@every_level
def test_statistics_of_a_random_encoder_are_those_of_the_ordinary_way(
    kind: str, level: str
) -> None:
    images = some_images(32)
    model = ModelConfig(encoder=kind, dim=8, bn_splits=2, dropout=0.5)
    ours = random_encoder(model, images, seed=1, kernels=level, **OPTIONS)
    theirs = random_encoder(model, images, seed=1, kernels=OFF, **OPTIONS)
    assert not any(module.training for module in ours.modules())
    for (name, a), (_, b) in zip(
        ours.state_dict().items(), theirs.state_dict().items(), strict=True
    ):
        if "running" in name:
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
        else:
            assert torch.equal(a, b)


def test_split_batchnorm_keeps_its_groups_while_statistics_are_set() -> None:
    ours, theirs = encoder_of("convnet"), encoder_of("convnet")
    images = some_images(16)
    calibrate_bn(ours, images, mean=MEAN, std=STD, kernels=AVAILABLE[-1])
    calibrate_bn(theirs, images, mean=MEAN, std=STD)
    for a, b in zip(ours.buffers(), theirs.buffers(), strict=True):
        assert torch.equal(a, b)
