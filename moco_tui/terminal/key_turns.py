"""Keys act one after the other, however many come at once.

Textual hands a key to the widget that has the focus when the key arrives, and a key that moves the
focus acts only when it has come back from that widget. Of keys that come in a burst, as a slow
connection delivers them, all would go to the widget that had the focus before the first.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from functools import partial

from textual import events
from textual.app import App, ScreenStackError
from textual.dom import DOMNode
from textual.message_pump import MessagePump
from textual.screen import Screen

LONGEST_SECONDS = 5.0
"""How long a key waits for the one before it: a handler that hangs must not hold up all keys."""
_LOOK_SECONDS = 0.01


class KeyTurns(App[int]):
    """Hands each key or paste on once what the one before has done is done.

    A screen that is not ready for keys says so by an attribute ``holds_keys``.
    """

    def __init__(self, **more: object) -> None:
        super().__init__(**more)  # type: ignore[arg-type] # Textual's own
        self._keys_waiting: deque[events.Key | events.Paste] = deque()
        self._turn = 0  # counts the keys that were handed on
        self._turn_ended = True
        self._turn_began = 0.0
        self._keyed_screen: Screen[object] | None = None  # the one that the last key went to

    async def on_event(self, event: events.Event) -> None:
        """See ``App.on_event``; a key waits for its turn."""
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            self._keys_waiting.append(event)
            if self._turn_ended:
                await self._next_turn()
            else:
                self.set_timer(LONGEST_SECONDS, partial(self._end_turn, self._turn))
            return
        await super().on_event(event)

    async def _next_turn(self) -> None:
        """Hand the next key on, to what has the focus now; in the message loop of the app."""
        if not self._keys_waiting or not self._turn_ended:
            return
        self._turn += 1
        self._turn_ended, self._turn_began = False, time.monotonic()
        await self._when_ready(self._turn)

    async def _when_ready(self, turn: int) -> None:
        """Hand the key on as soon as the screen can take it."""
        if turn != self._turn or self._turn_ended:
            return
        try:
            screen = self.screen
        except ScreenStackError:  # the app closes
            self._keys_waiting.clear()
            return
        if screen is not self._keyed_screen:  # it may be about to choose what has the focus first
            self._keyed_screen = screen
            if screen.call_later(self.call_later, self._when_ready, turn):
                return
        waited = time.monotonic() - self._turn_began
        if getattr(screen, "holds_keys", False) and waited < LONGEST_SECONDS:
            self.set_timer(_LOOK_SECONDS, partial(self._when_ready, turn))
            return
        event = self._keys_waiting.popleft()
        way = list(_upwards(self.focused or screen))
        await super().on_event(event)
        # Twice: a binding acts when the key has come up to the app, and what it tells, such as that
        # another value was chosen, goes the same way again.
        self._follow(way, turn, again=True)

    def _follow(self, way: list[MessagePump], turn: int, *, again: bool) -> None:
        """Wait until each node of the way has done what is in its queue, then end the turn."""
        left = iter(way)

        def go_on() -> None:
            for node in left:
                if node is self:
                    break
                if node.call_later(go_on):  # not one that has been removed
                    return
            if again:
                self.call_later(self._follow, way, turn, again=False)
            else:
                # Once more behind what handlers have left with the app, such as to set the focus.
                self.call_later(self.call_later, self._end_turn, turn)

        go_on()

    async def _end_turn(self, turn: int) -> None:
        if turn == self._turn and not self._turn_ended:
            self._turn_ended = True
            await self._next_turn()


def _upwards(node: DOMNode) -> Iterator[MessagePump]:
    """A node and those that it lies in, up to the app."""
    above: MessagePump | None = node
    while above is not None:
        yield above
        above = above._parent
