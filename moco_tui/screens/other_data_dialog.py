"""Asks whether a run goes on although its images or labels have changed since it began."""

from __future__ import annotations

from collections.abc import Callable

from engine.errors import UserError
from engine.runs import RunFolder
from moco_tui.present import fmt
from moco_tui.screens.dialogs import Confirm
from moco_tui.training.runner import Runner


class OtherData(Confirm):
    """Goes on with the run when the answer is yes; else it stays stopped, as it is.

    Args:
        runner: trains it.
        folder: the run.
        sentence: of the refusal, with what has changed.
        say: shows a sentence when it cannot be started.
    """

    def __init__(
        self, runner: Runner, folder: RunFolder, sentence: str, say: Callable[[str], None]
    ) -> None:
        # What the command would be told to do is what this question offers.
        changed = fmt.clean(sentence.partition("; put them back")[0])
        super().__init__(f"{changed}. Go on with what is there now?", "Go on", "Leave it stopped")
        self._runner, self._folder, self._tell = runner, folder, say

    def action_answer(self, yes: bool) -> None:
        """Answer by a key or a button."""
        if yes:
            try:
                self._runner.start(self._folder, allow_other_data=True)
            except UserError as error:
                self._tell(str(error))
        super().action_answer(yes)
