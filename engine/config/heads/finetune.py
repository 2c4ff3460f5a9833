"""Settings of the ``finetune`` head; the work is in ``engine.probe.finetune``."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta
from msgspec.structs import replace

from engine.config.heads.head_config import HeadConfig
from engine.config.phrases import numbers
from engine.config.registry import Part


class FinetuneConfig(HeadConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole encoder, trained on the labelled images: the twin of training from scratch.

    Everything but the start is that of the supervised baseline, and so are the settings: epochs,
    batch, weight decay and augmentations are those of ``supervised``. The classifier starts as the
    logistic head on the frozen features (arXiv:2202.10054), whose settings are those of
    ``logistic``.
    """

    trains_encoder: ClassVar[bool] = True
    depends_on: ClassVar[tuple[str, ...]] = ("logistic", "supervised")

    # The two rates of the supervised baseline, and lower ones: large steps from a good start
    # forget it (arXiv:2202.10054, section 3).
    lr: Annotated[
        tuple[Annotated[float, Meta(ge=0.0, le=1000.0)], ...],
        Meta(
            min_length=1,
            description="learning rates to choose from, inside the labelled part; 0, the frozen "
            "encoder, is always among them",
        ),
    ] = (0.001, 0.005, 0.02, 0.1)

    @property
    def rates(self) -> tuple[float, ...]:
        """The rates that move the encoder, ascending."""
        return tuple(sorted({rate for rate in self.lr if rate > 0.0}))

    def subject(self, labels: int) -> str:
        """See ``HeadConfig.subject``."""
        return (
            f"The whole encoder, fine-tuned on the {labels:,} labelled images with BatchNorm over "
            "the whole batch"
        )

    def method(self, chosen: str) -> str:
        """See ``HeadConfig.method``."""
        return (
            "the classifier starts as the logistic head on the frozen features, standardised on "
            "these images; augmentations, epochs, batch and schedule of the training from scratch; "
            f"learning rate {chosen}, the frozen encoder among the choices"
        )

    def sentence(self) -> str:
        """See ``HeadConfig.sentence``."""
        return (
            "Finetune head: the whole encoder trained on the labelled images, as the supervised "
            "baseline but for the start: BatchNorm over the whole batch, the classifier begins as "
            f"the logistic head on the frozen features, learning rate from {numbers(self.rates)} "
            "or none: the encoder stays frozen where a training with the best rate is not better "
            "on held-out labelled images, or where none can be held out."
        )

    def with_passes(self, count: int) -> FinetuneConfig:
        """The frozen head alone: a dry run times the trainings as those from scratch."""
        return replace(self, lr=(0.0,))


FINETUNE = Part(
    "finetune",
    "the whole encoder, trained on the labels",
    "engine.probe.finetune:FinetuneHead",
    FinetuneConfig,
)
