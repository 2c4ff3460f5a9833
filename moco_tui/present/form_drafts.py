"""What a person has typed into the forms of each kind of run, between which they may go."""

from __future__ import annotations

from collections.abc import Callable

from moco_tui.present.form import FormState
from moco_tui.present.form_kinds import typed_for


class FormDrafts:
    """A form for each kind of run that was looked at.

    Args:
        first: the one to begin with.
        begin: the form of a kind before anything is typed.

    Attributes:
        state: the form that is shown.
    """

    def __init__(self, first: FormState, begin: Callable[[str], FormState]) -> None:
        self.state = first
        self._begin = begin
        self._of_kind = {first.kind: first}

    def go_to(self, kind: str) -> FormState:
        """The form of a kind: with its own edits, and with what of those here it has as well."""
        before = self.state
        if kind not in self._of_kind:
            self._of_kind[kind] = self._begin(kind)
        self.state = self._of_kind[kind]
        if before is not self.state:
            self.state.carry(typed_for(before, kind))
        return self.state

    def typed(self) -> int:
        """How many settings a person has typed or chosen, in all forms."""
        # An axis whose values are wrong is no setting yet, but was typed.
        return sum(
            len(state.typed.keys() | ({"axes"} & state.wrong.keys()))
            for state in self._of_kind.values()
        )
