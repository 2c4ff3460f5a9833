"""Maps against scikit-learn: principal components, and what a t-SNE keeps together."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

from engine.errors import UserError
from engine.evaluate.plane_maps import principal_components, tsne_plane


@pytest.mark.parametrize("width", [9, 60])  # fewer and more features than images
def test_principal_components_are_those_of_scikit_learn(width: int) -> None:
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(40, width, generator=generator) * torch.arange(1, width + 1) + 3
    found = principal_components(features, 4)
    model = PCA(4).fit(normalize(features.double().numpy()))
    expected = model.transform(normalize(features.double().numpy()))
    np.testing.assert_allclose(found.points.abs().numpy(), abs(expected), atol=1e-6)
    np.testing.assert_allclose(found.explained.numpy(), model.explained_variance_ratio_, atol=1e-9)
    largest = found.points.gather(0, found.points.abs().argmax(0, keepdim=True))
    assert bool((largest > 0).all())  # the same map, not its mirror image, every time


def test_what_does_not_vary_lies_on_one_point() -> None:
    found = principal_components(torch.ones(5, 3), 6)
    assert found.points.shape == (5, 6)
    assert float(found.points.abs().max()) == pytest.approx(0, abs=1e-6)
    assert bool(found.explained.isfinite().all())


def test_a_t_sne_keeps_groups_together_and_comes_out_the_same_again() -> None:
    generator = torch.Generator().manual_seed(3)
    groups = torch.arange(45) % 3
    centres = 4 * torch.randn(3, 20, generator=generator)
    features = centres[groups] + 0.2 * torch.randn(45, 20, generator=generator)
    components = principal_components(features).points.numpy().astype("<f4").tobytes()
    placed = tsne_plane(components, 45)
    points = np.array(placed)
    for image in range(45):
        distance = np.linalg.norm(points - points[image], axis=1)
        distance[image] = np.inf
        assert groups[int(distance.argmin())] == groups[image]
    assert tsne_plane(components, 45) == placed


def test_without_scikit_learn_a_sentence_says_what_brings_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = importlib.util.find_spec

    def find(name: str, *rest: Any) -> Any:
        return None if name == "sklearn" else real(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    with pytest.raises(UserError, match=r"pip install 'moco-tui\[look\]'"):
        tsne_plane(bytes(4 * 3 * 50), 3)
