"""Configure a run that goes on from a checkpoint of another one: extend it, or fork it."""

from __future__ import annotations

from typing import Any

from engine.config.branch_rules import check_branch
from engine.config.missing_settings import completed, flat_config
from engine.config.schema import AnyConfig
from engine.errors import ConfigError, UserError
from engine.runs import RunFolder, create
from engine.runs.branching import branch_start
from engine.runs.checkpoint_ref import CheckpointRef
from engine.runs.kept_checkpoints import epoch_of, kept_checkpoints
from moco_tui.present import fmt, form
from moco_tui.present.branch_text import branch_command, how_of
from moco_tui.screens.new_run_screen import NewRunScreen
from moco_tui.session import Session


class BranchRunScreen(NewRunScreen):
    """The form with the settings of another pretraining, whose checkpoint the new run begins with.

    Args:
        session: what all screens share.
        source: id of the pretraining.
        which: its checkpoint: an epoch, ``best``, or empty for the last.
        longer: begin with twice as many epochs.
    """

    TITLE_TEXT = "Go on from a run"
    HELP = """The settings are those of the run that the new one goes on from; a dot marks what
differs from the preset. What its weights cannot take, such as another net or other images, is
marked. The learning rate is that of the new schedule at the epoch that was reached. Keys are those
of the form for a new run."""

    def __init__(
        self, session: Session, *, source: str, which: str = "", longer: bool = False
    ) -> None:
        super().__init__(session, like=source)
        self._ref = CheckpointRef(session.folder(source), which)
        self._longer = longer
        self._old: dict[str, Any] = {}
        self._epoch = 0.0
        self._finished = False

    def _first_state(self) -> form.FormState:
        """The settings of the other run; twice the epochs where it is to be extended."""
        try:
            record = self._ref.folder.record()
        except UserError as error:
            self.call_after_refresh(self.say, str(error), severity="error")
            return super()._first_state()
        values = flat_config(record.kind, completed(record.kind, record.config))
        kept = kept_checkpoints(self._ref.folder.path)
        self._epoch = epoch_of(record, self._ref.which, kept) or 0.0
        self._finished = record.status == "finished"
        preset, words = record.preset, f"as run {fmt.clean(record.id)}"
        state = form.FormState(record.kind, preset=preset, values=values, words=words)
        self._old = dict(state.values)
        if self._longer:
            epochs = 2 * int(state.values["optim.epochs"])
            values |= {"optim.epochs": epochs, "optim.stop_epoch": 0}
            state = form.FormState(record.kind, preset=preset, values=values, words=words)
        if self.session.device:
            state.use_device(self.session.device)
        return state

    def say_start(self) -> None:
        """Say what the run goes on from."""
        title = fmt.clean(self._ref.folder.title())
        self.top.set(f"from {title} ({self._ref.text})", f"epoch {self._epoch:.4g}")

    @property
    def _goes_on(self) -> bool:
        """Whether the form is still one for a pretraining: its kind can be changed."""
        return self.state.kind == "pretrain" and bool(self._old)

    def problems(self) -> dict[str, str]:
        """Also what the checkpoint cannot take."""
        found = super().problems()
        if not found and self._goes_on:
            try:
                check_branch(self._old, self.state.values, self._epoch, self._ref.text)
            except ConfigError as error:
                found[error.key] = form.short_reason(str(error), error.key)
        return found

    def _command(self) -> str:
        if not self._goes_on:
            return super()._command()
        return branch_command(
            self._ref,
            self._old,
            self.state.values,
            finished=self._finished,
            name=self.body.run_name,
            detached=self.body.detached,
        )

    def make_run(self, config: AnyConfig, name: str, preset: str, parent: str) -> RunFolder:
        """The folder of the new run, with the checkpoint that it begins with."""
        if not self._goes_on:
            return super().make_run(config, name, preset, parent)
        how = how_of(self._ref, self._old, self.state.values, finished=self._finished)
        start = branch_start(self._ref, how)
        return create(self.session.root, "pretrain", config, name=name, preset=preset, start=start)
