"""The progress of a study: for which of its cells the history has a result.

A study keeps no list of its runs: a cell is done when the history has a probe that gives its
number, whoever started it. So a study that was killed needs no file of its own to be resumed, and
probes made by hand count. No torch here: the screen shows this before torch is imported.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping
from typing import Literal

from msgspec import Struct, structs

from engine.config.schema import StudyConfig
from engine.history.entry import Entry
from engine.history.history import History
from engine.history.shown import encoder_step
from engine.runs.data_identity import DataIdentity
from engine.runs.encoder_step import began_after
from engine.runs.ownership import owned
from engine.runs.record import ACTIVE
from engine.study.grid import Cell, Source
from engine.study.sought import Place, Sought, pretraining_keys, probe_keys, sought_by

State = Literal["missing", "waiting", "running", "done", "failed"]

ROWS: Mapping[str, str] = {
    "moco": "pretrained",
    "random-init": "random-init",
    "pixels": "pixels",
    "supervised": "supervised",
}
"""Name of a source in the rows and metrics of a probe."""

_STATES: Mapping[str, State] = {
    "running": "running",
    "paused": "running",
    "handed-over": "running",
    "queued": "waiting",
    "failed": "failed",
}
"""The state of a cell by the status of its probe. With any other status (stopped, lost) the cell is
missing, since the study resumes the probe."""


StudyData = DataIdentity | Mapping[str, DataIdentity] | None
"""What is known of the images and labels of a study: those of its reference, or of each of its data
sets by ``Variant.data``."""


class CellResult(Struct, frozen=True):
    """The result of a cell in the history.

    Attributes:
        state: ``waiting``: the pretraining has begun and is not finished, or the probe is queued;
            ``missing`` also when the probe was stopped or lost: the study will resume it;
            ``failed`` also when the pretraining failed.
        run: id of the probe, or of the pretraining that is waited for, or empty.
        top1, balanced, majority: percent, on the test images; None until they are known (the
            last two also for probes of earlier versions).
        encoder_step: steps of pretraining behind the encoder, the last of its run; None for
            baselines, and until the cell is done.
        epochs_trained, epochs_planned: of a net trained from scratch; None for other sources, and
            for probes of earlier versions.
        converged: whether longer training from scratch would be no better, as
            ``engine.probe.supervised_convergence`` judges it; None where it was not judged.
        error: why it failed, one sentence; empty for any other state.
    """

    state: State
    run: str
    top1: float | None = None
    balanced: float | None = None
    majority: float | None = None
    encoder_step: int | None = None
    epochs_trained: float | None = None
    epochs_planned: float | None = None
    converged: bool | None = None
    error: str = ""


class Trained(Struct, frozen=True):
    """A pretraining of the grid in the history.

    Attributes:
        run: its id, or empty.
        state: as the history shows it; ``missing`` when there is none.
        step, total_steps: its progress; 0 and 0 before it has begun.
        error: why it failed, one sentence; empty for any other state.
    """

    run: str
    state: str
    step: int
    total_steps: int
    error: str = ""


class StudyState(Struct, frozen=True):
    """The progress of a study.

    Attributes:
        cells: every cell of the configuration, encoder by encoder in the order in which these are
            trained.
        pretrainings: by label of the variant and seed, in that order.
    """

    cells: dict[Cell, CellResult]
    pretrainings: dict[Place, Trained]

    @property
    def done(self) -> int:
        """How many cells are done."""
        return sum(found.state == "done" for found in self.cells.values())

    @property
    def missing(self) -> tuple[Cell, ...]:
        """The cells that are not done, in the order of ``cells``."""
        return tuple(cell for cell, found in self.cells.items() if found.state != "done")

    @property
    def failed(self) -> dict[str, str]:
        """Why each run failed that a missing cell needs, by its id: the study leaves it alone."""
        found = {t.run: t.error for t in self.pretrainings.values() if t.state == "failed"}
        for cell in self.cells.values():
            if cell.state == "failed":
                found.setdefault(cell.run, cell.error)
        return found


def state_from_history(
    config: StudyConfig,
    history: History,
    data: StudyData = None,
    *,
    users: Collection[int] | None = None,
) -> StudyState:
    """The progress of a study, from the runs that the history has now.

    Args:
        config: the study.
        history: of the folder that its runs are in.
        data: see ``state_from_entries``.
        users: only runs of these users count, see ``engine.runs.ownership``; None: all runs, for
            a look at what there is.

    Raises:
        RunError: when the folder cannot be read.
    """
    entries = history.list()
    if users is not None:
        entries = owned(entries, history.root, users)
    return state_from_entries(config, entries, data)


def state_from_entries(
    config: StudyConfig,
    entries: Iterable[Entry],
    data: StudyData = None,
    *,
    first: Container[str] = (),
) -> StudyState:
    """``state_from_history`` from runs that were listed already.

    Args:
        config: the study.
        entries: the runs.
        data: the images and labels of the study: runs that have seen others do not count; those
            that recorded none (of version 0.1) do. None: not known, all count. Of a study of
            several data sets, what is not named in it counts.
        first: ids of runs that go before equal ones, such as those of the study's own user.
    """
    sought = sought_by(config)
    # Of equal runs the first counts, so that a number does not change when others are added.
    entries = sorted(
        _seen_alike(entries, sought, data),
        key=lambda entry: (entry.id not in first, entry.place, entry.id),
    )
    trained = _pretrainings(sought, entries)
    probes = {} if sought.by_knn else _probes(trained, entries)
    sharing = _sharing(sought, trained)
    cells: dict[Cell, CellResult] = {}
    for place, keyed in sought.cells.items():
        parent = trained[place]
        for cell, key in keyed:
            if sought.by_knn:
                cells[cell] = _knn_result(parent)
                continue
            if cell.source == "moco":
                runs = _probes_of_the_end(parent, probes, key)
            else:  # a baseline is the same beside every encoder of its seed that shares it
                beside = sharing.get((cell.source, cell.variant, place[1]), [])
                runs = [e for id_ in beside for e in probes.get((id_, cell.source, key), ())]
            found = _cell_result(ROWS[cell.source], runs, parent)
            if cell.source == "moco" and parent is not None and found.state == "done":
                found = structs.replace(found, encoder_step=_last_step(parent))
            cells[cell] = found
    return StudyState(cells, {at: _trained(entry) for at, entry in trained.items()})


def _seen_alike(entries: Iterable[Entry], sought: Sought, data: StudyData) -> list[Entry]:
    """The runs that were computed with the images of the study, as far as that is known."""
    if data is None:
        return list(entries)
    if isinstance(data, DataIdentity):
        if len(sought.data) == 1:
            return [entry for entry in entries if _saw(entry, data)]
        data = {sought.reference_data: data}
    entries = list(entries)
    # A probe has no data of its own in its settings: they are those of its pretraining.
    of_run = {e.id: pretraining_keys(e).data for e in entries if e.kind == "pretrain"}
    return [e for e in entries if _saw(e, data.get(of_run.get(e.id) or of_run.get(e.parent, "")))]


def _saw(entry: Entry, data: DataIdentity | None) -> bool:
    """Whether a run was computed with these data, as far as that is known."""
    if data is None:
        return True
    if entry.kind == "pretrain":  # the test images leave its weights as they are
        return entry.train_digest in ("", data.train_digest)
    return entry.data_digest in ("", data.digest)


def _sharing(
    sought: Sought, trained: Mapping[Place, Entry | None]
) -> dict[tuple[str, str | None, int], list[str]]:
    """Ids of the pretrainings that share a baseline: by its name, its variant and the seed."""
    found: dict[tuple[str, str | None, int], list[str]] = {}
    for (label, seed), entry in trained.items():
        if entry is not None:
            for name, group in sought.groups[label].items():
                found.setdefault((name, group or None, seed), []).append(entry.id)
    return found


def _pretrainings(sought: Sought, entries: Iterable[Entry]) -> dict[Place, Entry | None]:
    """The run that counts for each pretraining: the furthest, and of equally far ones the first.

    A finished run is kept, whatever is trained beside it later: its probes are results already.
    An encoder that was trained elsewhere is none of the study's, whatever its settings say, and
    neither is a run that went on from another one's checkpoint: its result is another one's.
    """
    found: dict[Place, Entry | None] = dict.fromkeys(sought.pretrainings.values())
    for entry in entries:
        if entry.kind != "pretrain" or entry.imported or entry.began_from:
            continue
        keys = pretraining_keys(entry)
        if sought.by_knn and not keys.knn:
            continue
        at = sought.pretrainings.get(keys.weights + keys.knn if sought.by_knn else keys.weights)
        if at is not None:
            best = found[at]
            if best is None or _rank(entry) > _rank(best):  # not >=: entries come oldest first
                found[at] = entry
    return found


def _rank(entry: Entry) -> tuple[bool, bool, int]:
    """How far a run is: finished, then being trained, then its steps."""
    return entry.status == "finished", entry.status in ACTIVE, entry.step


def _probes(
    trained: Mapping[Place, Entry | None], entries: Iterable[Entry]
) -> dict[tuple[str, Source, str], list[Entry]]:
    """The probes of the study's encoders, by encoder, source and ``row_key``.

    A probe stands under its encoder and under each of its baselines.
    """
    # One pass over all runs: a cell is then looked up, not searched for.
    parents = {entry.id for entry in trained.values() if entry is not None}
    found: dict[tuple[str, Source, str], list[Entry]] = {}
    for entry in entries:
        if entry.kind != "probe" or entry.parent not in parents:
            continue
        for source, key in probe_keys(entry):
            found.setdefault((entry.parent, source, key), []).append(entry)
    return found


def _probes_of_the_end(
    parent: Entry | None, probes: Mapping[tuple[str, Source, str], list[Entry]], key: str
) -> list[Entry]:
    """The probes with a key that used, or will use, the last checkpoint of a pretraining.

    A probe of an earlier step is one of another encoder. One that has neither a step nor a number
    yet will read the last checkpoint, since its pretraining has finished, unless it names another
    one. Only of a result of version 0.1, which names no step, do the recorded times tell
    (``began_after``).
    """
    if parent is None or parent.status != "finished":
        return []
    finished, last = parent, _last_step(parent)

    def is_of_the_end(entry: Entry) -> bool:
        step = encoder_step(entry)
        if step is not None:
            return step == last
        if entry.checkpoint:
            return False
        has_number = f"probe/{ROWS['moco']}/test_top1" in entry.last
        return began_after(entry, finished.ended) if has_number else True

    return [entry for entry in probes.get((parent.id, "moco", key), []) if is_of_the_end(entry)]


def _last_step(pretraining: Entry) -> int:
    """Step of the encoder that a probe of a finished pretraining reads."""
    # A process that was killed between its last checkpoint and its record leaves a smaller one.
    return max(pretraining.step, pretraining.checkpoint_step or 0)


def _cell_result(row: str, runs: Iterable[Entry], parent: Entry | None) -> CellResult:
    """The state of a cell: of the first probe that has its number, else of the furthest probe.

    Args:
        row: name of the source in metrics, see ``ROWS``.
        runs: the probes that give the number, oldest first.
        parent: the pretraining, where there is one.
    """
    best: Entry | None = None
    for entry in runs:
        # By the metric, not the status: a probe that was stopped keeps the rows it has finished.
        top1 = entry.last.get(f"probe/{row}/test_top1")
        if top1 is not None:
            converged = entry.last.get(f"probe/{row}/converged")
            return CellResult(
                "done",
                entry.id,
                top1,
                entry.last.get(f"probe/{row}/test_balanced"),
                entry.last.get(f"probe/{row}/test_majority"),
                epochs_trained=entry.last.get(f"probe/{row}/epochs_trained"),
                epochs_planned=entry.last.get(f"probe/{row}/epochs_planned"),
                converged=None if converged is None else bool(converged),
            )
        # An active probe will have the number soonest; else the oldest one.
        if best is None or entry.status in ("running", "paused"):
            best = entry
    if best is not None:
        state = _STATES.get(best.status, "missing")
        return CellResult(state, best.id, error=_why(best) if state == "failed" else "")
    return _without_probe(parent)


def _why(entry: Entry) -> str:
    """Why a run failed."""
    return entry.error or "Its record does not say why."


def _without_probe(parent: Entry | None) -> CellResult:
    """The state of a cell by its pretraining alone."""
    if parent is not None and parent.status == "failed":
        return CellResult("failed", parent.id, error=_why(parent))
    # Also where it was stopped: ``StudyState.pretrainings`` has its status.
    if parent is not None and parent.status != "finished":
        return CellResult("waiting", parent.id)
    return CellResult("missing", "")


def _knn_result(parent: Entry | None) -> CellResult:
    """The state of a cell that is judged by the kNN at the end of its pretraining."""
    if parent is None or parent.status != "finished":
        return _without_probe(parent)
    top1 = parent.last.get("knn/top1")  # of the last step: a finished run has measured there
    if top1 is None:
        return CellResult("failed", parent.id, error="It has measured no kNN at its end.")
    return CellResult("done", parent.id, top1, encoder_step=_last_step(parent))


def _trained(entry: Entry | None) -> Trained:
    if entry is None:
        return Trained("", "missing", 0, 0)
    error = _why(entry) if entry.status == "failed" else ""
    return Trained(entry.id, entry.status, entry.step, entry.total_steps, error)
