"""The shares of a kernel's programs: every row of a group is in one part, and none is empty."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kernels import choices
from engine.kernels.choices import CHOICES, KernelChoice
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
    choice=st.builds(
        KernelChoice,
        tile=st.sampled_from([512, 1024, 4096]),
        unroll=st.just(1),
        warps=st.just(8),
        programs=st.integers(1, 2000),
    ),
    least=st.sampled_from([1, 16]),
)
def test_parts_hold_every_row_once(
    rows: int, groups: int, channels: int, choice: KernelChoice, least: int
) -> None:
    found = tiles(rows, groups, channels, choice, least=least)
    assert (found.parts - 1) * found.rows_per_part < rows <= found.parts * found.rows_per_part
    assert found.rows_per_part % found.rows == 0
    assert (found.column_blocks - 1) * found.columns < channels
    assert found.column_blocks * found.columns >= channels
    assert found.rows == power_of_two(found.rows) >= least
    assert found.columns == power_of_two(found.columns) >= least
    assert found.rows * found.columns <= max(choice.tile, least * found.columns)
    assert found.parts * groups * found.column_blocks <= max(
        choice.programs, groups * found.column_blocks
    )


@given(parts=st.integers(1, 528), groups=st.integers(1, 256), channels=st.integers(1, 3000))
def test_a_merging_program_reads_all_parts_of_a_group(
    parts: int, groups: int, channels: int
) -> None:
    found = merge_tiles(parts, groups, channels)
    assert parts <= found.parts < 2 * parts
    assert found.groups * found.parts <= max(choices.MERGE_TILE, found.parts)
    assert found.column_blocks * choices.MERGE_COLUMNS >= channels


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_is_one_that_can_be_launched(name: str) -> None:
    choice = CHOICES[name]
    assert choice.tile == power_of_two(choice.tile)
    assert choice.unroll == power_of_two(choice.unroll)
    assert choice.warps in (1, 2, 4, 8, 16)
    assert choice.tile >= 32 * choice.warps
    # Else the sums of the parts of one group would not fit the registers that merge them.
    assert choice.programs <= 8 * choices.MERGE_TILE


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
