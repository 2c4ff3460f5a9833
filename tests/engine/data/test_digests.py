"""Digests of images and labels against hashlib over the bytes, in one piece."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
import torch

from engine.data import digests
from engine.data.dataset import Dataset, Split
from engine.data.digests import digest_of_names, digest_of_tensor


def some_split(n: int, seed: int = 0) -> Split:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return Split(images, torch.arange(n) % 3)


@pytest.mark.parametrize("block", [1, 7, 4096])
def test_the_bytes_are_hashed_whole_whatever_the_block(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "_BLOCK", block)
    split = some_split(20)
    images = b"torch.uint8 (20, 3, 32, 32) " + split.images.numpy().tobytes()
    labels = b"torch.int64 (20,) " + split.labels.numpy().astype("<i8").tobytes()
    assert digest_of_tensor(split.images) == hashlib.sha256(images).hexdigest()[:32]
    assert digest_of_tensor(split.labels) == hashlib.sha256(labels).hexdigest()[:32]
    turned = split.images.transpose(2, 3)  # not contiguous
    assert digest_of_tensor(turned) == digest_of_tensor(turned.contiguous())
    assert digest_of_tensor(turned) != digest_of_tensor(split.images)


def test_names_are_told_apart() -> None:
    lists = [(), ("a", "b"), ("b", "a"), ("ab",), ("a", "b", "")]
    assert len({digest_of_names(names) for names in lists}) == len(lists)
    assert digest_of_names(()) == ""


def test_every_part_of_a_data_set_is_in_its_identity() -> None:
    one = Dataset("x", some_split(9), some_split(6, 1), ("a", "b", "c"))
    changed = one.train.images.clone()
    changed[4, 1, 2, 3] += 1
    labels = one.train.labels.clone()
    labels[:2] = labels[:2].flip(0)
    assert one.test is not None
    others = [
        replace(one, train=Split(changed, one.train.labels)),
        replace(one, train=Split(one.train.images, labels)),
        replace(one, train=one.train.take(torch.arange(9).flip(0))),
        replace(one, train=some_split(8)),
        replace(one, test=None),
        replace(one, test=some_split(6, 2)),
        replace(one, class_names=("a", "b", "d")),
    ]
    assert len({data.identity.digest for data in (one, *others)}) == len(others) + 1
    assert one.identity == replace(one, name="y", skipped=("z",)).identity
    assert one.identity.train == 9
    assert one.identity.test == 6
    trained = {data.identity.train_digest for data in (one, *others)}
    assert len(trained) == len(others) - 1, "not the two that differ in their test images alone"
