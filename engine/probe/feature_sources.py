"""Where the features of a probe come from: computed for one probe, or once for all of an encoder.

A probe asks for the features of its labelled images, of augmented views of them, and of its test
images. ``FeaturesForOneProbe`` computes them as they are asked for. ``FeaturesForManyProbes``
computes them for all images that the probes of an encoder need between them, and caches them.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from engine.config.schema import AugmentConfig, ModelConfig
from engine.data.dataset import Dataset, ImageRows
from engine.evaluate.features import extract, pixels
from engine.evaluate.native_pass import NativePass
from engine.evaluate.random_init import random_encoder
from engine.models.encoder import Encoder
from engine.native.library import OFF
from engine.probe.augmented_views import (
    LIGHT_AUGMENT,
    EmbedViews,
    affordable_views,
    augmented_features,
)
from engine.probe.labelled_features import LabelledFeatures
from engine.seeds import stream_seed
from engine.sink import Sink

PRETRAINED = "pretrained"
"""Name of the row that a probe is about; the others are those of ``ProbeConfig.baselines``."""

Embed = Callable[[Tensor | ImageRows, Sink | None, str], Tensor]
"""``embed(images, sink, name)``: features (n, D); the sink receives the progress under the name."""

NativeViews = Callable[[], contextlib.AbstractContextManager[EmbedViews | None]]
"""Makes what augments and embeds views by the kernels in C, for as long as it is needed; None where
there is nothing."""


class FeatureSource(Protocol):
    """Features of the images of a data set, by an encoder or as the pixels are."""

    def labelled(self, rows: Tensor, sink: Sink) -> LabelledFeatures:
        """Of the training images ``rows`` (int64, ascending)."""

    def views(
        self,
        rows: Tensor,
        count: int,
        seed: int,
        sink: Sink,
        augment: AugmentConfig = LIGHT_AUGMENT,
    ) -> tuple[Tensor, Tensor]:
        """Of ``count`` augmented views of the training images ``rows``.

        Returns:
            float32 (count, m, D) of at least those images, and int64 (n,): the positions of the n
            images among the m.
        """

    def test(self, rows: Tensor, sink: Sink) -> Tensor:
        """float32 (m, D) of the test images ``rows``."""


class ComputedFeatures:
    """Features that are computed when they are asked for.

    Args:
        name: of the source, for the progress.
        embed: makes them.
        dataset: the images; with test images.
        device: where to augment.
        native_views: as named above.

    Attributes:
        tests: how many test images there are.
    """

    def __init__(
        self,
        name: str,
        embed: Embed,
        dataset: Dataset,
        device: torch.device,
        native_views: NativeViews = contextlib.nullcontext,
    ) -> None:
        assert dataset.test is not None
        self._native_views = native_views
        self._name, self._embed, self._device = name, embed, device
        self._train, self._test = dataset.train.images, dataset.test.images
        self.tests = len(self._test)
        # Apple's GPUs have no float64, which the heads need.
        self._head_device = torch.device("cpu") if device.type == "mps" else device

    def raw(self, rows: Tensor, sink: Sink) -> Tensor:
        """float32 (n, D) of the training images ``rows``, as they come."""
        images = ImageRows(self._train, rows)
        return self._embed(images, sink, f"{self._name}: features").to(self._head_device)

    def labelled(self, rows: Tensor, sink: Sink) -> LabelledFeatures:
        """See ``FeatureSource.labelled``."""
        return LabelledFeatures(self.raw(rows, sink))

    def views(
        self,
        rows: Tensor,
        count: int,
        seed: int,
        sink: Sink,
        augment: AugmentConfig = LIGHT_AUGMENT,
    ) -> tuple[Tensor, Tensor]:
        """See ``FeatureSource.views``."""
        with self._native_views() as embed_views:
            features = augmented_features(
                lambda images: self._embed(images, None, "").to(self._head_device),
                self._train,
                rows,
                views=count,
                seed=seed,
                device=self._device,
                augment=augment,
                sink=sink,
                embed_views=embed_views,
            )
        return features, torch.arange(len(rows), device=self._head_device)

    def test(self, rows: Tensor, sink: Sink) -> Tensor:
        """See ``FeatureSource.test``."""
        images = ImageRows(self._test, rows)
        return self._embed(images, sink, f"{self._name}: test features").to(self._head_device)


class CachedFeatures:
    """Features that many probes share: computed once, for all images that any of them needs.

    The views are kept when they fit into the memory meant for those of one probe. What follows
    from the labelled features alone (their standardisation and spectrum) is kept for the next
    probe of the same images, of another task.

    Args:
        computed: computes them.
        rows: int64, ascending: the training images that any probe needs; None: those of each
            probe are computed anew (pixels, which cost nothing but room).
        views: most views of an image that any probe needs.
    """

    def __init__(self, computed: ComputedFeatures, rows: Tensor | None, views: int) -> None:
        self._computed, self._rows, self._count = computed, rows, views
        self._train: Tensor | None = None
        self._test: Tensor | None = None
        self._views: dict[tuple[int, AugmentConfig], Tensor] = {}
        self._last: tuple[Tensor, LabelledFeatures] | None = None

    def labelled(self, rows: Tensor, sink: Sink) -> LabelledFeatures:
        """See ``FeatureSource.labelled``."""
        if self._last is not None and torch.equal(self._last[0], rows):
            return self._last[1]
        self._last = None  # gives its memory back before the next one is made
        labelled = LabelledFeatures(self.raw(rows, sink))
        self._last = (rows, labelled)
        return labelled

    def raw(self, rows: Tensor, sink: Sink) -> Tensor:
        """See ``ComputedFeatures.raw``; all images pass at the first time."""
        if self._rows is None:
            return self._computed.raw(rows, sink)
        if self._train is None:
            self._train = self._computed.raw(self._rows, sink)
        return self._train[self._places(rows).to(self._train.device)]

    def views(
        self,
        rows: Tensor,
        count: int,
        seed: int,
        sink: Sink,
        augment: AugmentConfig = LIGHT_AUGMENT,
    ) -> tuple[Tensor, Tensor]:
        """See ``FeatureSource.views``."""
        everything = self._rows
        if (
            everything is None
            or self._train is None  # the width of the features is not known yet
            or count > self._count  # a head of the user's own may want more than the settings say
            or not self._fits(len(everything))
        ):
            return self._computed.views(rows, count, seed, sink, augment)
        drawn = (seed, augment)
        if drawn not in self._views:
            self._views = {}  # gives the memory of other views back first
            made, _ = self._computed.views(everything, self._count, seed, sink, augment)
            self._views = {drawn: made}
        return self._views[drawn][:count], self._places(rows)

    def test(self, rows: Tensor, sink: Sink) -> Tensor:
        """See ``FeatureSource.test``; all test images pass at the first time."""
        if self._rows is None:
            return self._computed.test(rows, sink)
        if self._test is None:
            self._test = self._computed.test(torch.arange(self._computed.tests), sink)
        return self._test[rows.to(self._test.device)]

    def forget_views(self) -> None:
        """Give the memory of the views back, when no head that uses them follows."""
        self._views = {}

    def _fits(self, images: int) -> bool:
        assert self._train is not None
        return affordable_views(self._count, images, self._train.shape[1]) == self._count

    def _places(self, rows: Tensor) -> Tensor:
        """Positions of images among those that are cached; both ascend."""
        assert self._rows is not None
        return torch.searchsorted(self._rows, rows)


class FeaturesForOneProbe:
    """The sources of one probe.

    Args:
        pretrained: the encoder; moved to ``device`` when it is first asked for, not before: a
            probe may have to wait until the device is its own.
        model: its architecture, for the baselines.
        dataset: with labels and test images.
        mean: float32 (3,), of the channels in [0, 1], as in the pretraining.
        std: float32 (3,).
        device: where to compute.
        kernels: level of the kernels in C that a CPU uses (``engine.native``), or ``off``.
    """

    def __init__(
        self,
        pretrained: Encoder,
        model: ModelConfig,
        dataset: Dataset,
        mean: Tensor,
        std: Tensor,
        device: torch.device,
        kernels: str = OFF,
    ) -> None:
        self.pretrained, self.model, self.dataset = pretrained, model, dataset
        self.mean, self.std, self.device, self.kernels = mean, std, device, kernels

    def encoder(self, name: str, seed: int, sink: Sink) -> Encoder:
        """The pretrained encoder, or the one of random weights that belongs to ``seed``."""
        if name == PRETRAINED:
            return self.pretrained.to(self.device)
        return random_encoder(
            self.model,
            self.dataset.train.images,
            mean=self.mean,
            std=self.std,
            device=self.device,
            seed=stream_seed(seed, name),
            sink=sink,
            kernels=self.kernels,
        )

    def of_encoder(self, name: str, encoder: Encoder) -> ComputedFeatures:
        """The features before an encoder's projection."""

        def embed(images: Tensor | ImageRows, sink: Sink | None, stage: str) -> Tensor:
            return extract(
                encoder,
                images,
                mean=self.mean,
                std=self.std,
                device=self.device,
                what="backbone",
                sink=sink,
                stage=stage,
                kernels=self.kernels,
            )

        @contextlib.contextmanager
        def native_views() -> Iterator[EmbedViews | None]:
            backbone, width = encoder.backbone, encoder.feature_dim
            if not NativePass.can_take(backbone, self.kernels, self.device):
                yield None
                return
            options: Any = {"mean": self.mean, "std": self.std, "kernels": self.kernels}
            with NativePass(backbone, **options) as native:
                yield functools.partial(native.views, width=width)

        return ComputedFeatures(name, embed, self.dataset, self.device, native_views)

    def of_pixels(self) -> ComputedFeatures:
        """The values of the images themselves."""
        return ComputedFeatures(
            "pixels", lambda images, *_: pixels(images).to(self.device), self.dataset, self.device
        )


class FeaturesForManyProbes:
    """The sources of all probes of one encoder, with the same seed.

    Args:
        sources: computes what is cached here.
        rows: int64, ascending: the training images that any of the probes may use.
        views: most augmented views of an image that any of them needs.
    """

    def __init__(self, sources: FeaturesForOneProbe, rows: Tensor, views: int) -> None:
        self._sources, self._rows, self._views = sources, rows, views
        self.pretrained, self.model, self.dataset = (
            sources.pretrained,
            sources.model,
            sources.dataset,
        )
        self.mean, self.std, self.device = sources.mean, sources.std, sources.device
        self.kernels = sources.kernels
        self._encoders: dict[tuple[str, int], Encoder] = {}
        self._cached: dict[str, CachedFeatures] = {}

    def encoder(self, name: str, seed: int, sink: Sink) -> Encoder:
        """See ``FeaturesForOneProbe.encoder``."""
        if (name, seed) not in self._encoders:
            self._encoders[name, seed] = self._sources.encoder(name, seed, sink)
        return self._encoders[name, seed]

    def of_encoder(self, name: str, encoder: Encoder) -> CachedFeatures:
        """See ``FeaturesForOneProbe.of_encoder``."""
        if name not in self._cached:
            computed = self._sources.of_encoder(name, encoder)
            self._cached[name] = CachedFeatures(computed, self._rows, self._views)
        return self._cached[name]

    def of_pixels(self) -> CachedFeatures:
        """See ``FeaturesForOneProbe.of_pixels``."""
        if "pixels" not in self._cached:
            self._cached["pixels"] = CachedFeatures(self._sources.of_pixels(), None, self._views)
        return self._cached["pixels"]

    def forget_views(self) -> None:
        """Give the memory of all views back, when no head that uses them follows."""
        for features in self._cached.values():
            features.forget_views()
