import copy
from typing import Any

import pytest
import torch
from torch import nn

from engine.config.schema import ModelConfig
from engine.evaluate.features import (
    NotFrozenError,
    Standardiser,
    checksum,
    extract,
    frozen,
    pixels,
)
from engine.evaluate.modes import evaluating
from engine.models.encoder import build_encoder
from engine.models.split_batchnorm import SplitBatchNorm2d
from engine.sink import Interrupted, NullSink

CPU = torch.device("cpu")
MEAN, STD = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.25, 0.3])


@pytest.fixture(scope="module")
def encoder():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = build_encoder(ModelConfig(dim=16, bn_splits=2))
        for module in encoder.modules():  # statistics that differ from the identity
            if isinstance(module, SplitBatchNorm2d):
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 2.0)
    return encoder


def some_images(n=21, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(256, (n, 3, 32, 32), generator=g, dtype=torch.uint8)


def oracle(encoder, images, what):
    """One image at a time, in float64."""
    double = copy.deepcopy(encoder).double().eval()
    rows = []
    for image in images:
        x = image.double() / 255
        x = torch.stack([(x[c] - MEAN[c].double()) / STD[c].double() for c in range(3)])
        f = double.backbone(x[None])
        rows.append(f if what == "backbone" else double.projection_head(f))
    return torch.cat(rows).detach()


@pytest.mark.parametrize("what", ["backbone", "output"])
@pytest.mark.parametrize("batch", [0, 1, 8])
def test_features_are_those_of_one_image_at_a_time_in_float64(encoder, what, batch):
    images = some_images()
    got = extract(encoder, images, mean=MEAN, std=STD, device=CPU, batch_size=batch, what=what)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), oracle(encoder, images, what), rtol=1e-4, atol=1e-5)


def test_float_images_in_0_1_are_taken_as_they_are(encoder):
    images = some_images(5)
    options: dict[str, Any] = {"mean": MEAN, "std": STD, "device": CPU}
    torch.testing.assert_close(
        extract(encoder, images, **options), extract(encoder, images.float() / 255, **options)
    )


def test_every_mode_is_restored_even_after_a_stop(encoder):
    class Stopping(NullSink):
        def request(self):
            return "stop"

    encoder = copy.deepcopy(encoder).train()
    encoder.backbone[1].eval()
    before = [(name, module.training) for name, module in encoder.named_modules()]
    with frozen(encoder):
        extract(encoder, some_images(), mean=MEAN, std=STD, device=CPU)
    assert before == [(name, module.training) for name, module in encoder.named_modules()]
    with pytest.raises(Interrupted):
        extract(encoder, some_images(), mean=MEAN, std=STD, device=CPU, sink=Stopping())
    assert before == [(name, module.training) for name, module in encoder.named_modules()]


def test_the_pass_is_reported_batch_by_batch(encoder):
    seen = []

    class Listening(NullSink):
        def progress(self, stage, done, total):
            seen.append((stage, done, total))

    extract(
        encoder, some_images(), mean=MEAN, std=STD, device=CPU, batch_size=10, sink=Listening(),
        stage="here",
    )  # fmt: skip
    assert seen == [("here", 10, 21), ("here", 20, 21), ("here", 21, 21)]


def test_pixels_are_the_values_of_the_image_in_0_1():
    images = some_images(2)
    got = pixels(images)
    assert got.shape == (2, 3072)
    assert float(got[1, 1024 + 32 * 3 + 5]) == pytest.approx(int(images[1, 1, 3, 5]) / 255)


def test_standardised_features_have_mean_0_and_variance_1():
    g = torch.Generator().manual_seed(0)
    features = torch.randn(9000, 5, generator=g) * torch.tensor([1e-3, 1.0, 50.0, 3.0, 2.0]) + 7.0
    standardise = Standardiser.fit(features)
    out = standardise(features).double()
    torch.testing.assert_close(out.mean(0), torch.zeros(5).double(), atol=1e-3, rtol=0)
    torch.testing.assert_close(out.std(0, correction=0), torch.ones(5).double(), atol=1e-3, rtol=0)
    torch.testing.assert_close(standardise.mean, features.double().mean(0))
    torch.testing.assert_close(standardise.scale, features.double().std(0, correction=0))


def test_a_feature_that_does_not_vary_is_centred_and_not_blown_up():
    features = torch.full((100, 3), 0.1)
    features[:, 1] = 0.0
    features[:, 2] = 1e6
    features[:50, 2] += 0.0625  # one unit in the last place: rounding, not information
    standardise = Standardiser.fit(features)
    assert standardise(features).abs().max() < 0.05
    assert standardise(features + 1.0)[:, :2].sub(1.0).abs().max() < 1e-6


def test_the_checksum_sees_a_weight_a_buffer_and_a_name():
    class Net(nn.Module):
        hidden: torch.Tensor

        def __init__(self, name="weight"):
            super().__init__()
            self.register_parameter(name, nn.Parameter(torch.ones(3)))
            self.register_buffer("hidden", torch.zeros((), dtype=torch.int64), persistent=False)

    sums = {checksum(Net()), checksum(Net("other"))}
    net = Net()
    net.hidden += 1
    sums.add(checksum(net))
    net = Net()
    with torch.no_grad():
        net.get_parameter("weight")[2] = torch.nextafter(torch.tensor(1.0), torch.tensor(2.0))
    sums.add(checksum(net))
    assert len(sums) == 4
    assert checksum(Net()) == checksum(Net())
    assert checksum(Net().bfloat16()) != checksum(Net())


def test_a_pass_in_train_mode_is_caught(encoder):
    encoder = copy.deepcopy(encoder).train()
    x = torch.rand(4, 3, 32, 32)
    with frozen(encoder), evaluating(encoder):
        encoder(x)
    with pytest.raises(NotFrozenError, match="has changed"), frozen(encoder):
        encoder(x)
