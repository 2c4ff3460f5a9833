"""Where the features of a probe come from: made for one probe, or once for all of an encoder.

A probe asks for the features of its labelled images, of augmented views of them, and of its test
images. ``Sources`` makes them for one probe. ``SharedSources`` makes them for all images that the
probes of an encoder need between them, and keeps them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from engine.config.schema import ModelConfig
from engine.data.dataset import Dataset
from engine.evaluate.features import extract, pixels
from engine.evaluate.random_init import random_encoder
from engine.models.encoder import Encoder
from engine.probe.heads import Labelled
from engine.probe.linear import affordable_views, augmented_features
from engine.seeds import stream_seed
from engine.sink import Sink

PRETRAINED = "pretrained"
"""Name of the row that a probe is about; the others are those of ``ProbeConfig.baselines``."""

Embed = Callable[[Tensor, Sink | None, str], Tensor]
"""Images to features (n, D); with a sink, that hears of the pass under a name."""


class Source(Protocol):
    """Features of the images of a data set, by an encoder or as the pixels are."""

    def labelled(self, rows: Tensor, sink: Sink) -> Labelled:
        """Of the training images ``rows`` (int64, ascending)."""

    def views(self, rows: Tensor, count: int, seed: int, sink: Sink) -> tuple[Tensor, Tensor]:
        """Of ``count`` augmented views of the training images ``rows``.

        Returns:
            float32 (count, m, D), and int64 (n,): where the n images stand among the m.
        """

    def test(self, rows: Tensor, sink: Sink) -> Tensor:
        """float32 (m, D) of the test images ``rows``."""


class Made:
    """Features that are computed when they are asked for.

    Args:
        name: of the source, for the progress.
        embed: makes them.
        dataset: the images; with test images.
        device: where to augment.

    Attributes:
        tests: how many test images there are.
    """

    def __init__(self, name: str, embed: Embed, dataset: Dataset, device: torch.device) -> None:
        assert dataset.test is not None
        self._name, self._embed, self._device = name, embed, device
        self._train, self._test = dataset.train.images, dataset.test.images
        self.tests = len(self._test)
        # Apple's GPUs have no float64, which the heads need
        self._home = torch.device("cpu") if device.type == "mps" else device

    def raw(self, rows: Tensor, sink: Sink) -> Tensor:
        """float32 (n, D) of the training images ``rows``, as they come."""
        return self._embed(self._train[rows], sink, f"{self._name}: features").to(self._home)

    def labelled(self, rows: Tensor, sink: Sink) -> Labelled:
        """See ``Source.labelled``."""
        return Labelled(self.raw(rows, sink))

    def views(self, rows: Tensor, count: int, seed: int, sink: Sink) -> tuple[Tensor, Tensor]:
        """See ``Source.views``."""
        features = augmented_features(
            lambda images: self._embed(images, None, "").to(self._home),
            self._train,
            rows,
            views=count,
            seed=seed,
            device=self._device,
            sink=sink,
        )
        return features, torch.arange(len(rows), device=self._home)

    def test(self, rows: Tensor, sink: Sink) -> Tensor:
        """See ``Source.test``."""
        images = self._test[rows]
        return self._embed(images, sink, f"{self._name}: test features").to(self._home)


class Kept:
    """Features that many probes share: computed once, for all images that any of them needs.

    The views are kept when they fit into the memory meant for those of one probe. What follows
    from the labelled features alone (their standardisation and spectrum) is kept for the next
    probe of the same images, of another task.

    Args:
        made: computes them.
        rows: int64, ascending: the training images that any probe needs; None: those of each
            probe are computed anew (pixels, which cost nothing but room).
        views: most views of an image that any probe needs.
    """

    def __init__(self, made: Made, rows: Tensor | None, views: int) -> None:
        self._made, self._rows, self._count = made, rows, views
        self._train: Tensor | None = None
        self._test: Tensor | None = None
        self._views: dict[int, Tensor] = {}
        self._last: tuple[Tensor, Labelled] | None = None

    def labelled(self, rows: Tensor, sink: Sink) -> Labelled:
        """See ``Source.labelled``."""
        if self._last is not None and torch.equal(self._last[0], rows):
            return self._last[1]
        self._last = None  # its memory first
        made = Labelled(self.raw(rows, sink))
        self._last = (rows, made)
        return made

    def raw(self, rows: Tensor, sink: Sink) -> Tensor:
        """See ``Made.raw``; all images pass at the first time."""
        if self._rows is None:
            return self._made.raw(rows, sink)
        if self._train is None:
            self._train = self._made.raw(self._rows, sink)
        return self._train[self._places(rows).to(self._train.device)]

    def views(self, rows: Tensor, count: int, seed: int, sink: Sink) -> tuple[Tensor, Tensor]:
        """See ``Source.views``."""
        everything = self._rows
        if everything is None or self._train is None or not self._fits(len(everything)):
            return self._made.views(rows, count, seed, sink)
        if seed not in self._views:
            self._views = {}
            self._views = {seed: self._made.views(everything, self._count, seed, sink)[0]}
        return self._views[seed][:count], self._places(rows)

    def test(self, rows: Tensor, sink: Sink) -> Tensor:
        """See ``Source.test``; all test images pass at the first time."""
        if self._rows is None:
            return self._made.test(rows, sink)
        if self._test is None:
            self._test = self._made.test(torch.arange(self._made.tests), sink)
        return self._test[rows.to(self._test.device)]

    def forget_views(self) -> None:
        """Let go of the views: no linear head comes any more."""
        self._views = {}

    def _fits(self, images: int) -> bool:
        assert self._train is not None
        return affordable_views(self._count, images, self._train.shape[1]) == self._count

    def _places(self, rows: Tensor) -> Tensor:
        assert self._rows is not None
        return torch.searchsorted(self._rows, rows)


class Sources:
    """The sources of one probe.

    Args:
        pretrained: the encoder; moved to ``device``.
        model: its architecture, for the baselines.
        dataset: with labels and test images.
        mean: float32 (3,), of the channels in [0, 1], as in the pretraining.
        std: float32 (3,).
        device: where to compute.
    """

    def __init__(
        self,
        pretrained: Encoder,
        model: ModelConfig,
        dataset: Dataset,
        mean: Tensor,
        std: Tensor,
        device: torch.device,
    ) -> None:
        self.pretrained, self.model, self.dataset = pretrained.to(device), model, dataset
        self.mean, self.std, self.device = mean, std, device

    def encoder(self, name: str, seed: int, sink: Sink) -> Encoder:
        """The pretrained encoder, or the one of random weights that belongs to ``seed``."""
        if name == PRETRAINED:
            return self.pretrained
        return random_encoder(
            self.model,
            self.dataset.train.images,
            mean=self.mean,
            std=self.std,
            device=self.device,
            seed=stream_seed(seed, name),
            sink=sink,
        )

    def of_encoder(self, name: str, encoder: Encoder) -> Made:
        """The features before an encoder's projection."""

        def embed(images: Tensor, sink: Sink | None, stage: str) -> Tensor:
            return extract(
                encoder,
                images,
                mean=self.mean,
                std=self.std,
                device=self.device,
                what="backbone",
                sink=sink,
                stage=stage,
            )

        return Made(name, embed, self.dataset, self.device)

    def of_pixels(self) -> Made:
        """The values of the images themselves."""
        return Made(
            "pixels", lambda images, *_: pixels(images).to(self.device), self.dataset, self.device
        )


class SharedSources:
    """The sources of all probes of one encoder, with the same seed.

    Args:
        sources: makes what is kept here.
        rows: int64, ascending: the training images that any of the probes may use.
        views: most augmented views of an image that any of them needs.
    """

    def __init__(self, sources: Sources, rows: Tensor, views: int) -> None:
        self._sources, self._rows, self._views = sources, rows, views
        self.pretrained, self.model, self.dataset = (
            sources.pretrained,
            sources.model,
            sources.dataset,
        )
        self.mean, self.std, self.device = sources.mean, sources.std, sources.device
        self._encoders: dict[tuple[str, int], Encoder] = {}
        self._kept: dict[str, Kept] = {}

    def encoder(self, name: str, seed: int, sink: Sink) -> Encoder:
        """See ``Sources.encoder``."""
        if (name, seed) not in self._encoders:
            self._encoders[name, seed] = self._sources.encoder(name, seed, sink)
        return self._encoders[name, seed]

    def of_encoder(self, name: str, encoder: Encoder) -> Kept:
        """See ``Sources.of_encoder``."""
        if name not in self._kept:
            made = self._sources.of_encoder(name, encoder)
            self._kept[name] = Kept(made, self._rows, self._views)
        return self._kept[name]

    def of_pixels(self) -> Kept:
        """See ``Sources.of_pixels``."""
        if "pixels" not in self._kept:
            self._kept["pixels"] = Kept(self._sources.of_pixels(), None, self._views)
        return self._kept["pixels"]

    def forget_views(self) -> None:
        """Let go of the augmented views: no linear head comes any more."""
        for kept in self._kept.values():
            kept.forget_views()
