"""The command palette: leads to any run, screen and setting, and to the commands of the screen."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from typing import Any, cast

from msgspec import Struct
from rich.text import Text
from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider

from moco_tui.present import fmt, form
from moco_tui.present.form_fields import label, range_hint
from moco_tui.present.fuzzy import fit
from moco_tui.present.run_rows import RunRow
from moco_tui.screens.messages import OpenRun, OpenSetting
from moco_tui.screens.steady_screen import SteadyScreen
from moco_tui.session import Session

MOST_OF_A_KIND = 30
"""Runs, and settings, that are listed; more letters find others."""
_NEWEST = 8  # runs that are listed before anything is typed
_AT_ONCE = 500  # texts that are looked at before a key may come in between
_MOST_CELLS = 70
_KIND_WORDS = {"pretrain": "pretraining", "probe": "probe", "study": "study"}


class Jump(Struct, frozen=True):
    """Something that the palette leads to.

    Attributes:
        title: what is typed to find it; one clean line.
        about: a second line.
        run: does it.
    """

    title: str
    about: str
    run: Callable[[], Any]

    def text(self, places: Iterable[int] = ()) -> Text:
        """Both lines; a ``Text``, since nothing in them is markup."""
        shown = Text(self.title, no_wrap=True, overflow="ellipsis")
        for at in places:
            shown.stylize("underline", at, at + 1)
        shown.append(f"\n{fmt.fit(self.about, _MOST_CELLS).rstrip()}", style="dim not bold")
        return shown


class JumpProvider(Provider):
    """Offers the commands of the app, its runs, the newest first, and all settings."""

    @property
    def _session(self) -> Session:
        return cast(Session, cast(Any, self.app).session)

    async def startup(self) -> None:
        """Begin to read the runs: the table does not while it is hidden."""
        self._commands = list(self._distinct_commands())
        self._reading = asyncio.create_task(asyncio.to_thread(self._read))

    async def shutdown(self) -> None:
        """What was read is not needed any more."""
        self._reading.cancel()

    async def discover(self) -> Hits:
        """Before a letter is typed: commands, the newest runs, the keys of the screen."""
        own = [jump for jump in self._commands if jump.about.startswith("key ")]
        for jump in [jump for jump in self._commands if jump not in own]:
            yield _offered(jump)
        runs, _ = await self._read_already()
        for jump in runs[:_NEWEST]:
            yield _offered(jump)
        for jump in own:
            yield _offered(jump)

    async def search(self, query: str) -> Hits:
        """What fits the letters that were typed."""
        words = query.lower().split()
        async for hit in _best(words, self._commands, len(self._commands), 0.002):
            yield hit
        runs, settings = await self._read_already()
        async for hit in _best(words, runs, MOST_OF_A_KIND, 0.001):
            yield hit
        async for hit in _best(words, settings, MOST_OF_A_KIND, 0.0):
            yield hit

    async def _read_already(self) -> tuple[list[Jump], list[Jump]]:
        # Another key cancels who waits, and not the reading.
        return await asyncio.shield(self._reading)

    # ---------------------------------------------------------------------------- what there is

    def _distinct_commands(self) -> Iterator[Jump]:
        """The commands, each once: a screen may bind what the app offers on every one."""
        titles = set[str]()
        for command in self.app.get_system_commands(self.screen):
            title = fmt.clean(command.title)
            if title.lower() not in titles:
                titles.add(title.lower())
                yield Jump(title, fmt.clean(command.help), command.callback)

    def _read(self) -> tuple[list[Jump], list[Jump]]:
        """All runs and settings; in a thread: there may be ten thousand."""
        runs = self._session.runs
        runs.refresh()
        rows = sorted(runs.rows.values(), key=lambda row: row.created, reverse=True)
        now = self._session.clock()
        return [self._run(row, now) for row in rows], list(self._settings())

    def _run(self, row: RunRow, now: float) -> Jump:
        name = fmt.fit(row.name, _MOST_CELLS).rstrip()
        title = f"{name}  {row.id}" if name else row.id
        about = f"{row.glyph} {row.status}  {_KIND_WORDS.get(row.kind, row.kind)}"
        if row.created:
            about += f"  {fmt.age(now - row.created)}"
        return Jump(title, about, partial(self.app.post_message, OpenRun(row.id)))

    def _settings(self) -> Iterator[Jump]:
        """Every setting of every kind of run; those of a study's parts are of the parts."""
        for kind, words in _KIND_WORDS.items():
            for key, field in form.FormState(kind).known.items():
                if kind == "study" and key.startswith(("pretrain.", "probe.")):
                    continue
                name = label(key)
                title = key if key.rpartition(".")[2] == name else f"{key}  {name}"
                about = fmt.clean(f"setting of a {words}  {range_hint(field)}".rstrip())
                open_it = partial(self.app.post_message, OpenSetting(kind, key))
                yield Jump(f"{title}  {words}", about, open_it)


def _offered(jump: Jump) -> DiscoveryHit:
    return DiscoveryHit(jump.text(), jump.run, text=jump.title)


async def _best(words: list[str], jumps: list[Jump], most: int, first: float) -> AsyncIterator[Hit]:
    """The jumps that fit best; keys are let in between.

    Args:
        words: in lower case.
        jumps: in the order in which equally good ones are to stand.
        most: how many at most.
        first: added to each score, so that of equals those of one kind stand before another.
    """
    found = []
    for at, jump in enumerate(jumps):
        if at % _AT_ONCE == 0:
            await asyncio.sleep(0)
        fitting = fit(words, jump.title.lower())
        if fitting is not None:
            found.append((fitting.score, -at, jump, fitting.places))
    for score, _, jump, places in heapq.nlargest(most, found, key=lambda one: one[:2]):
        yield Hit(score + first, jump.text(places), jump.run, text=jump.title)


class Palette(SteadyScreen, CommandPalette):
    """Offers the commands of the app, or what its providers find."""

    def _action_command_list(self, action: str) -> None:
        """Move in the list of commands, which may be empty or not laid out yet."""
        with contextlib.suppress(LookupError):
            super()._action_command_list(action)
