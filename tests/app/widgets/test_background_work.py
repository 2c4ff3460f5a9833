"""Works beside the keys: one whose turn never comes leaves nothing behind."""

from __future__ import annotations

import gc
import warnings

import pytest
from textual.app import App

from moco_tui.widgets.background_work import work_behind


@pytest.mark.parametrize("comes", [False, True])
async def test_a_work_is_begun_when_its_turn_comes(comes: bool) -> None:
    done: list[str] = []

    async def work() -> None:
        done.append("begun")

    app: App[None] = App()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        async with app.run_test() as pilot:
            worker = work_behind(app, work, group="some")
            if not comes:
                app.workers.cancel_all()  # as an app does that ends
            await pilot.pause()
        del worker
        gc.collect()
    assert done == ["begun"] * comes
    assert warned == []


async def test_one_that_is_exclusive_ends_those_of_its_group() -> None:
    app: App[None] = App()
    async with app.run_test() as pilot:

        async def for_ever() -> None:
            await pilot.pause(1000)

        first, other = (work_behind(app, for_ever, group=group) for group in ("a", "b"))
        await pilot.pause()
        second = work_behind(app, for_ever, group="a", exclusive=True)
        await pilot.pause()
        assert [first.is_cancelled, other.is_cancelled, second.is_cancelled] == [True, False, False]
