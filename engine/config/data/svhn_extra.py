"""SVHN with its 531,131 extra training images, which are easier ones."""

from __future__ import annotations

import msgspec

from engine.config.data import svhn

PART = msgspec.structs.replace(
    svhn.PART,
    name="svhn-extra",
    summary="630,420 digits: SVHN and its extra training images, downloaded once",
    work="engine.data.svhn:load_with_extra",
    train_labels=604_388,
    tasks={},  # those of SVHN, whose classes it has
)
