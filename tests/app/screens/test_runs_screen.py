"""The table of runs: what it shows and what its keys do."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from textual import events
from textual.widgets import Input

from engine.runs import RunFolder
from moco_tui.app import MocoApp
from moco_tui.present.run_list import RunList
from moco_tui.present.run_order import FOLD_ABOVE, Fold, arrange
from moco_tui.screens.compare_screen import CompareScreen
from moco_tui.screens.dialogs import Ask, Confirm
from moco_tui.screens.monitor_screen import MonitorScreen
from moco_tui.screens.new_run_screen import NewRunScreen
from moco_tui.widgets.run_table import RunTable

from ..conftest import NOW, on_screen, screen_text, some_runs, still_runner, until, write_run

MakeApp = Callable[..., MocoApp]


def table(app: MocoApp) -> RunTable:
    return app.query_one(RunTable)


def shown(app: MocoApp) -> list[str]:
    return [row.id for row, _ in table(app).rows]


async def test_probes_stand_under_their_pretraining_newest_first(
    root: Path, make_app: MakeApp
) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(table(app).rows) == 4)
        assert [(row.id, depth) for row, depth in table(app).rows] == [
            ("q4r8st", 0),
            ("k7m2qx", 0),
            ("p2b9dz", 1),
            ("f6g3hj", 0),
        ]
        text = screen_text(app)
        assert "✗ failed" in text
        assert "57.3 %" in text
        assert "└ 10 % of the" in text


@pytest.mark.timeout(60)  # a pipe that is waited for would keep the app from ending
@pytest.mark.parametrize(
    "name", ["run.json", "user.json", "metrics.jsonl", "devices.jsonl", "log.txt", "lock"]
)
@pytest.mark.parametrize("kind", ["pipe", "zero"])
async def test_a_pipe_or_a_device_in_a_run_neither_hides_the_others_nor_blocks(
    root: Path, make_app: MakeApp, name: str, kind: str
) -> None:
    some_runs(root)
    path = root / "q4r8st" / name
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(table(app).rows) == 4)
        app.open_run("q4r8st")
        await until(pilot, lambda: len(app.screen_stack) == 2)
        await pilot.press("l")
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1)


async def test_without_runs_it_offers_the_demo(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "No runs yet" in screen_text(app))
        await pilot.press("D")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        started = still_runner(app).started
        assert [folder.record().kind for folder in started] == ["pretrain", "probe"]
        assert started[1].record().parent == started[0].id


async def test_the_keys_act_after_the_first_form_and_on_the_first_run(
    root: Path, make_app: MakeApp
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "No runs yet" in screen_text(app))
        for _ in range(2):
            await pilot.press("n")
            await until(pilot, lambda: isinstance(app.screen, NewRunScreen))
            await pilot.press("escape")
            await until(pilot, lambda: len(app.screen_stack) == 1)
        write_run(root, "k7m2qx", created=NOW)
        await until(pilot, lambda: shown(app) == ["k7m2qx"])
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))


async def test_a_filter_that_is_typed_in_a_burst_is_typed_into_the_filter(
    root: Path, make_app: MakeApp
) -> None:
    """Over a slow connection keys come together: n would open a form, d would delete."""
    some_runs(root)
    app = make_app()
    async with app.run_test() as pilot:
        await until(pilot, lambda: len(shown(app)) == 4)
        for key in "/nd":
            app.post_message(events.Key("slash" if key == "/" else key, key))
        box = app.screen.query_one("#filter", Input)
        await until(pilot, lambda: box.value == "nd")
        assert len(app.screen_stack) == 1


async def test_the_filter_narrows_and_a_wrong_one_says_why(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(table(app).rows) == 4)
        await pilot.press("slash", *"kind:probe")
        await until(pilot, lambda: shown(app) == ["p2b9dz"])
        box = app.query_one("#filter", Input)
        box.value = "queue_size=16384"
        await until(pilot, lambda: shown(app) == ["q4r8st"])
        box.value = "queue_size=("
        await until(pilot, lambda: box.has_class("wrong"))
        assert len(shown(app)) == 4, "no filter is in force, least of all the one before"
        assert "out of place" in screen_text(app) or "nothing to compare" in screen_text(app)
        box.value = "queue_siz=16384"
        await until(pilot, lambda: "did you mean queue_size?" in screen_text(app))
        assert "No run matches" not in screen_text(app)
        await pilot.press("enter")
        assert box.has_focus, "what is wrong is to be mended here"
        box.value = "nothing-like-this"
        await until(pilot, lambda: "No run matches" in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: len(table(app).rows) == 4)
        assert table(app).has_focus


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
async def test_an_unknown_key_is_named_where_it_is_typed(
    root: Path, make_app: MakeApp, size: tuple[int, int]
) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: len(table(app).rows) == 4)
        await pilot.press("slash", *"knnn")
        await until(pilot, lambda: "No run matches" in screen_text(app))
        await pilot.press(*">60")
        await until(pilot, lambda: "did you mean knn?" in screen_text(app))
        lines = screen_text(app).splitlines()
        typed = next(i for i, line in enumerate(lines) if "knnn>60" in line)
        assert "knnn is no key" in lines[typed + 1]
        assert "No run matches" not in screen_text(app)
        assert len(shown(app)) == 4
        await pilot.press("escape")
        await until(pilot, lambda: "did you mean" not in screen_text(app))


async def test_sorting_goes_through_the_columns(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(table(app).rows) == 4)
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: shown(app) == ["f6g3hj", "q4r8st", "k7m2qx", "p2b9dz"])
        await pilot.press("O")
        await until(pilot, lambda: shown(app) == ["k7m2qx", "p2b9dz", "q4r8st", "f6g3hj"])


async def test_tags_note_and_name_are_kept_in_the_run_folder(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(table(app).rows) == 4)
        for key, text in (("t", "keep good"), ("e", "a [bold]note"), ("N", "renamed")):
            await pilot.press(key)
            await until(pilot, lambda: isinstance(app.screen, Ask))
            app.screen.query_one(Input).value = text
            await pilot.press("enter")
            await until(pilot, lambda: not isinstance(app.screen, Ask))
        notes = RunFolder(root / "q4r8st").user()
        assert (notes.tags, notes.note, notes.name) == (("good", "keep"), "a [bold]note", "renamed")
        await until(pilot, lambda: "renamed" in screen_text(app))


async def test_tags_that_others_added_meanwhile_stay(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    folder = RunFolder(root / "q4r8st")
    folder.set_user(tags=["mine", "old"])
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(table(app).rows) == 4)
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        assert app.screen.query_one(Input).value == "mine old"
        folder.set_user(tags=["mine", "old", "theirs"])
        app.screen.query_one(Input).value = "mine new"
        await pilot.press("enter")
        await until(pilot, lambda: not isinstance(app.screen, Ask))
        assert folder.user().tags == ("mine", "new", "theirs")


async def test_a_deleted_run_comes_back(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(table(app).rows) == 4)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("n")
        assert (root / "q4r8st").is_dir(), "No means no"
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await until(pilot, lambda: "q4r8st" not in shown(app) and len(shown(app)) == 3)
        assert not (root / "q4r8st").exists()
        await pilot.press("u")
        await until(pilot, lambda: "q4r8st" in shown(app))
        assert RunFolder(root / "q4r8st").record().name == "large queue"


async def test_enter_opens_and_escape_comes_back(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(table(app).rows) == 4)
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        assert on_screen(app, MonitorScreen).folder.id == "k7m2qx"
        await pilot.press("escape")
        await until(pilot, lambda: table(app).has_focus)
        await pilot.press("P")
        await until(pilot, lambda: isinstance(app.screen, NewRunScreen))
        assert on_screen(app, NewRunScreen).state.kind == "probe"
        await pilot.press("escape")
        await pilot.press("space", "space", "c")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen))
        compared = on_screen(app, CompareScreen).folders
        assert [folder.id for folder in compared] == [
            "k7m2qx",
            "p2b9dz",
        ]


async def test_a_double_click_opens_the_run_under_the_mouse(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(table(app).rows) == 4)
        await pilot.click(RunTable, offset=(20, 4), times=2)
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        assert on_screen(app, MonitorScreen).folder.id == "f6g3hj"


async def test_a_read_only_app_changes_nothing(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    app = make_app(read_only=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(table(app).rows) == 4)
        for key in ("n", "d", "t", "e", "r", "D", "u"):
            await pilot.press(key)
            await pilot.pause()
            assert len(app.screen_stack) == 1, f"{key} opened something"
        assert not (root / "history.json").exists()


async def test_a_run_of_another_app_appears_and_changes_here(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(table(app).rows) == 4)
        write_run(root, "n5w7xy", name="from elsewhere", status="queued", created=NOW)
        await until(pilot, lambda: "n5w7xy" in shown(app))
        folder = RunFolder(root / "n5w7xy")
        data = folder.record_path.read_bytes().replace(b'"queued"', b'"stopped"')
        new = folder.path / "new"
        new.write_bytes(data)
        new.replace(folder.record_path)
        await until(pilot, lambda: app.session.runs.rows["n5w7xy"].status == "stopped")


@pytest.mark.parametrize("size", [(20, 5), (1, 1), (300, 80)])
async def test_any_size_is_survived(root: Path, make_app: MakeApp, size: tuple[int, int]) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(table(app).rows) == 4)
        await pilot.resize_terminal(*size)
        await pilot.press("down", "up", "pagedown")
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "large queue" in screen_text(app))


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b"\x00\xff" * 50, b'{"schema": 99}', b'{"id": 3}'],
    ids=["empty", "half", "list", "garbage", "newer", "wrong"],
)
async def test_a_damaged_record_is_shown_as_such(
    root: Path, make_app: MakeApp, damage: bytes
) -> None:
    some_runs(root)
    (root / "q4r8st" / "run.json").write_bytes(damage)
    (root / "k7m2qx" / "user.json").write_bytes(damage)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(table(app).rows) == 4)
        state = "unreadable" if b"99" in damage else "damaged"  # of a newer program it is whole
        assert app.session.runs.rows["q4r8st"].status == state
        assert app.session.runs.rows["k7m2qx"].status == "finished"
        table(app).select("q4r8st")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        await pilot.press("escape")
        await until(pilot, lambda: table(app).has_focus)


async def test_an_entry_that_cannot_be_looked_at_is_named_once_and_hides_no_run(
    root: Path, make_app: MakeApp
) -> None:
    some_runs(root)
    (root / "latest-run").symlink_to("latest-run")
    app = make_app()
    said: list[str] = []
    app.say = lambda text, **options: said.append(text)  # type: ignore[method-assign]
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(table(app).rows) == 4 and bool(said))
        for _ in range(3):
            app.session.runs.refresh(full_every=-1.0)
            app.screen.poll()  # type: ignore[attr-defined]
            await app.workers.wait_for_complete()
            await pilot.pause()
        assert said == [
            f"{root / 'latest-run'} is left out: it is a link that leads back to itself."
        ]


async def test_the_cursor_stays_with_its_run(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(table(app).rows) == 4)
        table(app).select("k7m2qx")
        write_run(root, "n5w7xy", name="newer", created=NOW)
        await until(pilot, lambda: shown(app)[0] == "n5w7xy")
        current = table(app).current
        assert current is not None
        assert current.id == "k7m2qx"


def many_probes(root: Path, count: int, parent: str = "k7m2qx", ids: str = "pr") -> None:
    for number in range(count):
        top1 = 40.0 + number
        write_run(
            root,
            f"{ids}{number:04}",
            kind="probe",
            name=f"share {number}",
            parent=parent,
            created=NOW - 500 + number,
            result={"top1": top1},
            last={"probe/pretrained/test_top1": top1},
            status="finished" if number else "failed",
            total_steps=4,
            step=4,
            steps_per_epoch=0,
        )


async def test_many_probes_are_one_line_until_they_are_asked_for(
    root: Path, make_app: MakeApp
) -> None:
    some_runs(root)
    many_probes(root, 9)
    app = make_app()
    folded = ["q4r8st", "k7m2qx", "k7m2qx/probes", "f6g3hj"]
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: shown(app) == folded)
        text = screen_text(app)
        assert "└ ▸ 10 probes" in text, "p2b9dz is one of them"
        assert "✗ failed" in text.split("10 probes")[0].splitlines()[-1], "what to look at first"
        assert "57.3 %" in text, "the best of them"
        assert "13 runs" in text
        table(app).select("k7m2qx/probes")
        await pilot.press("d")
        assert len(app.screen_stack) == 1, "a line of many is no run to delete"
        await pilot.press("enter")
        await until(pilot, lambda: len(shown(app)) == 14)
        assert shown(app)[2] == "k7m2qx/probes"
        assert "▾ 10 probes" in screen_text(app)
        table(app).select("pr0003")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        await pilot.press("escape")
        await until(pilot, lambda: table(app).has_focus)
        assert len(shown(app)) == 14, "remembered while the app is open"
        await pilot.press("f")
        await until(pilot, lambda: shown(app) == folded)
        line = table(app).line
        assert line is not None
        assert line.id == "k7m2qx/probes", "the cursor goes where its run went"
        await pilot.press("up", "f")
        await until(pilot, lambda: len(shown(app)) == 14)


async def test_a_filter_finds_folded_probes_and_the_probe_key_means_their_parent(
    root: Path, make_app: MakeApp
) -> None:
    some_runs(root)
    many_probes(root, 9)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(shown(app)) == 4)
        await pilot.press("slash")
        app.query_one("#filter", Input).value = "share"
        await until(pilot, lambda: shown(app) == [f"pr{n:04}" for n in range(8, -1, -1)])
        app.query_one("#filter", Input).value = "share or name:notebook"
        await until(pilot, lambda: shown(app)[0] == "k7m2qx" and len(shown(app)) == 10)
        await pilot.press("enter", "escape")
        await until(pilot, lambda: len(shown(app)) == 4)
        table(app).select("k7m2qx/probes")
        await pilot.press("P")
        await until(pilot, lambda: isinstance(app.screen, NewRunScreen))
        assert on_screen(app, NewRunScreen).body.parent_id == "k7m2qx"


def test_few_probes_are_not_folded_and_folded_ones_leave_their_parent_as_it_is(root: Path) -> None:
    some_runs(root)
    many_probes(root, FOLD_ABOVE - 1)
    catalog = RunList(root)
    catalog.refresh()
    rows = catalog.rows.values()
    assert arrange(rows, unfolded=()) == arrange(rows)
    many_probes(root, 3, parent="q4r8st", ids="qs")
    write_run(root, "n5w7xy", kind="probe", parent="k7m2qx")
    catalog.refresh()
    lines = arrange(catalog.rows.values(), unfolded=())
    parent = next(row for row, _ in lines if row.id == "k7m2qx")
    assert parent == catalog.rows["k7m2qx"]
    (fold,) = [row for row, _ in lines if isinstance(row, Fold)]
    below = [row for row in catalog.rows.values() if row.parent == "k7m2qx"]
    assert (fold.parent, fold.count) == ("k7m2qx", len(below))
    assert fold.best == max(row.best for row in below if row.best is not None)
