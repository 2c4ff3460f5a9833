"""Neighbours, shares, votes and confusions against scikit-learn and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from engine.evaluate.neighbours import (
    confusion_counts,
    nearest_others,
    same_class_shares,
    voted_classes,
)
from engine.sink import Interrupted, NullSink, Request


def blobs(count: int = 60, classes: int = 3) -> tuple[Tensor, Tensor]:
    """Features of overlapping classes, of very different lengths."""
    generator = torch.Generator().manual_seed(4)
    labels = torch.arange(count) % classes
    centres = torch.randn(classes, 12, generator=generator)
    features = centres[labels] + 0.9 * torch.randn(count, 12, generator=generator)
    return features * torch.rand(count, 1, generator=generator).mul(50).add(0.1), labels


def test_neighbours_are_those_of_scikit_learn_without_the_image_itself() -> None:
    features, _ = blobs()
    index, similarity = nearest_others(features, 7)
    model = NearestNeighbors(n_neighbors=7, metric="cosine", algorithm="brute")
    distance, expected = model.fit(features.double().numpy()).kneighbors()  # of the set: leaves out
    assert index.tolist() == expected.tolist()
    np.testing.assert_allclose(similarity.numpy(), 1 - distance, atol=1e-5)


def test_more_neighbours_than_images_are_all_others() -> None:
    features, _ = blobs(9)
    index, _ = nearest_others(features, 100)
    assert [sorted(row) for row in index.tolist()] == [
        [other for other in range(9) if other != row] for row in range(9)
    ]


def test_more_images_than_a_chunk_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    features, _ = blobs()
    whole = nearest_others(features, 5)[0]
    monkeypatch.setattr("engine.evaluate.neighbours._CHUNK", 7)
    assert torch.equal(nearest_others(features, 5)[0], whole)


def test_one_image_has_no_neighbours_and_a_stop_is_heard() -> None:
    class Stopping(NullSink):
        def request(self) -> Request | None:
            return "stop"

    features, _ = blobs()
    with pytest.raises(ValueError, match="no neighbours"):
        nearest_others(features[:1], 1)
    with pytest.raises(Interrupted):
        nearest_others(features, 5, sink=Stopping())


def test_shares_are_those_of_a_plain_count() -> None:
    features, labels = blobs()
    index, _ = nearest_others(features, 12)
    shares = same_class_shares(index, labels, (1, 10, 100))
    assert sorted(shares) == [1, 10]  # there are not 100 to count
    for n, share in shares.items():
        same = total = 0
        for image, row in enumerate(index.tolist()):
            for other in row[:n]:
                same += int(labels[other] == labels[image])
                total += 1
        assert share == pytest.approx(same / total)
    assert 0.3 < shares[10] < 1  # neither chance nor perfect: the count can tell


def test_votes_are_those_of_a_plain_loop() -> None:
    features, labels = blobs()
    index, similarity = nearest_others(features, 30)
    predicted = voted_classes(index, similarity, labels, classes=4, k=9, temperature=0.1)
    for image in range(len(labels)):
        votes = [0.0] * 4
        for place in range(9):
            weight = math.exp(float(similarity[image, place]) / 0.1)
            votes[int(labels[index[image, place]])] += weight
        assert int(predicted[image]) == votes.index(max(votes))


def test_a_low_temperature_lets_the_nearest_decide() -> None:
    index = torch.tensor([[1, 2, 3]])
    similarity = torch.tensor([[0.9, 0.8, 0.8]])
    labels = torch.tensor([0, 1, 0, 0])
    for temperature, winner in ((1e-3, 1), (10.0, 0)):
        found = voted_classes(index, similarity, labels, classes=2, k=3, temperature=temperature)
        assert found.tolist() == [winner]


def test_the_confusion_matrix_is_that_of_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 4, (80,), generator=generator)
    predicted = torch.randint(0, 4, (80,), generator=generator)
    predicted[labels == 3] = 0  # a class that is never predicted right
    expected = confusion_matrix(labels.numpy(), predicted.numpy(), labels=range(5))
    assert confusion_counts(labels, predicted, 5).tolist() == expected.tolist()
