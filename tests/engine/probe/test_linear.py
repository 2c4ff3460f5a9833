import math

import pytest
import torch
import torch.nn.functional as F

from engine.config.schema import LinearConfig
from engine.evaluate.features import Standardiser
from engine.probe.linear import (
    CACHE_BYTES,
    Layers,
    Views,
    _lowest,
    affordable_views,
    augmented_features,
    fit_linear,
    train_layers,
)
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
    lrs, seen = [0.01, 0.1, 0.5], []
    got = train_layers(
        plain(views), targets, classes, lrs=lrs, rows=rows, epochs=5, batch_size=batch,
        weight_decay=decay, seed=3, after_epoch=lambda epoch, layers: seen.append((epoch, layers)),
    )  # fmt: skip
    assert [epoch for epoch, _ in seen] == [1, 2, 3, 4, 5]
    for i, lr in enumerate(lrs):
        weight, bias, losses = sgd(views, targets, classes, lr, rows, 5, batch, decay, 3)
        torch.testing.assert_close(got.weight[i].double(), weight, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(got.bias[i].double(), bias, rtol=1e-4, atol=1e-5)
        mine = [layers.losses[i] for _, layers in seen]
        assert mine == pytest.approx(losses, rel=1e-4)


def test_logits_are_those_of_each_layer():
    layers = Layers(torch.randn(3, 4, 7), torch.randn(3, 4), ())
    x = torch.randn(5, 7)
    for i in range(3):
        torch.testing.assert_close(
            layers.logits(x)[i], F.linear(x, layers.weight[i], layers.bias[i])
        )


def test_views_fit_the_cache():
    assert affordable_views(10, 5000, 512) == 10
    assert affordable_views(10, 25_000, 3072) == CACHE_BYTES // (4 * 25_000 * 3072) == 3
    assert affordable_views(10, 10**6, 10**4) == 1


def test_augmented_features_are_drawn_anew_for_each_view_from_a_generator_of_their_own():
    g = torch.Generator().manual_seed(0)
    images = torch.randint(256, (6, 3, 32, 32), generator=g, dtype=torch.uint8)
    state = torch.get_rng_state()
    got = augmented_features(lambda x: x.flatten(1), images, torch.arange(6), views=3, seed=1)
    assert torch.equal(state, torch.get_rng_state())
    assert got.shape == (3, 6, 3072)
    assert float(got.min()) >= 0.0
    assert float(got.max()) <= 1.0
    assert len({tuple(row.tolist()) for row in got.view(18, -1)}) == 18
    # a crop and a flip make no colours: each value lies within the image's own range
    low, high = images.flatten(1).amin(1) / 255, images.flatten(1).amax(1) / 255
    assert bool((got.amin(2) >= low - 1e-6).all())
    assert bool((got.amax(2) <= high + 1e-6).all())
    again = augmented_features(lambda x: x.flatten(1), images, torch.arange(6), views=3, seed=1)
    other = augmented_features(lambda x: x.flatten(1), images, torch.arange(6), views=3, seed=2)
    assert torch.equal(got, again)
    assert not torch.equal(got, other)


def test_the_views_of_an_image_do_not_depend_on_which_others_are_asked_for(monkeypatch):
    monkeypatch.setattr("engine.probe.linear._DRAWN", 4)  # drawn in three parts
    g = torch.Generator().manual_seed(0)
    images = torch.randint(256, (10, 3, 32, 32), generator=g, dtype=torch.uint8)
    everything = torch.arange(10)
    whole = augmented_features(lambda x: x.flatten(1), images, everything, views=2, seed=1)
    for rows in ([0], [3, 4, 9], [8, 9], [0, 1, 2, 3, 5, 7]):
        some = augmented_features(
            lambda x: x.flatten(1), images, torch.tensor(rows), views=2, seed=1
        )
        torch.testing.assert_close(some, whole[:, rows], rtol=0, atol=1e-6)


def test_views_are_standardised_like_the_images_wherever_they_are_kept():
    g = torch.Generator().manual_seed(0)
    kept = 3.0 + 5.0 * torch.randn(2, 30, 7, generator=g)
    rows = torch.tensor([1, 4, 5, 20, 29])
    features = kept[0][rows]
    standardise = Standardiser.fit(features)
    views = Views.standardised(kept, rows, standardise)
    before = kept.clone()
    some = torch.tensor([4, 0, 2])
    for view in (0, 1):
        expected = standardise(kept[view][rows[some]])
        torch.testing.assert_close(views.batch(view, some), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(kept, before)
    assert (len(views), views.width) == (2, 7)


def test_the_rate_of_the_lowest_validation_loss_is_chosen_and_the_whole_is_trained():
    views, targets, classes = case(n=200, noise=3.0)
    features = views.mean(0)
    fit, validate = torch.arange(0, 140), torch.arange(140, 200)
    config = LinearConfig(epochs=8, batch_size=32, lr=(1e30, 1e-7, 0.01))
    heard = []
    got = fit_linear(
        plain(views), features, targets, classes, config, fit=fit, validate=validate, seed=0,
        report=heard.append,
    )  # fmt: skip
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
    got = fit_linear(
        plain(views), views[0], targets, classes, config, fit=torch.arange(50),
        validate=torch.arange(0), seed=0,
    )  # fmt: skip
    assert got.lr == 0.01
    assert got.candidates == ()


def test_a_stop_is_heard_between_steps():
    class Stopping(NullSink):
        left = 3

        def request(self):
            self.left -= 1
            return "hand-over" if self.left < 0 else None

    views, targets, classes = case()
    with pytest.raises(Interrupted):
        train_layers(
            plain(views), targets, classes, lrs=[0.1], rows=torch.arange(50), epochs=2,
            batch_size=10, weight_decay=0.0, seed=0, sink=Stopping(),
        )  # fmt: skip


def test_a_loss_that_is_no_number_never_wins():
    candidates = [{"loss": math.nan}, {"loss": 3.0}, {"loss": 2.0}, {"loss": math.inf}]
    assert _lowest(candidates) == 2
