"""The preview on a terminal that shows pictures of any number of pixels."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from moco_tui.app import MocoApp
from moco_tui.present.augment_preview import Picture, Previewer, PreviewRequest
from moco_tui.terminal.picture_protocol import PicturesAnswered
from moco_tui.widgets.preview_panel import PreviewPanel

from ..conftest import until

SIDE = 48


def picture(side: int, light: int) -> Picture:
    return bytes([light]) * (3 * side * side)


async def test_whole_images_are_asked_for_once_it_is_known(
    make_app: Callable[..., MocoApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("textual_image")
    requests: list[PreviewRequest] = []

    def views(self: Previewer, request: PreviewRequest) -> list[tuple[Picture, Picture, Picture]]:
        requests.append(request)
        side = SIDE if request.whole else request.pixels
        return [tuple(picture(side, 10 * n + m) for m in range(3)) for n in range(6)]  # type: ignore[misc]

    monkeypatch.setattr(Previewer, "views", views)
    for name in ("NO_COLOR", "TMUX", "STY", "ZELLIJ", "TERM_PROGRAM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        app.open_form()
        await until(pilot, lambda: app.screen.query_one(PreviewPanel).spots)
        panel = app.screen.query_one(PreviewPanel)
        before = list(panel.spots)
        assert not any(request.whole for request in requests)

        app.post_message(PicturesAnswered("sixel", (10, 20)))
        await until(pilot, lambda: panel.spots and panel.spots[0].side == SIDE)
        assert requests[-1].whole
        places = [(spot.x, spot.y, spot.columns, spot.rows) for spot in panel.spots]
        assert places == [(spot.x, spot.y, spot.columns, spot.rows) for spot in before]
        wanted = [picture(SIDE, 10 * n + m) for n in range(6) for m in range(3)]
        assert [spot.picture for spot in panel.spots] == wanted[: len(places)]
        lines = [panel.render_line(y).text for y in range(panel.size.height)]
        blocks = {(y, x) for y, line in enumerate(lines) for x, sign in enumerate(line)
                  if sign == "▀"}  # fmt: skip
        filled = {(y + b, x + a) for x, y, columns, rows in places
                  for b in range(rows) for a in range(columns)}  # fmt: skip
        assert filled == blocks

        panel.say("no images")
        await pilot.pause()
        panel.render_line(0)
        assert not panel.spots
