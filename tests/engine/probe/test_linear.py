import math

import pytest
import torch
import torch.nn.functional as F

from engine.config.heads.linear import LinearConfig
from engine.probe.augmented_views import Views
from engine.probe.head import HeadData
from engine.probe.linear import Layers, LinearHead, lowest_loss, train_layers
from engine.probe.principal_directions import Spectrum
from engine.seeds import stream
from engine.sink import Interrupted, NullSink


def case(views=3, n=50, width=7, classes=4, seed=0, noise=1.0):
    g = torch.Generator().manual_seed(seed)
    targets = torch.arange(n) % classes
    centres = torch.randn(classes, width, generator=g)
    x = centres[targets] + noise * torch.randn(views, n, width, generator=g)
    return x, targets, classes


def plain(views):
    """The views as they are: nothing is taken away, and they are multiplied by 1."""
    width = views.shape[2]
    return Views(views, torch.arange(views.shape[1]), torch.zeros(width), torch.ones(width))


def head_data(views, features, targets, classes, fit, validate, **options):
    return HeadData(
        features, targets, classes, fit, validate, views=lambda _count, _augment=None: plain(views),
        spectrum=lambda: Spectrum.of(features), **options,
    )  # fmt: skip


def sgd(views, targets, classes, lr, rows, epochs, batch, decay, seed):
    """The same training by autograd and torch.optim, in float64."""
    layer = torch.nn.Linear(views.shape[2], classes).double()
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(layer.parameters(), lr, momentum=0.9, weight_decay=decay)
    steps = epochs * math.ceil(len(rows) / batch)
    cosine = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps))
    )
    order = stream(seed, "order")
    losses = []
    for epoch in range(epochs):
        losses.append(0.0)
        for part in rows[torch.randperm(len(rows), generator=order)].split(batch):
            x = views[epoch % len(views)][part].double()
            loss = F.cross_entropy(layer(x), targets[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            cosine.step()
            losses[-1] += float(loss.detach()) * len(part) / len(rows)
    return layer.weight.detach(), layer.bias.detach(), losses


@pytest.mark.parametrize(("batch", "decay"), [(50, 0.0), (16, 0.0), (16, 0.01), (1, 0.0)])
def test_layers_side_by_side_are_those_of_torch_sgd_one_by_one(batch, decay):
    views, targets, classes = case()
    rows = torch.arange(1, 50, 2)
    lrs = [0.01, 0.1, 0.5]
    config = LinearConfig(epochs=5, batch_size=batch, weight_decay=decay)
    seen = list(train_layers(plain(views), targets, classes, config, lrs=lrs, rows=rows, seed=3))
    assert len(seen) == 5
    got = seen[-1]
    for i, lr in enumerate(lrs):
        weight, bias, losses = sgd(views, targets, classes, lr, rows, 5, batch, decay, 3)
        torch.testing.assert_close(got.weight[i].double(), weight, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(got.bias[i].double(), bias, rtol=1e-4, atol=1e-5)
        mine = [layers.losses[i] for layers in seen]
        assert mine == pytest.approx(losses, rel=1e-4)


def test_logits_are_those_of_each_layer():
    layers = Layers(torch.randn(3, 4, 7), torch.randn(3, 4), ())
    x = torch.randn(5, 7)
    for i in range(3):
        torch.testing.assert_close(
            layers.logits(x)[i], F.linear(x, layers.weight[i], layers.bias[i])
        )


def test_the_rate_of_the_lowest_validation_loss_is_chosen_and_the_whole_is_trained():
    views, targets, classes = case(n=200, noise=3.0)
    features = views.mean(0)
    fit, validate = torch.arange(0, 140), torch.arange(140, 200)
    config = LinearConfig(epochs=8, batch_size=32, lr=(1e30, 1e-7, 0.01))
    heard: list[dict[str, float]] = []
    data = head_data(views, features, targets, classes, fit, validate, report=heard.append)
    got = LinearHead(config).fit(data)
    assert got.lr == 0.01
    assert not got.at_edge
    weight, bias, _ = sgd(views, targets, classes, 0.01, fit, 8, 32, 0.0, 0)
    scores = features[validate].double() @ weight.T + bias
    assert [c["lr"] for c in got.candidates] == [1e-7, 0.01, 1e30]
    assert got.candidates[1]["loss"] == pytest.approx(
        float(F.cross_entropy(scores, targets[validate])), rel=1e-4
    )
    assert got.candidates[1]["top1"] == pytest.approx(
        100 * float((scores.argmax(1) == targets[validate]).double().mean())
    )
    weight, bias, losses = sgd(views, targets, classes, 0.01, torch.arange(200), 8, 32, 0.0, 0)
    torch.testing.assert_close(got.layers.weight[0].double(), weight, rtol=1e-3, atol=1e-5)
    scores = features.double() @ weight.T + bias
    assert torch.equal(got.predict(features), scores.argmax(1))
    assert [set(h) for h in heard[:8]] == [{"validation_loss", "validation_top1"}] * 8
    assert [h["loss"] for h in heard[8:]] == pytest.approx(losses, rel=1e-4)


def test_without_validation_images_the_middle_rate_is_taken():
    views, targets, classes = case()
    config = LinearConfig(epochs=2, lr=(0.1, 0.001, 0.01))
    data = head_data(views, views[0], targets, classes, torch.arange(50), torch.arange(0))
    got = LinearHead(config).fit(data)
    assert got.lr == 0.01
    assert got.candidates == ()


def test_a_stop_is_heard_between_steps():
    class Stopping(NullSink):
        left = 3

        def request(self):
            self.left -= 1
            return "hand-over" if self.left < 0 else None

    views, targets, classes = case()
    config = LinearConfig(epochs=2, batch_size=10)
    with pytest.raises(Interrupted):
        list(
            train_layers(
                plain(views), targets, classes, config, lrs=[0.1], rows=torch.arange(50), seed=0,
                sink=Stopping(),
            )
        )  # fmt: skip


def test_a_loss_that_is_no_number_never_wins():
    candidates = [{"loss": math.nan}, {"loss": 3.0}, {"loss": 2.0}, {"loss": math.inf}]
    assert lowest_loss(candidates) is candidates[2]
