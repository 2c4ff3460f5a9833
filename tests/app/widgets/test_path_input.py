"""A path completes by Tab and by the right arrow, and Tab still leads on."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.app import App, ComposeResult

from moco_tui.widgets.line_input import LineInput
from moco_tui.widgets.path_input import PathInput


class Form(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.offered: list[tuple[str, ...]] = []

    def compose(self) -> ComposeResult:
        yield PathInput(select_on_focus=False)
        yield LineInput(id="next")

    def on_path_input_candidates(self, event: PathInput.Candidates) -> None:
        self.offered.append(event.names)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("photos/test", "photos/train", "phones"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def test_tab_completes_shows_and_goes_on(place: Path) -> None:
    app = Form()
    async with app.run_test() as pilot:
        path = app.query_one(PathInput)
        await pilot.press(*"ph", "tab")
        assert (path.value, app.offered[-1]) == ("pho", ("phones/", "photos/"))
        await pilot.press("t", "tab")
        assert (path.value, app.offered[-1]) == ("photos/", ("test/", "train/"))
        assert app.focused is path
        await pilot.press("tab")
        assert app.focused is app.query_one("#next")
        assert path.value == "photos/", "what is whole is not gone beyond"
        assert app.offered[-1] == ()


async def test_the_right_arrow_completes_at_the_end_and_moves_elsewhere(place: Path) -> None:
    app = Form()
    async with app.run_test() as pilot:
        path = app.query_one(PathInput)
        await pilot.press(*"photos", "right", "right")
        assert path.value == "photos/t"
        await pilot.press("home", "right", "X")
        assert path.value == "pXhotos/t"


async def test_where_nothing_is_found_tab_is_tab(place: Path) -> None:
    app = Form()
    async with app.run_test() as pilot:
        await pilot.press(*"gone/x", "tab")
        assert app.query_one(PathInput).value == "gone/x"
        assert app.focused is app.query_one("#next")
