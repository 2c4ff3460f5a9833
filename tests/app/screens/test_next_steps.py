"""From every screen with runs on it to a new one, a probe, a comparison, a file."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from engine.runs.encoder_look import LookRequest
from moco_tui.app import MocoApp
from moco_tui.screens.compare_screen import CompareScreen
from moco_tui.screens.dialogs import Ask
from moco_tui.screens.look_screen import LookScreen
from moco_tui.screens.messages import OpenForm, OpenLook
from moco_tui.screens.monitor_screen import MonitorScreen
from moco_tui.screens.new_run_screen import NewRunScreen
from moco_tui.screens.runs_screen import RunsScreen
from moco_tui.screens.study_screen import StudyScreen
from moco_tui.training.look_process import LookProcess
from moco_tui.widgets.run_table import RunTable
from moco_tui.widgets.study_table import StudyTable

from ..conftest import on_screen, some_runs, until, write_run
from ..looks import some_look
from ..studies import write_study

MakeApp = Callable[..., MocoApp]
SIZES = [(80, 24), (160, 45)]
KINDS: dict[str, type[Any]] = {
    "runs": RunsScreen,
    "monitor": MonitorScreen,
    "study": StudyScreen,
    "compare": CompareScreen,
    "look": LookScreen,
}


@pytest.fixture(autouse=True)
def looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LookProcess, "look", lambda self, request, progress: some_look())
    monkeypatch.setattr(LookProcess, "cancel", lambda self: None)


async def shown(app: MocoApp, pilot: Pilot[Any], name: str) -> None:
    """Opens a screen on the run k7m2qx, or on the study."""
    await until(pilot, lambda: "k7m2qx" in app.session.runs.rows)
    if name == "runs":
        app.query_one(RunTable).select("k7m2qx")
    elif name == "monitor":
        app.open_run("k7m2qx")
        await until(pilot, lambda: on_screen(app, MonitorScreen).record)
    elif name == "study":
        app.open_run("s5t6dy")
        await until(pilot, lambda: app.screen.query_one(StudyTable).current)
    elif name == "compare":
        app.open_comparison(["k7m2qx", "q4r8st"])
        await until(pilot, lambda: on_screen(app, CompareScreen).runs)
    else:
        app.post_message(OpenLook(LookRequest(encoders=(("k7m2qx", ""), ("q4r8st", "")))))
        await until(pilot, lambda: on_screen(app, LookScreen).found)
    await until(pilot, lambda: isinstance(app.screen, KINDS[name]))


def said(app: MocoApp, words: str) -> bool:
    return any(words in note.message for note in app._notifications)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", KINDS)
async def test_n_and_big_p_lead_to_the_form(
    root: Path, make_app: MakeApp, name: str, size: tuple[int, int]
) -> None:
    some_runs(root)
    write_study(root)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await shown(app, pilot, name)
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, NewRunScreen))
        assert on_screen(app, NewRunScreen).state.kind == "pretrain"
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, KINDS[name]))
        await pilot.press("P")
        await until(pilot, lambda: isinstance(app.screen, NewRunScreen))
        form = on_screen(app, NewRunScreen)
        await until(pilot, lambda: form.body.parent_id)
        assert form.state.kind == "probe"
        wanted = "pt0bcd" if name == "study" else "k7m2qx"
        assert form.body.parent_id.partition("@")[0] == wanted


async def test_a_probe_in_the_list_leads_to_another_of_the_same_checkpoint(
    root: Path, make_app: MakeApp
) -> None:
    some_runs(root)
    write_run(root, "n5w7xy", kind="probe", parent="k7m2qx", checkpoint="5")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "n5w7xy" in app.session.runs.rows)
        app.query_one(RunTable).select("n5w7xy")
        forms: list[OpenForm] = []
        with patch.object(RunsScreen, "ask_app", lambda self, message: forms.append(message)):
            await pilot.press("P")
        assert [form.parent for form in forms] == ["k7m2qx@5"]


@pytest.mark.parametrize("name", KINDS)
async def test_c_leads_to_a_comparison(root: Path, make_app: MakeApp, name: str) -> None:
    some_runs(root)
    write_study(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, pilot, name)
        before = app.screen
        if name == "runs":
            await pilot.press("space")
            app.query_one(RunTable).select("q4r8st")
            await pilot.press("space")
        await pilot.press("c")
        if name in ("monitor", "compare"):
            await until(pilot, lambda: isinstance(app.screen, Ask))
            field = app.screen.query_one(Input)
            # Beside the run of the monitor the newest that is like it.
            offered = "k7m2qx pt0bcd " if name == "monitor" else "k7m2qx q4r8st "
            assert field.value == offered
            await pilot.press(*"f6g3hj", "enter")
        await until(
            pilot, lambda: isinstance(app.screen, CompareScreen) and app.screen is not before
        )
        found = [folder.id for folder in on_screen(app, CompareScreen).folders]
        wanted = {
            "monitor": ["k7m2qx", "pt0bcd", "f6g3hj"],
            "compare": ["k7m2qx", "q4r8st", "f6g3hj"],
            "study": ["pt0bcd", "pt2bcd", "pt4bcd"],
        }
        assert found == wanted.get(name, ["k7m2qx", "q4r8st"])


async def test_what_cannot_be_compared_is_a_sentence(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, pilot, "monitor")
        for answer, sentence in (
            ("k7m2qx", "two to eight runs; these are 1"),
            ("k7m2qx, K7M2QX", "two to eight runs; these are 1"),
            ("k7m2qx [b]nobody", "nobody"),
        ):
            await pilot.press("c")
            await until(pilot, lambda: isinstance(app.screen, Ask))
            app.screen.query_one(Input).value = answer
            await pilot.press("enter")
            await until(pilot, partial(said, app, sentence))
            on_screen(app, MonitorScreen)
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        app.screen.query_one(Input).value = "k7m2qx, large queue"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen))


@pytest.mark.parametrize("size", SIZES)
async def test_a_run_is_written_as_the_command_writes_it(
    root: Path, make_app: MakeApp, tmp_path: Path, size: tuple[int, int]
) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await shown(app, pilot, "monitor")
        for name in ("out.csv", "out.json"):
            await pilot.press("x")
            await until(pilot, lambda: isinstance(app.screen, Ask))
            assert app.screen.query_one(Input).value == "k7m2qx.csv"
            app.screen.query_one(Input).value = str(tmp_path / name)
            await pilot.press("enter")
            await until(pilot, partial(said, app, f"Written to {tmp_path / name}."))
        (root / "k7m2qx" / "run.json").write_text("{")
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        app.screen.query_one(Input).value = str(tmp_path / "damaged.json")
        await pilot.press("enter")
        await until(pilot, partial(said, app, "k7m2qx"))
    assert not (tmp_path / "damaged.json").exists()
    with (tmp_path / "out.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["step"] for line in lines[:3]] == ["1", "2", "3"]
    assert len({line["step"] for line in lines}) == 120
    assert json.loads((tmp_path / "out.json").read_text())["run"]["id"] == "k7m2qx"


async def test_the_table_is_written_with_what_is_listed_or_marked(
    root: Path, make_app: MakeApp, tmp_path: Path
) -> None:
    some_runs(root)
    app = make_app()

    async def write(pilot: Pilot[Any], name: str) -> None:
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        app.screen.query_one(Input).value = str(tmp_path / name)
        await pilot.press("enter")
        await until(pilot, partial(said, app, f"Written to {tmp_path / name}."))

    async with app.run_test(size=(80, 24)) as pilot:
        await shown(app, pilot, "runs")
        await write(pilot, "all.csv")
        await write(pilot, "all.json")
        app.query_one("#filter", Input).value = "kind:probe"
        await until(pilot, lambda: len(app.query_one(RunTable).rows) == 1)
        await write(pilot, "probes.csv")
        app.query_one("#filter", Input).value = ""
        await until(pilot, lambda: len(app.query_one(RunTable).rows) == 4)
        app.query_one(RunTable).select("q4r8st")
        await pilot.press("space")
        await write(pilot, "marked.csv")
    with (tmp_path / "all.csv").open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["q4r8st", "k7m2qx", "p2b9dz", "f6g3hj"]
    assert rows["q4r8st"]["queue_size"] == "16384"
    assert rows["p2b9dz"]["parent"] == "k7m2qx"
    assert [run["id"] for run in json.loads((tmp_path / "all.json").read_text())] == list(rows)
    for name, ids in (("probes", ["p2b9dz"]), ("marked", ["q4r8st"])):
        with (tmp_path / f"{name}.csv").open(newline="") as file:
            assert [row["id"] for row in csv.DictReader(file)] == ids
