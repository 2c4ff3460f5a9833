"""Pictures fit their panel, whatever its size, and the cursor stays in sight."""

from __future__ import annotations

import pytest
from textual.app import ComposeResult

from moco_tui.terminal.themed_app import ThemedApp
from moco_tui.widgets.picture_cells import resized
from moco_tui.widgets.picture_shelves import PictureShelves, Shelf, Tile

from ..looks import SIZE, picture


class OneWidget(ThemedApp):
    def compose(self) -> ComposeResult:
        yield PictureShelves()


def shelves(count: int, tiles: int = 20) -> list[Shelf]:
    return [
        Shelf(f"shelf {n}", [Tile(i % 4, f"{n}/{i}", i % 2 == 0) for i in range(tiles)])
        for n in range(count)
    ]


@pytest.mark.parametrize("size", [(80, 22), (160, 44), (62, 30), (30, 10), (17, 9)])
@pytest.mark.parametrize("count", [1, 2, 4])
async def test_what_the_cursor_is_on_is_drawn(size: tuple[int, int], count: int) -> None:
    app = OneWidget()
    async with app.run_test(size=size) as pilot:
        widget = app.query_one(PictureShelves)
        pictures = [picture(n) for n in range(4)]
        widget.show(pictures, SIZE, "images", shelves(count), head=0, lines=["cat"])
        widget.focus()
        await pilot.pause()
        for keys in (["right"] * 7, ["down"] * 5, ["left"] * 3, ["up"] * 9):
            await pilot.press(*keys)
            shelf, place = widget.cursor
            text = [widget.render_line(y).text for y in range(widget.size.height)]
            assert any(f"{shelf}/{place} " in f"{line} " for line in text), (keys, text)
            assert all(
                widget.render_line(y).cell_length == widget.size.width
                for y in range(widget.size.height)
            )


def test_a_smaller_picture_is_the_mean_of_what_it_covers() -> None:
    source = bytes(range(4 * 4 * 3))
    found = resized(source, 4, 2)
    for row, column, channel in ((0, 0, 0), (1, 0, 2), (1, 1, 1)):
        covered = [
            source[((2 * row + y) * 4 + 2 * column + x) * 3 + channel]
            for y in range(2)
            for x in range(2)
        ]
        assert abs(found[(row * 2 + column) * 3 + channel] - sum(covered) / 4) <= 0.5
    assert resized(source, 4, 4) == source
    assert len(resized(source, 4, 8)) == 8 * 8 * 3
