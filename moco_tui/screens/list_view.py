"""How a person has the list of runs: its columns, its order, what others are compared with."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence

from engine.errors import ConfigError
from engine.history.entry import Entry
from moco_tui.present.baseline import RunBaseline
from moco_tui.present.run_columns import RunColumn, chosen_columns, default_columns
from moco_tui.present.run_groups import with_groups
from moco_tui.present.run_order import SORTS, arrange
from moco_tui.present.run_rows import RunRow
from moco_tui.session import Session
from moco_tui.user.remembered import (
    ListMemory,
    baseline_of,
    list_memory,
    remember_baseline,
    remember_list,
)


class ListView:
    """Begins as it was left, and remembers what is changed unless the app only looks.

    Args:
        session: whose configuration it begins with.
        say: tells a person what could not be kept.

    Attributes:
        names: of the columns; empty: those that suit the width.
        sort: what the list is sorted by, see ``arrange``.
        reverse: the other way round.
        by_seed: runs that differ by their seed alone are one line.
        base: id of the run that others are compared with; empty for none.
    """

    def __init__(self, session: Session, say: Callable[[str], None]) -> None:
        self._session, self._say = session, say
        known = bool(session.user.path.name)  # else there is no file, and none beside it
        memory = list_memory(session.user) if known else ListMemory()
        self._root = session.root.absolute()
        self.names = memory.columns
        self.sort = memory.sort or SORTS[0]
        self.reverse = memory.reverse
        self.by_seed = memory.by_seed
        self.base = baseline_of(session.user, self._root) if known else ""

    @property
    def is_first(self) -> bool:
        """Whether the list is in the order that it begins with."""
        return (self.sort, self.reverse) == (SORTS[0], False)

    @property
    def order(self) -> str:
        """The column that the rows are sorted by, its direction in it; empty for the first order.

        A ``-`` before it: the largest comes first.
        """
        if self.is_first:
            return ""
        down = self.sort.startswith("-") != self.reverse
        return "-" * down + self.sort.removeprefix("-")

    @property
    def words(self) -> str:
        """Order and grouping in words, for the line at the top; empty for those at first."""
        words = ", seeds together" if self.by_seed else ""
        if not self.is_first:
            words += f", by {self.sort.removeprefix('-')}" + ", reversed" * self.reverse
        return words

    def columns(self, entries: Iterable[Entry]) -> tuple[RunColumn, ...]:
        """The columns of the table.

        Args:
            entries: all runs, whose metrics can be columns.
        """
        if self.names:
            return chosen_columns(self.names, entries)
        return default_columns(has_base=bool(self.base))

    def arranged(
        self, rows: Iterable[RunRow], unfolded: Container[str] | None, base: RunBaseline
    ) -> list[tuple[RunRow, int]]:
        """The rows in the order that a person wants; in the first where no run has its key.

        Args:
            rows: the runs.
            unfolded: see ``run_order.arrange``.
            base: what they are compared with.
        """
        group = with_groups if self.by_seed else None
        try:
            return arrange(rows, self.sort, self.reverse, unfolded, base.difference, group)
        except ConfigError:
            self.sort, self.reverse = SORTS[0], False
            return arrange(rows, self.sort, self.reverse, unfolded, base.difference, group)

    def choose(self, names: Sequence[str]) -> None:
        """Have these columns."""
        self.names = tuple(names)
        self._keep()

    def sort_by(self, key: str) -> None:
        """Sort by a column; by the same again the other way round."""
        self.reverse = not self.reverse if key == self.sort else False
        self.sort = key
        self._keep()

    def next_sort(self, keys: Sequence[str]) -> None:
        """Sort by the next of the columns that are offered; the direction stays."""
        offered = list(dict.fromkeys([*SORTS, *(key for key in keys if key)]))
        at = offered.index(self.sort) if self.sort in offered else -1
        self.sort = offered[(at + 1) % len(offered)]
        self._keep()

    def turn(self) -> None:
        """Reverse the order."""
        self.reverse = not self.reverse
        self._keep()

    def group(self) -> None:
        """Put runs that differ by their seed alone into one line, or part them again."""
        self.by_seed = not self.by_seed
        self._keep()

    def pin(self, run_id: str) -> None:
        """Compare others with a run; with the same again no more."""
        self.base = "" if run_id == self.base else run_id
        if self._session.remembers:
            self._told(remember_baseline(self._session.user, self._root, self.base))

    def _keep(self) -> None:
        if self._session.remembers:
            memory = ListMemory(self.names, self.sort, self.reverse, self.by_seed)
            self._told(remember_list(self._session.user, memory))

    def _told(self, problem: str) -> None:
        if problem:
            self._say(problem)
