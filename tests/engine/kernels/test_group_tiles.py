"""The shares of a kernel's programs: every row of a group is in one part, and none is empty."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.kernels import group_tiles
from engine.kernels.group_tiles import bytes_moved, merge_tiles, power_of_two, tiles

# (channels, height, width) of the input of each BatchNorm, counted by hand from the papers' tables.
CONVNET = [(32, 30, 30), (64, 13, 13), (128, 4, 4)]
RESNET18 = [
    *[(64, 32, 32)] * 5,
    *[(128, 16, 16)] * 5,
    *[(256, 8, 8)] * 5,
    *[(512, 4, 4)] * 5,
]


@given(
    rows=st.integers(1, 10**6),
    groups=st.integers(1, 512),
    channels=st.integers(1, 3000),
    share=st.sampled_from([1, 2, 4]),
)
def test_parts_hold_every_row_once(rows: int, groups: int, channels: int, share: int) -> None:
    found = tiles(rows, groups, channels, share=share)
    assert (found.parts - 1) * found.rows_per_part < rows <= found.parts * found.rows_per_part
    assert found.rows_per_part % found.rows == 0
    assert (found.column_blocks - 1) * found.columns < channels
    assert found.column_blocks * found.columns >= channels
    assert found.rows == power_of_two(found.rows)
    assert found.columns == power_of_two(found.columns)
    assert found.rows * found.columns * share <= group_tiles.TILE
    assert found.parts * groups * found.column_blocks <= max(
        group_tiles.PROGRAMS, groups * found.column_blocks
    )


@given(parts=st.integers(1, 528), splits=st.integers(1, 256), channels=st.integers(1, 3000))
def test_a_merging_program_reads_all_parts_of_a_group(
    parts: int, splits: int, channels: int
) -> None:
    found = merge_tiles(parts, splits, channels)
    assert parts <= found.parts < 2 * parts
    assert found.splits * found.parts <= max(group_tiles.MERGE_TILE, found.parts)
    assert found.column_blocks * group_tiles.MERGE_COLUMNS >= channels


def test_what_the_kernels_of_the_presets_move() -> None:
    """The bytes of a step, query encoder and key encoder, in bfloat16 and float32.

    notebook: 1,024 images (two views of 512); resnet18-moco: 512 images of either view. A card that
    moves 3.35 TB/s (H100, by its data sheet) needs 0.21 ms for the first and 2.4 for the second.
    """
    found = {}
    for size in (2, 4):
        notebook = sum(
            sum(bytes_moved(1024, *shape, size=size, pooled=True, gradient=gradient).values())
            for shape in CONVNET
            for gradient in (True, False)
        )
        # Of the five BatchNorms of a stage two come before a residual is added, and from the second
        # stage on one is that of the shortcut, which has no ReLU.
        resnet = 0
        for number, shape in enumerate(RESNET18):
            place = number % 5
            residual, relu = place in (2, 4), number < 5 or place != 3
            for gradient in (True, False):
                resnet += sum(
                    bytes_moved(
                        512,
                        *shape,
                        size=size,
                        pooled=False,
                        residual=residual,
                        relu=relu,
                        gradient=gradient,
                    ).values()
                )
        found[size] = (round(notebook / 1e9, 2), round(resnet / 1e9, 2))
    assert found == {
        2: (0.71, 7.93),
        4: (1.38, 15.85),
    }
