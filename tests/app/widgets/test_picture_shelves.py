"""Pictures fit their panel, whatever its size, and the cursor stays in sight."""

from __future__ import annotations

import pytest
from textual.app import ComposeResult
from textual.geometry import Region

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


@pytest.mark.parametrize("size", [(80, 22), (160, 44), (30, 10)])
async def test_pictures_of_the_terminal_fill_the_cells_of_those_in_blocks(
    size: tuple[int, int],
) -> None:
    app = OneWidget()
    async with app.run_test(size=size) as pilot:
        widget = app.query_one(PictureShelves)
        pictures = [picture(n) for n in range(4)]
        widget.show(pictures, SIZE, "images", shelves(2), head=3, lines=["cat"])
        widget.focus()
        await pilot.pause()
        for keys in ([], ["right"] * 7, ["down"]):
            await pilot.press(*keys)
            lines = [widget.render_line(y).text for y in range(size[1])]
            blocks = {(y, x) for y, line in enumerate(lines) for x in range(size[0])
                      if line[x : x + 1] == "▀"}  # fmt: skip
            filled = [
                (spot.y + y, spot.x + x)
                for spot in widget.spots
                for y in range(spot.rows)
                for x in range(spot.columns)
            ]
            assert len(filled) == len(set(filled))
            assert set(filled) == blocks
            for spot in widget.spots:
                assert spot.side == SIZE
                below = lines[spot.y + spot.rows][spot.x :] if spot.y > 0 else ""
                number = below.partition("/")[2].partition(" ")[0]
                assert spot.picture == pictures[int(number) % 4 if number else 3]


async def test_a_move_of_the_cursor_writes_captions_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    app = OneWidget()
    async with app.run_test(size=(80, 22)) as pilot:
        widget = app.query_one(PictureShelves)
        widget.show([picture(n) for n in range(4)], SIZE, "images", shelves(1))
        widget.focus()
        await pilot.pause()
        written: list[Region] = []
        monkeypatch.setattr(widget, "refresh", lambda *regions, **_: written.extend(regions))
        await pilot.press("right")
        assert written
        rows = {y for spot in widget.spots for y in range(spot.y, spot.y + spot.rows)}
        assert not rows & {y for area in written for y in range(area.y, area.bottom)}


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
