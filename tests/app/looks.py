"""A look with fixed numbers: four classes whose points lie in overlapping rings."""

from __future__ import annotations

import math

from engine.runs.encoder_look import AT, EncoderView, Look, Part

NAMES = ["airplane", "bird", "cat", "ship"]
COLOURS = [(70, 120, 200), (200, 180, 60), (190, 90, 70), (60, 150, 120)]
COUNT = 80
SIZE = 16


def picture(image: int) -> bytes:
    """A disc in the colour of the class, at another place for each image."""
    colour = COLOURS[image % 4]
    x0, y0 = 4 + image % 7, 4 + image % 5
    pixels = bytearray()
    for y in range(SIZE):
        for x in range(SIZE):
            inside = (x - x0) ** 2 + (y - y0) ** 2 < 22
            pixels += bytes(colour if inside else tuple(part // 4 for part in colour))
    return bytes(pixels)


def points_of(spread: float) -> list[tuple[float, float]]:
    found = []
    for image in range(COUNT):
        angle, radius = math.pi / 2 * (image % 4), 1.0
        noise = image * 2.399963  # the golden angle: even, and no two alike
        far = spread * math.sqrt((image // 4 + 0.5) / (COUNT / 4))
        x = radius * math.cos(angle) + far * math.cos(noise)
        found.append((x, radius * math.sin(angle) + far * math.sin(noise)))
    return found


def view_of(label: str, spread: float, epoch: float) -> EncoderView:
    points = points_of(spread)
    labels = [image % 4 for image in range(COUNT)]
    neighbours, similarity = [], []
    for image, here in enumerate(points):
        away = sorted(
            (math.dist(here, there), other) for other, there in enumerate(points) if other != image
        )
        neighbours.append([other for _, other in away])
        similarity.append([math.exp(-distance) for distance, _ in away])
    predicted = []
    for row in neighbours:
        votes = [sum(labels[other] == one for other in row[:5]) for one in range(4)]
        predicted.append(votes.index(max(votes)))
    confusion = [[0] * 4 for _ in range(4)]
    for label_, found in zip(labels, predicted, strict=True):
        confusion[label_][found] += 1
    shares = {
        n: sum(labels[o] == labels[i] for i, row in enumerate(neighbours) for o in row[:n])
        / (n * COUNT)
        for n in AT
        if n < COUNT
    }
    return EncoderView(
        label=label,
        title="notebook",
        epoch=epoch,
        neighbours=neighbours,
        similarity=similarity,
        shares=shares,
        predicted=predicted,
        confusion=confusion,
        pca=points,
        explained=(0.31, 0.22),
        components=bytes(4 * 50 * COUNT),
    )


def some_look(*, untrained: bool = False, part: Part = "test") -> Look:
    encoders = [view_of("k7m2qx", 1.1, 12.0)]
    if untrained:
        encoders.append(view_of("k7m2qx untrained", 2.0, 0.0))
    return Look(
        data="cifar10",
        part=part,
        whole=10_000,
        class_names=NAMES,
        rows=[100 + 3 * image for image in range(COUNT)],
        labels=[image % 4 for image in range(COUNT)],
        size=SIZE,
        pictures=[picture(image) for image in range(COUNT)],
        encoders=encoders,
    )
