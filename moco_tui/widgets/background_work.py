"""Work of a widget, a screen or the app beside the keys."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from textual.dom import DOMNode
from textual.worker import Worker


def work_behind(
    node: DOMNode,
    work: Callable[[], Coroutine[Any, Any, None]],
    *,
    group: str,
    exclusive: bool = False,
) -> Worker[None]:
    """Begin a work that ends with its node.

    Args:
        node: whose work it is.
        work: makes the coroutine when its turn comes. One that is made before, and whose node is
            closed before its turn, would be warned of on the terminal as never awaited.
        group: the name of works of this kind.
        exclusive: those of the group that are not done are cancelled.
    """
    return node.run_worker(work, group=group, exclusive=exclusive)
