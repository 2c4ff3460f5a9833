"""Settings of the ``linear`` head; the work is in ``engine.probe.linear``."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta
from msgspec.structs import replace

from engine.config.heads.head_config import HeadConfig
from engine.config.phrases import numbers, plural
from engine.config.registry import Part


class LinearConfig(HeadConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Linear layer, SGD on augmented images (arXiv:1911.05722, section 4.1).

    The paper trains 100 epochs without weight decay, as here. Its learning rate of 30 is for
    features that are not standardised; these are, so the rates to choose from are ordinary ones.
    """

    epochs: Annotated[
        int, Meta(ge=1, le=100_000, description="epochs", extra={"unit": "epochs"})
    ] = 100
    batch_size: Annotated[
        int, Meta(ge=1, le=65536, description="labelled images in a step", extra={"unit": "images"})
    ] = 256
    lr: Annotated[
        tuple[Annotated[float, Meta(gt=0.0, le=1000.0)], ...],
        Meta(min_length=1, description="learning rates to choose from, inside the labelled part"),
    ] = (0.001, 0.003, 0.01, 0.03, 0.1)
    weight_decay: Annotated[float, Meta(ge=0.0, description="weight decay of SGD")] = 0.0
    # The encoder is frozen, so features can be computed once: a fit costs 10 feature passes and not
    # one for each of 100 epochs.
    views: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000,
            description="augmented views of each image whose features are cached; epochs cycle "
            "through them",
        ),
    ] = 10
    # 0.08 as in the linear protocol of facebookresearch/moco (main_lincls.py), whose
    # RandomResizedCrop has torchvision's default.
    crop_min: Annotated[
        float,
        Meta(gt=0.0, le=1.0, description="smallest crop of such a view, as a share of the area"),
    ] = 0.08

    def method(self, chosen: str) -> str:
        """See ``HeadConfig.method``."""
        return f"linear layer (SGD on augmented images, learning rate {chosen})"

    def sentence(self) -> str:
        """See ``HeadConfig.sentence``."""
        return (
            f"Linear head: SGD on augmented images (features of {plural(self.views, 'view')} of "
            f"each, crops from {100 * self.crop_min:g} % of the area), "
            f"{plural(self.epochs, 'epoch')}, batch {self.batch_size}, learning rate from "
            f"{numbers(self.lr)}, weight decay {self.weight_decay:g}."
        )

    def views_per_image(self) -> int:
        """See ``HeadConfig.views_per_image``."""
        return self.views

    def passes(self) -> int:
        """See ``HeadConfig.passes``."""
        return self.epochs

    def with_passes(self, count: int) -> LinearConfig:
        """See ``HeadConfig.with_passes``."""
        return replace(self, views=1, epochs=count)


LINEAR = Part("linear", "SGD on augmented images", "engine.probe.linear:LinearHead", LinearConfig)
