"""Chooses which charts of a run are drawn, and in which order."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from moco_tui.present import fmt
from moco_tui.present.chart_choices import ChartChoice, default_keys, matching
from moco_tui.screens.ordered_choice_dialog import OrderedChoiceDialog


class ChooseCharts(OrderedChoiceDialog):
    """Every chart that the run has something for; answers as ``OrderedChoiceDialog`` does.

    Args:
        choices: of the run.
        chosen: keys of those that are drawn, in order.
        most: how many there may be.
    """

    TITLE = "Charts"
    NOUN = "chart"
    PLACEHOLDER = "type a part of a name"
    WORDS = (
        "Enter draws it, or no longer; Shift+Up and Shift+Down change the order; "
        "Ctrl+R: the usual ones; Escape: done."
    )

    def __init__(self, choices: Sequence[ChartChoice], chosen: Sequence[str], most: int) -> None:
        self._choices = {choice.key: choice for choice in choices}
        usual = default_keys(choices)[:most]
        drawn = [key for key in chosen if key in self._choices][:most]
        super().__init__(drawn, usual, is_usual=drawn == usual, count=len(choices), most=most)

    def found(self, typed: str) -> Sequence[str]:
        """See ``OrderedChoiceDialog``."""
        return [choice.key for choice in matching(list(self._choices.values()), typed)]

    def line(self, key: str, *, chosen: bool) -> Text:
        """Its title, and what is drawn in it."""
        choice = self._choices[key]
        text = Text(fmt.clean(choice.title), style="bold" if chosen else "")
        if names := [name for name in choice.names if name != choice.title]:
            text.append(f"  {fmt.clean(', '.join(names))}", style="not bold dim")
        return text
