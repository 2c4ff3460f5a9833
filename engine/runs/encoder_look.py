"""What an encoder makes of some images, as plain data: neighbours, shares, confusions, a map.

``engine.jobs.look_at`` computes it; screens and commands show it without torch.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

MOST_IMAGES = 2000
"""Images that a look takes at most: every pair of them is compared."""
FEWEST_IMAGES = 3
MOST_ENCODERS = 4
"""Encoders that stand side by side at most."""
AT = (1, 10, 100)
"""Numbers of neighbours of which the share of the same class is told."""

Part = Literal["test", "withheld"]


class LookRequest(Struct, frozen=True, kw_only=True):
    """What a person wants to look at.

    Attributes:
        encoders: id of each run, and which of its checkpoints, see
            ``kept_checkpoints.checkpoint_file``.
        part: ``test`` images, or the training images whose labels are ``withheld`` from the kNN
            monitor; empty: test if there are any.
        limit: most images.
        untrained: also the encoder of random weights that belongs to each.
        data: the data set; empty: that of the first run.
        device: where to compute, as in ``runtime.device``.
    """

    encoders: tuple[tuple[str, str], ...]
    part: Part | Literal[""] = ""
    limit: int = MOST_IMAGES
    untrained: bool = False
    data: str = ""
    device: str = "auto"


class EncoderView(Struct, frozen=True, kw_only=True):
    """What one encoder makes of the images; N of them, of C classes.

    Attributes:
        label: id of the run and the checkpoint; of the untrained one the id and `` untrained``.
        title: what people call the run.
        epoch: of pretraining behind it; None where that is not known, 0 of an untrained one.
        neighbours: of each image the k others nearest by cosine, the nearest first.
        similarity: their cosines, in [-1, 1].
        shares: by number of neighbours (``AT``, as far as there are as many) the share in [0, 1]
            of neighbours of the image's own class, the mean over all images.
        predicted: of each image the class for which its nearest others vote.
        confusion: C lists of C counts: rows are the classes, columns what was voted for.
        pca: N points, the two leading principal components.
        explained: the shares in [0, 1] of the variance along these two.
        components: float32 (N, m), little-endian, row by row: the m leading components, which a
            t-SNE begins with.
    """

    label: str
    title: str
    epoch: float | None
    neighbours: list[list[int]]
    similarity: list[list[float]]
    shares: dict[int, float]
    predicted: list[int]
    confusion: list[list[int]]
    pca: list[tuple[float, float]]
    explained: tuple[float, float]
    components: bytes

    @property
    def accuracy(self) -> float:
        """The share in [0, 1] of images whose own class was voted for."""
        right = sum(row[i] for i, row in enumerate(self.confusion))
        return right / max(sum(map(sum, self.confusion)), 1)


class Look(Struct, frozen=True, kw_only=True):
    """The images and what each encoder makes of them.

    Attributes:
        data: the data set.
        part: see ``LookRequest``; never empty.
        whole: labelled images of that part, of which these were chosen.
        class_names: C names.
        rows: of each image its number in the data set.
        labels: of each its class.
        size: height and width of ``pictures`` in pixels.
        pictures: RGB of each image, row by row: ``3 * size * size`` bytes.
        encoders: at least one.
        notices: sentences that a person should know.
    """

    data: str
    part: Part
    whole: int
    class_names: list[str]
    rows: list[int]
    labels: list[int]
    size: int
    pictures: list[bytes]
    encoders: list[EncoderView]
    notices: list[str] = []
