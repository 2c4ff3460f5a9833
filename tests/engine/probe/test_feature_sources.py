"""Features that many probes share are those that each would have made for itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from engine.config.data import cifar10
from engine.config.schema import ModelConfig
from engine.data.dataset import Dataset, Split
from engine.evaluate.features import extract
from engine.models.encoder import build_encoder
from engine.probe.augmented_views import light_augment
from engine.probe.feature_sources import CachedFeatures, FeaturesForManyProbes, FeaturesForOneProbe
from engine.sink import NullSink

MODEL = ModelConfig(dim=8)
SINK = NullSink()


def some_split(n: int, seed: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return Split(images, torch.arange(n) % 10)


@pytest.fixture(scope="module")
def sources() -> FeaturesForOneProbe:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = build_encoder(MODEL).eval()
    dataset = Dataset("noise", some_split(40, 0), some_split(20, 1), cifar10.CLASSES)
    mean, std = torch.full((3,), 0.5), torch.full((3,), 0.25)
    return FeaturesForOneProbe(encoder, MODEL, dataset, mean, std, torch.device("cpu"))


ROWS = torch.tensor([0, 3, 4, 11, 12, 20, 33, 39])
PARTS = [torch.tensor([0, 4, 39]), torch.tensor([3, 11, 12, 33]), ROWS]


def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images go through an encoder from now on."""
    counted: list[int] = []

    def counting(encoder: Any, images: Any, **options: Any) -> Any:
        counted.append(len(images))
        return extract(encoder, images, **options)

    monkeypatch.setattr("engine.probe.feature_sources.extract", counting)
    return counted


def test_what_is_kept_is_what_would_be_made(
    sources: FeaturesForOneProbe, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = sources.of_encoder("pretrained", sources.pretrained)
    expected = [
        (made.labelled(rows, SINK), made.views(rows, 2, 7, SINK)[0], made.test(rows // 2, SINK))
        for rows in PARTS
    ]
    kept = FeaturesForManyProbes(sources, ROWS, 3).of_encoder("pretrained", sources.pretrained)
    counted = passes(monkeypatch)
    for rows, (labelled, views, test) in zip(PARTS, expected, strict=True):
        mine = kept.labelled(rows, SINK)
        close: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}
        torch.testing.assert_close(mine.features, labelled.features, **close)
        torch.testing.assert_close(mine.spectrum.values, labelled.spectrum.values, **close)
        features, places = kept.views(rows, 2, 7, SINK)
        torch.testing.assert_close(features[:, places], views, **close)
        torch.testing.assert_close(kept.test(rows // 2, SINK), test, **close)
    # each image once, each of three views of it once, the test images once
    assert sum(counted) == len(ROWS) + 3 * len(ROWS) + 20


def test_tasks_on_the_same_images_share_what_follows_from_them(
    sources: FeaturesForOneProbe,
) -> None:
    for kept in (
        FeaturesForManyProbes(sources, ROWS, 1).of_encoder("pretrained", sources.pretrained),
        FeaturesForManyProbes(sources, ROWS, 1).of_pixels(),
    ):
        first = kept.labelled(PARTS[0], SINK)
        assert kept.labelled(PARTS[0].clone(), SINK) is first
        assert kept.labelled(PARTS[1], SINK) is not first
        assert kept.labelled(PARTS[0], SINK) is not first, "only the last is kept"


def test_views_that_would_not_fit_are_made_for_each_probe(
    sources: FeaturesForOneProbe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "engine.probe.augmented_views.CACHE_BYTES", 4 * 512 * 3 * 5
    )  # of five images
    kept = FeaturesForManyProbes(sources, ROWS, 3).of_encoder("pretrained", sources.pretrained)
    kept.labelled(PARTS[0], SINK)
    counted = passes(monkeypatch)
    for _ in range(2):
        features, places = kept.views(PARTS[0], 3, 7, SINK)
        assert features.shape == (3, 3, 512)
        assert places.tolist() == [0, 1, 2]
    assert sum(counted) == 2 * 3 * 3


def test_pixels_are_made_anew_and_views_are_forgotten(
    sources: FeaturesForOneProbe, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = FeaturesForManyProbes(sources, ROWS, 1)
    features, places = shared.of_pixels().views(PARTS[0], 1, 7, SINK)
    assert features.shape == (1, 3, 3072)
    assert places.tolist() == [0, 1, 2]
    kept = shared.of_encoder("pretrained", sources.pretrained)
    assert isinstance(kept, CachedFeatures)
    kept.labelled(ROWS, SINK)
    counted = passes(monkeypatch)
    kept.views(ROWS, 1, 7, SINK)
    kept.views(ROWS, 1, 7, SINK)
    assert sum(counted) == len(ROWS)
    shared.forget_views()
    kept.views(ROWS, 1, 7, SINK)
    assert sum(counted) == 2 * len(ROWS)


def test_views_with_another_crop_are_other_views(sources: FeaturesForOneProbe) -> None:
    kept = FeaturesForManyProbes(sources, ROWS, 1).of_encoder("pretrained", sources.pretrained)
    made = sources.of_encoder("pretrained", sources.pretrained)
    kept.labelled(ROWS, SINK)
    close: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}
    seen = []
    for crop_min in (0.08, 0.2, 0.08):
        features, places = kept.views(ROWS, 1, 7, SINK, light_augment(crop_min))
        expected, _ = made.views(ROWS, 1, 7, SINK, light_augment(crop_min))
        torch.testing.assert_close(features[:, places], expected, **close)
        seen.append(features)
    torch.testing.assert_close(seen[0], seen[2], **close)
    assert not torch.allclose(seen[0], seen[1], **close)


def test_the_random_encoder_is_made_once_and_is_the_one_of_a_lone_probe(
    sources: FeaturesForOneProbe,
) -> None:
    shared = FeaturesForManyProbes(sources, ROWS, 1)
    assert shared.encoder("pretrained", 3, SINK) is sources.pretrained
    mine = shared.encoder("random-init", 3, SINK)
    assert shared.encoder("random-init", 3, SINK) is mine
    other = sources.encoder("random-init", 3, SINK)
    for name, value in other.state_dict().items():
        assert torch.equal(value, mine.state_dict()[name]), name


def test_an_encoder_goes_to_the_device_when_it_is_asked_for() -> None:
    """Not before: a probe may have to wait until the device is its own."""
    device = torch.device("meta")
    dataset = Dataset("noise", some_split(4, 0), some_split(2, 1), cifar10.CLASSES)
    channels = torch.full((3,), 0.5)
    made = FeaturesForOneProbe(build_encoder(MODEL), MODEL, dataset, channels, channels, device)
    many = FeaturesForManyProbes(made, torch.arange(4), views=0)
    assert {p.device.type for p in made.pretrained.parameters()} == {"cpu"}
    encoder = many.encoder("pretrained", 0, NullSink())
    assert {p.device.type for p in encoder.parameters()} == {"meta"}
