from typing import Any

import pytest
import torch

from engine.config.schema import ModelConfig
from engine.evaluate.random_init import calibrate_bn, random_encoder, set_statistics
from engine.models.encoder import build_encoder
from engine.models.split_batchnorm import SplitBatchNorm2d
from engine.sink import Interrupted, NullSink

CPU = torch.device("cpu")
MEAN, STD = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.25, 0.3])


def some_images(n, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(256, (n, 3, 32, 32), generator=g, dtype=torch.uint8)


def options(**changes):
    return {"mean": MEAN, "std": STD, "device": CPU, "seed": 0} | changes


def test_the_weights_are_those_of_the_seed_and_nothing_else_is_drawn():
    images = some_images(20)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = random_encoder(ModelConfig(dim=8), images, **options())
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(2)
    again = random_encoder(ModelConfig(dim=8), images, **options())
    other = random_encoder(ModelConfig(dim=8), images, **options(seed=1))
    for (name, a), b, c in zip(
        first.state_dict().items(), again.state_dict().values(), other.state_dict().values(),
        strict=True,
    ):  # fmt: skip
        assert torch.equal(a, b), name
        if "0.weight" in name:
            assert not torch.equal(a, c)


def test_it_has_the_architecture_of_the_pretrained_one():
    encoder = random_encoder(ModelConfig(dim=8, mlp_head=True), some_images(20), **options())
    same = build_encoder(ModelConfig(dim=8, mlp_head=True))
    shapes = {name: tuple(value.shape) for name, value in same.state_dict().items()}
    assert {name: tuple(value.shape) for name, value in encoder.state_dict().items()} == shapes
    assert not any(module.training for module in encoder.modules())


def test_the_statistics_are_the_mean_over_batches_spread_over_the_set():
    images = some_images(1200)
    images[600:] //= 4  # sorted, as a folder's images are: two batches of every other image
    encoder = random_encoder(ModelConfig(), images, **options())
    x = (images.double() / 255 - MEAN.double().view(3, 1, 1)) / STD.double().view(3, 1, 1)
    first = torch.nn.functional.conv2d(
        x, encoder.get_parameter("backbone.0.weight").detach().double()
    )
    halves = [first[0::2].transpose(0, 1).flatten(1), first[1::2].transpose(0, 1).flatten(1)]
    mean = (halves[0].mean(1) + halves[1].mean(1)) / 2
    variance = (halves[0].var(1) + halves[1].var(1)) / 2
    layer: Any = encoder.get_submodule("backbone.1")
    torch.testing.assert_close(layer.running_mean.double(), mean, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(layer.running_var.double(), variance, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["convnet", "resnet18"])
def test_features_of_every_layer_come_out_centred(kind):
    images = some_images(24)
    encoder = random_encoder(ModelConfig(encoder=kind, dropout=0.9), images, **options())
    out = {}
    for name, module in encoder.backbone.named_modules():
        if hasattr(module, "running_mean"):
            module.register_forward_hook(lambda m, i, o, name=name: out.update({name: o.clone()}))
    with torch.no_grad():
        x = (images / 255 - MEAN.view(3, 1, 1)) / STD.view(3, 1, 1)
        encoder.backbone(x)
    assert len(out) == (3 if kind == "convnet" else 20)
    for name, value in out.items():
        # one batch: in eval mode every channel is as BatchNorm in train mode would leave it
        assert value.mean((0, 2, 3)).abs().max() < 0.02, name
        assert (value.var((0, 2, 3)) - 1).abs().max() < 0.05, name


def test_momentum_and_modes_are_given_back():
    encoder = build_encoder(ModelConfig(bn_splits=2)).train()
    before = [(m.training, getattr(m, "momentum", None)) for m in encoder.modules()]
    set_statistics(encoder.backbone, lambda i: torch.rand(4, 3, 32, 32), 3)
    assert before == [(m.training, getattr(m, "momentum", None)) for m in encoder.modules()]


def test_a_stop_is_heard():
    class Stopping(NullSink):
        def request(self):
            return "stop"

    with pytest.raises(Interrupted):
        random_encoder(ModelConfig(), some_images(4), sink=Stopping(), **options())


def test_the_statistics_are_set_whatever_the_number_of_images() -> None:
    """2,000 images make batches of 666 and 667, which eight groups of BatchNorm do not divide."""
    images = some_images(2000)
    encoder = build_encoder(ModelConfig(dim=8, bn_splits=8))
    zero, one = torch.zeros(3), torch.ones(3)
    calibrate_bn(encoder, images, mean=zero, std=one)
    conv = next(m for m in encoder.backbone.modules() if isinstance(m, torch.nn.Conv2d))
    norm = next(m for m in encoder.backbone.modules() if isinstance(m, SplitBatchNorm2d))
    with torch.no_grad():
        wanted = conv(images[:: 2000 // 256].float() / 255).mean((0, 2, 3))
    torch.testing.assert_close(norm.running_mean, wanted, rtol=0.05, atol=0.01)
