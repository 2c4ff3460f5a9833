"""A folder of images: how a setting names it."""

from __future__ import annotations

from engine.config.data.data_set import DataSetPart

PART = DataSetPart(
    name="folder",
    summary="the images in a folder, resized",
    work="engine.data.image_folder:load",
    argument="PATH",
    sample="engine.data.image_folder:sample",
    decodes=True,
)
