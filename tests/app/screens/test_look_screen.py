"""Looking at encoders in the app: map, pictures, confusions, other encoders, files."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from engine.errors import UserError
from engine.runs.encoder_look import Look, LookRequest
from moco_tui.app import MocoApp
from moco_tui.screens.dialogs import Ask
from moco_tui.screens.look_screen import LookScreen
from moco_tui.screens.messages import OpenLook
from moco_tui.screens.runs_screen import RunsScreen
from moco_tui.training.look_process import LookCancelled, LookProcess
from moco_tui.widgets.confusion_grid import ConfusionGrid
from moco_tui.widgets.line_input import LineInput
from moco_tui.widgets.look_map import LookMap
from moco_tui.widgets.picture_shelves import PictureShelves
from moco_tui.widgets.run_table import RunTable

from ..conftest import screen_text, some_runs, until
from ..looks import COUNT, NAMES, points_of, some_look

REQUEST = LookRequest(encoders=(("k7m2qx", ""),))
SIZES = [(80, 24), (160, 45)]


class Asked:
    """What the process of a look was asked for; it answers at once."""

    def __init__(self) -> None:
        self.requests: list[LookRequest] = []
        self.maps = 0
        self.cancelled = 0
        self.problem = ""
        self.gate = threading.Event()
        self.gate.set()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    asked = Asked()

    def look(self: LookProcess, request: LookRequest, progress: Callable[..., None]) -> Look:
        asked.requests.append(request)
        progress("features of k7m2qx", 30, 80)
        asked.gate.wait(60)
        if self._cancelled:
            raise LookCancelled
        if asked.problem:
            raise UserError(asked.problem)
        return some_look(untrained=request.untrained, part=request.part or "test")

    def tsne(self: LookProcess, *_: Any) -> list[tuple[float, float]]:
        asked.maps += 1
        if asked.problem:
            raise UserError(asked.problem)
        return [(y, x * x) for x, y in points_of(1.1)]

    def cancel(self: LookProcess) -> None:
        asked.cancelled += 1
        self._cancelled = True

    monkeypatch.setattr(LookProcess, "look", look)
    monkeypatch.setattr(LookProcess, "tsne", tsne)
    monkeypatch.setattr(LookProcess, "cancel", cancel)
    return asked


def told(app: MocoApp, words: str) -> Callable[[], bool]:
    return lambda: any(words in notification.message for notification in app._notifications)


async def opened(pilot: Pilot[Any]) -> LookScreen:
    pilot.app.post_message(OpenLook(REQUEST))
    await until(pilot, lambda: isinstance(pilot.app.screen, LookScreen))
    screen = pilot.app.screen
    assert isinstance(screen, LookScreen)
    await until(pilot, lambda: screen.found is not None)
    await until(pilot, lambda: screen.query_one(LookMap)._dots)
    return screen


@pytest.mark.parametrize("size", SIZES)
async def test_the_panels_show_image_neighbours_confusions_and_words(
    make_app: Callable[..., MocoApp], root: Path, asked: Asked, size: tuple[int, int]
) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        screen = await opened(pilot)
        text = screen_text(app)
        assert "80 of 10,000 test images of cifar10" in text
        assert "PCA 53 %" in text
        assert all(name in text for name in NAMES)  # the legend
        # Dots where there are many points, marks alone where a dot would be lost.
        assert any(0x2800 < ord(c) < 0x2900 for c in text) == (size == (80, 24))
        await pilot.press("2")
        await until(pilot, lambda: "image 100 · airplane" in screen_text(app))
        view = some_look().encoders[0]
        nearest = view.neighbours[0][0]
        sign = "✓" if nearest % 4 == 0 else "✗"
        assert f"{sign} .{100 * view.similarity[0][0]:02.0f}" in screen_text(app)
        assert "✓" in screen_text(app)
        await pilot.press("3")
        await until(pilot, lambda: "taken for itself" in screen_text(app))
        await pilot.press("4")
        await until(pilot, lambda: "confused most" in screen_text(app))
        assert screen.focused is screen.query_one("#words")


async def test_arrows_and_mouse_move_the_cursor_of_the_map(
    make_app: Callable[..., MocoApp], asked: Asked
) -> None:
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        screen = await opened(pilot)
        map_ = screen.query_one(LookMap)
        x, y = map_._dots[0]
        await pilot.press("left")
        await until(pilot, lambda: screen.image != 0)
        assert map_._dots[screen.image][0] < x
        assert screen.query_one(PictureShelves).head == screen.image
        target = max(range(COUNT), key=lambda n: map_._dots[n][1])
        x, y = map_._dots[target]
        await pilot.click(LookMap, offset=(x // 2, map_.size.height - 2 - y // 4))
        await until(pilot, lambda: screen.image == target)


async def test_a_cell_of_the_matrix_leads_to_its_images_and_on_to_one(
    make_app: Callable[..., MocoApp], asked: Asked
) -> None:
    app = make_app()
    look = some_look()
    view = look.encoders[0]
    truth, taken = next(
        (i, j) for i in range(4) for j in range(4) if i != j and view.confusion[i][j]
    )
    expected = [
        image for image in range(COUNT) if image % 4 == truth and view.predicted[image] == taken
    ]
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        # Typed in one go: the keys behind the 3 are meant for the matrix.
        await pilot.press("3", *["down"] * truth, *["right"] * taken, "enter")
        shelves = screen.query_one(PictureShelves)
        await until(pilot, lambda: shelves.head is None)
        assert [tile.image for tile in shelves.shelves[0].tiles] == expected
        assert f"{NAMES[truth]} taken for {NAMES[taken]}" in screen_text(app)
        await pilot.press("right", "enter")
        await until(pilot, lambda: shelves.head is not None)
        assert screen.image == expected[min(1, len(expected) - 1)]


async def test_a_click_chooses_a_cell_and_a_second_opens_it(
    make_app: Callable[..., MocoApp], asked: Asked
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await pilot.press("3")
        grid = screen.query_one(ConfusionGrid)
        await until(pilot, lambda: grid.size.height > 0)
        at = (grid._label_width + 2 * 5 + 1, 2 + 2)
        await pilot.click(ConfusionGrid, offset=at)
        await until(pilot, lambda: grid.cell == (2, 2))
        await pilot.click(ConfusionGrid, offset=at)
        await until(pilot, lambda: screen.query_one(PictureShelves).head is None)


async def test_w_goes_to_the_next_image_that_is_voted_for_wrongly(
    make_app: Callable[..., MocoApp], asked: Asked
) -> None:
    wrong = [i for i, found in enumerate(some_look().encoders[0].predicted) if found != i % 4]
    assert wrong
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        seen = []
        for _ in [*wrong, wrong[0]]:
            await pilot.press("exclamation_mark")
            seen.append(screen.image)
        assert seen == [*wrong, wrong[0]]
        await pilot.press("j", "k", "k")
        assert screen.image == (wrong[0] - 1) % COUNT


async def test_the_untrained_stands_beside_the_trained_with_the_same_image(
    make_app: Callable[..., MocoApp], asked: Asked
) -> None:
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        screen = await opened(pilot)
        await pilot.press("j", "Z")
        await until(pilot, lambda: screen.found and len(screen.found.encoders) == 2)
        assert asked.requests[-1].untrained
        shelves = screen.query_one(PictureShelves)
        assert screen.image == shelves.head == 1
        assert ["untrained" in shelf.title for shelf in shelves.shelves] == [False, True]
        for shelf, view in zip(shelves.shelves, some_look(untrained=True).encoders, strict=True):
            assert [tile.image for tile in shelf.tiles] == view.neighbours[1][:30]
        await pilot.press("V")
        await until(pilot, lambda: "k7m2qx untrained (2 of 2" in screen_text(app))
        await pilot.press("I")
        await until(pilot, lambda: "withheld training images" in screen_text(app))


async def test_a_t_sne_replaces_the_components_and_goes_again(
    make_app: Callable[..., MocoApp], asked: Asked
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        before = list(screen.query_one(LookMap)._dots)
        await pilot.press("J")
        await until(pilot, lambda: "map · t-SNE" in screen_text(app))
        assert screen.query_one(LookMap)._dots != before
        await pilot.press("J")
        await until(pilot, lambda: "map · PCA" in screen_text(app))
        await pilot.press("J")
        await until(pilot, lambda: "map · t-SNE" in screen_text(app))
        assert asked.maps == 1  # it is kept


async def test_without_scikit_learn_a_sentence_says_so_and_the_components_stay(
    make_app: Callable[..., MocoApp], asked: Asked
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        asked.problem = "t-SNE needs scikit-learn; pip install 'moco-tui[look]' brings it."
        await pilot.press("J")
        await until(pilot, told(app, "moco-tui[look]"))
        assert "map · PCA" in screen_text(app)


async def test_a_problem_is_a_sentence_and_other_encoders_can_be_named(
    make_app: Callable[..., MocoApp], root: Path, asked: Asked
) -> None:
    some_runs(root)
    asked.problem = "Run k7m2qx has [no] checkpoint yet."
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.post_message(OpenLook(REQUEST))
        await until(pilot, lambda: "Run k7m2qx has [no] checkpoint yet." in screen_text(app))
        asked.problem = ""
        for text, said in (("k7m2qx@99", "no checkpoint of epoch 99"), ("nobody", "nobody")):
            await pilot.press("at")
            await until(pilot, lambda: isinstance(app.screen, Ask))
            app.screen.query_one(LineInput).value = text
            await pilot.press("enter")
            await until(pilot, told(app, said))
        await pilot.press("at")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        app.screen.query_one(LineInput).value = "q4r8st k7m2qx"
        await pilot.press("enter")
        await until(pilot, lambda: "PCA" in screen_text(app))
        assert [*asked.requests[-1].encoders] == [("q4r8st", ""), ("k7m2qx", "")]


async def test_progress_is_shown_and_leaving_ends_the_process(
    make_app: Callable[..., MocoApp], root: Path, asked: Asked
) -> None:
    some_runs(root)
    asked.gate.clear()
    app = make_app()
    try:
        async with app.run_test(size=(80, 24)) as pilot:
            app.post_message(OpenLook(REQUEST))
            await until(pilot, lambda: "features of k7m2qx 30/80" in screen_text(app))
            await pilot.press("escape")
            await until(pilot, lambda: isinstance(app.screen, RunsScreen))
            await until(pilot, lambda: asked.cancelled > 0)
            asked.gate.set()
            await pilot.pause()
            assert isinstance(app.screen, RunsScreen)
    finally:
        asked.gate.set()


async def test_beside_a_training_in_the_app_it_keeps_to_the_processor_and_says_so(
    make_app: Callable[..., MocoApp], asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(device="cuda")
    monkeypatch.setattr(type(app.session.runner), "busy", property(lambda self: True))
    asked.gate.clear()
    try:
        async with app.run_test(size=(80, 24)) as pilot:
            app.post_message(OpenLook(REQUEST))
            await until(pilot, lambda: "A run trains in this app" in screen_text(app))
            assert asked.requests[0].device == "cpu"
            asked.gate.set()
            monkeypatch.setattr(type(app.session.runner), "busy", property(lambda self: False))
    finally:
        asked.gate.set()


async def test_the_key_opens_it_from_the_runs_and_the_monitor(
    make_app: Callable[..., MocoApp], root: Path, asked: Asked
) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(app.query_one(RunTable).rows) == 4)
        app.query_one(RunTable).select("q4r8st")
        await pilot.press("L")
        await until(pilot, lambda: isinstance(app.screen, LookScreen))
        assert [*asked.requests[-1].encoders] == [("q4r8st", "")]
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        app.query_one(RunTable).select("k7m2qx")
        await pilot.press("space")
        app.query_one(RunTable).select("q4r8st")
        await pilot.press("space", "L")
        await until(pilot, lambda: isinstance(app.screen, LookScreen))
        assert [*asked.requests[-1].encoders] == [("k7m2qx", ""), ("q4r8st", "")]
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        app.open_run("k7m2qx")
        await until(pilot, lambda: app.screen.query("#loss") and app.screen.record)  # type: ignore[attr-defined]
        await pilot.press("L")
        await until(pilot, lambda: isinstance(app.screen, LookScreen))
        assert [*asked.requests[-1].encoders] == [("k7m2qx", "")]


async def test_export_writes_a_new_folder_and_no_other(
    make_app: Callable[..., MocoApp], asked: Asked, tmp_path: Path
) -> None:
    app = make_app()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("mine")
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        for folder, said in (("mine", "holds files already"), ("out", "Written into")):
            await pilot.press("x")
            await until(pilot, lambda: isinstance(app.screen, Ask))
            app.screen.query_one(LineInput).value = str(tmp_path / folder)
            await pilot.press("enter")
            await until(pilot, told(app, said))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes"]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"tables.txt", "map-pca-k7m2qx.svg", "neighbours-k7m2qx.csv"} <= names


async def test_in_ascii_letters_stand_for_classes(
    make_app: Callable[..., MocoApp], asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANG", "C")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        map_ = screen.query_one(LookMap)
        drawn = "".join(map_.render_line(y).text for y in range(1, map_.size.height - 1))
        assert set(drawn) - set("ABCD ╋✓✗") == set()  # the filter of the app has signs for these
        await pilot.press("2")
        shelves = screen.query_one(PictureShelves)
        await until(pilot, lambda: shelves.size.height > 0)
        text = "".join(shelves.render_line(y).text for y in range(shelves.size.height))
        assert "▀" not in text


async def test_without_colour_every_point_has_the_mark_of_its_class(
    make_app: Callable[..., MocoApp], asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        map_ = (await opened(pilot)).query_one(LookMap)
        drawn = "".join(map_.render_line(y).text for y in range(1, map_.size.height - 1))
        assert set(drawn) <= set("●■▲◆ ╋✓✗")
        assert sum(drawn.count(mark) for mark in "●■▲◆") > COUNT // 2


def test_the_numbers_of_these_tests_are_no_special_case() -> None:
    """Neighbours of both kinds, and images that are voted for rightly and wrongly."""
    view = some_look().encoders[0]
    assert 0 < sum(view.confusion[i][i] for i in range(4)) < COUNT
    assert all(math.isfinite(s) for row in view.similarity for s in row)
