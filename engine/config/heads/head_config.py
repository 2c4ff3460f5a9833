"""What every head of a probe declares without torch: settings, words for the protocol, costs."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct


class HeadConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The settings of a head; the fields are those of its subclass.

    Attributes:
        draws_random: whether its result depends on ``runtime.seed``. Where it does not, a study
            reuses the result of an earlier probe with another seed.
        trains_encoder: whether it trains a copy of the encoder, or works on frozen features.
        depends_on: other sections of a probe's settings that its result depends on.
    """

    draws_random: ClassVar[bool] = True
    trains_encoder: ClassVar[bool] = False
    depends_on: ClassVar[tuple[str, ...]] = ()

    def subject(self, labels: int) -> str:
        """What the head works on, for the protocol of a probe with so many labelled images."""
        return (
            f"Frozen features before the projection, standardised on the {labels:,} labelled images"
        )

    def method(self, chosen: str) -> str:
        """What is fitted and how, for the protocol of a probe.

        Args:
            chosen: how the regularisation was chosen, as in ``chosen on 40 of the labelled
                images``; to stand behind the name of the setting.
        """
        raise NotImplementedError

    def sentence(self) -> str:
        """What is fitted, with the figures of these settings: a sentence of a study's protocol."""
        raise NotImplementedError

    def views_per_image(self) -> int:
        """Augmented views of each image that the head is fitted to; 0: the images as they are."""
        return 0

    def passes(self) -> int:
        """Passes over the labelled features in one fit; a dry run scales its time by this."""
        return 1

    def with_passes(self, count: int) -> HeadConfig:
        """These settings, cut to ``count`` passes and one view: for a dry run."""
        return self


class OwnHeadConfig(HeadConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Stands in for the settings of a user's own head, which are not known here.

    Attributes:
        path: ``package.module:Name``.
    """

    path: str = ""

    def method(self, chosen: str) -> str:
        """See ``HeadConfig.method``."""
        return f"the head {self.path} (settings {chosen})"

    def sentence(self) -> str:
        """See ``HeadConfig.sentence``."""
        return f"Head {self.path}: code of the user's own."
