"""Images that the runs of these tests find."""

from __future__ import annotations

import pytest

from engine.data.dataset import Dataset

from .small_studies import noise_images


@pytest.fixture
def noise(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Five steps an epoch, of noise with the classes of CIFAR-10."""
    return noise_images(monkeypatch)
