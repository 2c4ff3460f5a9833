"""Chooses the columns of the list of runs and their order."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from moco_tui.present import fmt
from moco_tui.present.run_columns import ColumnOffer, matching
from moco_tui.screens.ordered_choice_dialog import BESIDE, OrderedChoiceDialog

_WIDTH = 92  # cells of the dialog
_NAME = 30  # of a name


class ColumnsDialog(OrderedChoiceDialog):
    """Every column that there is; answers as ``OrderedChoiceDialog`` does.

    Args:
        offers: every column that there is.
        chosen: names of those that are shown, from the left.
        by_default: names of those that are shown where nobody has chosen any.
        is_default: whether nobody has.
    """

    TITLE = "Columns of the list"
    NOUN = "column"
    PLACEHOLDER = "type to find a column, a setting or a metric"
    WORDS = (
        "Enter shows or hides it; Shift+Up and Shift+Down move it to the left and to the right; "
        "Ctrl+R: those that suit the width; Escape: done."
    )
    LEAST = 1

    def __init__(
        self,
        offers: Sequence[ColumnOffer],
        chosen: Sequence[str],
        by_default: Sequence[str],
        *,
        is_default: bool,
    ) -> None:
        self._offers = {one.name: one for one in offers}
        for name in chosen:  # a metric that no run has any more can be taken away
            self._offers.setdefault(name, ColumnOffer(name, "no run has it"))
        super().__init__(chosen, by_default, is_usual=is_default, count=len(self._offers))

    def found(self, typed: str) -> Sequence[str]:
        """See ``OrderedChoiceDialog``."""
        return [one.name for one in matching(list(self._offers.values()), typed)]

    def line(self, key: str, *, chosen: bool) -> Text:
        """Its name, and what it is."""
        text = Text(fmt.fit(key, _NAME), style="bold" if chosen else "")
        room = max(min(_WIDTH, self.app.size.width) - _NAME - BESIDE, 1)
        words = fmt.fit(self._offers[key].words, room).rstrip()
        return text.append(f" {words}", style="not bold dim")
