"""The encoder as a module: what it computes, and which images it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from engine.api.pretrained_encoder import PretrainedEncoder, as_batch
from engine.errors import DataError

from .conftest import Trained


@pytest.fixture
def encoder(trained: Trained) -> PretrainedEncoder:
    return trained.run.encoder()


@pytest.fixture
def images() -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)


def test_features_are_those_of_the_backbone_on_normalised_images(
    trained: Trained, encoder: PretrainedEncoder, images: Any
) -> None:
    """By hand, from the checkpoint's own statistics."""
    state = torch.load(trained.run.folder.checkpoint_path, weights_only=True)
    mean, std = (state[name].double().numpy() for name in ("mean", "std"))
    by_hand = (images.astype(np.float64) / 255 - mean) / std
    with torch.no_grad():
        batch = torch.tensor(by_hand.transpose(0, 3, 1, 2), dtype=torch.float32)
        wanted = encoder.encoder.backbone(batch)
    found = encoder.features(images)
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-4, atol=1e-4)
    assert encoder.embedding_dim == encoder.embed(as_batch(images, 32)).shape[1]


def test_every_form_of_the_same_images_gives_the_same_features(
    encoder: PretrainedEncoder, images: Any
) -> None:
    planes = torch.from_numpy(images).permute(0, 3, 1, 2)
    wanted = encoder.features(images)
    for same in (planes, planes.contiguous(), torch.from_numpy(images)):
        found = encoder.features(same)
        assert isinstance(found, torch.Tensor)
        np.testing.assert_array_equal(found.numpy(), wanted)
    floats = images.astype(np.float32) / 255
    np.testing.assert_allclose(encoder.features(floats), wanted, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(encoder.features(images, batch_size=2), wanted, rtol=1e-4, atol=1e-4)
    assert encoder.features(images[:0]).shape == (0, encoder.feature_dim)
    np.testing.assert_array_equal(encoder.features(images[::-1]), encoder.features(images)[::-1])


def test_it_is_in_eval_mode_and_can_be_trained_further(
    encoder: PretrainedEncoder, images: Any
) -> None:
    assert not any(module.training for module in encoder.modules())
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    encoder.train()
    encoder.features(images)  # in eval mode all the same: running statistics stay
    assert encoder.training
    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    encoder.eval()
    encoder(as_batch(images, 32)).sum().backward()
    assert any(p.grad is not None and bool(p.grad.any()) for p in encoder.parameters())
    assert {"mean", "std"} <= before.keys()  # buffers: they move with the module


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ([[1, 2]], "list"),
        (np.zeros((4, 32, 32), np.uint8), r"\(4, 32, 32\)"),
        (np.zeros((4, 28, 28, 3), np.uint8), r"it must be \(N, 3, 32, 32\)"),
        (np.zeros((4, 32, 32, 4), np.uint8), r"\(4, 32, 32, 4\)"),
        (np.zeros((4, 32, 32, 3), np.int64), "int64"),
        (np.zeros((4, 32, 32, 3), bool), "bool"),
        (np.full((4, 32, 32, 3), "x"), "uint8, or float"),
        (np.full((4, 32, 32, 3), 255.0), "divide pixels by 255"),
        (np.full((4, 32, 32, 3), np.nan), "not all in"),
        (torch.full((4, 3, 32, 32), -0.5), "not all in"),
    ],
)
def test_what_is_no_batch_of_images_is_a_sentence(
    encoder: PretrainedEncoder, wrong: Any, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        encoder.features(wrong)


def test_a_batch_size_below_none_is_a_sentence(encoder: PretrainedEncoder, images: Any) -> None:
    with pytest.raises(DataError, match="batch_size is -1"):
        encoder.features(images, batch_size=-1)
