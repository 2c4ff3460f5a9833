"""The line of keys: what fits, what always stays, and that a click presses."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from moco_tui.app import MocoApp
from moco_tui.screens.help_screen import HelpScreen
from moco_tui.widgets.key_line import KeyLine


def line(app: MocoApp) -> str:
    return app.screen.query_one(KeyLine).render_line(0).text.rstrip()


@pytest.mark.parametrize("width", [160, 80, 40, 20])
async def test_the_way_out_and_to_help_stay_in_sight(
    make_app: Callable[..., MocoApp], width: int
) -> None:
    app = make_app()
    async with app.run_test(size=(width, 24)) as pilot:
        await pilot.pause()
        assert line(app).endswith("q Quit ? Help")
        assert len(line(app)) <= width
        shown = line(app).removesuffix("q Quit ? Help").split()
        everything = [b for _, b, _, _ in app.screen.active_bindings.values() if b.show]
        words = " ".join(f"{app.get_key_display(b)} {b.description}" for b in everything)
        assert all(word in words.split() for word in shown)
        if width == 160:
            missing = [b.description for b in everything if b.description not in line(app)]
            assert missing == ["Manual"], "it shares the place of Help, whose key is shorter"


async def test_a_click_presses_the_key(make_app: Callable[..., MocoApp]) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.click(KeyLine, offset=(line(app).index("Help"), 0))
        await pilot.pause()
        assert isinstance(app.screen, HelpScreen)


@pytest.mark.parametrize(("width", "shown"), [(160, True), (80, False)])
async def test_a_note_stands_where_the_keys_leave_room(
    make_app: Callable[..., MocoApp], width: int, shown: bool
) -> None:
    app = make_app()
    async with app.run_test(size=(width, 24)) as pilot:
        await pilot.pause()
        keys = line(app)
        app.screen.query_one(KeyLine).note = "the app: 2 % of a core, and so on, and so on, to here"
        assert line(app).startswith(keys), "no key gives way to it"
        assert line(app).endswith("to here") == shown
