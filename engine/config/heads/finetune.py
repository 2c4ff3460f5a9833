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

    # The two rates of the supervised baseline, and a fifth of the lower one: large steps from a
    # good start forget it (arXiv:2202.10054, section 3).
    lr: Annotated[
        tuple[Annotated[float, Meta(ge=0.0, le=1000.0)], ...],
        Meta(
            min_length=1,
            description="learning rates of the backbone to choose from, inside the labelled part; "
            "0, the frozen encoder, is always among them",
        ),
    ] = (0.004, 0.02, 0.1)
    # The lower one of the supervised baseline. The classifier starts at an optimum, so it is not
    # tried with several.
    head_lr: Annotated[
        float,
        Meta(
            ge=0.0,
            le=1000.0,
            description="learning rate of the classifier; 0: that of the backbone",
        ),
    ] = 0.02
    fixed_lr: Annotated[
        float,
        Meta(
            ge=0.0,
            le=1000.0,
            description="learning rate of the backbone where nothing can be held out to choose by; "
            "0: the encoder stays frozen there",
        ),
    ] = 0.004
    choose_length: Annotated[
        bool,
        Meta(
            description="choose the length, too: a quarter of supervised.epochs or all of them; "
            "off: all of them",
        ),
    ] = True

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
            f"learning rate of the backbone {chosen}, the frozen encoder among the choices"
        )

    def classifier_words(self) -> str:
        """The learning rate of the classifier, in words."""
        return f"{self.head_lr:g} for the classifier" if self.head_lr else "one for the whole net"

    def sentence(self) -> str:
        """See ``HeadConfig.sentence``."""
        untuned = (
            f"{self.fixed_lr:g} for the backbone at the whole length"
            if self.fixed_lr and self.rates
            else "the encoder stays frozen"
        )
        return (
            "Finetune head: the whole encoder trained on the labelled images, as the supervised "
            "baseline but for the start: BatchNorm over the whole batch, the classifier begins as "
            "the logistic head on the frozen features, learning rate of the backbone from "
            f"{numbers(self.rates)}, {self.classifier_words()}, or none: the encoder stays frozen "
            "where a training with the best rate is not better on held-out labelled images; where "
            f"nothing is held out, {untuned}."
        )

    def lengths_sentence(self, length: str) -> str:
        """How rate and length are chosen: a sentence of a study's protocol.

        Args:
            length: of a training from scratch, as in ``200 epochs``.
        """
        decides = (
            "one of the whole length decides between that, the quarter and the frozen encoder"
            if self.choose_length
            else "one of the whole length decides against the frozen encoder"
        )
        return (
            f"Fine-tuning takes {length}, random shift and flip, as training from scratch; trials "
            f"of a quarter of that choose the rate, and {decides}."
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
