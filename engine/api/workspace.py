"""A folder of runs: start runs in this process, open and list them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from engine.api.configurations import Overrides, pretrain_config, probe_config, study_config
from engine.api.opened_run import Run
from engine.api.progress_reports import StopOnInterrupt, Watcher, joined
from engine.config import own_code
from engine.config.resolve import paths_by_key
from engine.config.schema import AnyConfig, PretrainConfig, ProbeConfig, StudyConfig
from engine.errors import ConfigError, RunError
from engine.history.entry import Entry
from engine.history.history import History
from engine.jobs.prepare import prepare
from engine.runs import by_id, create, find, runs_root
from engine.runs.note_limits import checked_name
from engine.runs.root import check_place, data_root
from engine.runs.unstarted import taken_back_unless_begun
from engine.sink import Interrupted


class Workspace:
    """The runs of a folder, which app, commands and other processes may use at the same time.

    A run is computed in the calling thread, with the device, precision and threads of its
    configuration; those of torch are set for the whole process. Ctrl+C in the main thread stops it
    with a checkpoint and then raises KeyboardInterrupt; ``resume`` goes on.

    Args:
        runs: the folder of run folders; None: ``$MOCO_TUI_RUNS``, else ``./runs``.
        data: where data sets and their caches live; None: ``$MOCO_TUI_DATA``, else the user's
            cache.

    Attributes:
        root: the folder of run folders, absolute.

    >>> work.open("first").kind
    'pretrain'
    >>> [entry.kind for entry in work.runs("kind:probe")]
    ['probe']
    """

    def __init__(self, runs: str | Path | None = None, data: str | Path | None = None) -> None:
        self.root = runs_root(None if runs is None else str(runs))
        self._data = data_root(None if data is None else str(data))

    def __repr__(self) -> str:
        return f"Workspace({str(self.root)!r})"

    # ------------------------------------------------------------------------------ computing

    def pretrain(
        self,
        config: PretrainConfig | str = "",
        overrides: Overrides | None = None,
        *,
        name: str = "",
        progress: Watcher | None = None,
    ) -> Run:
        """Pretrain an encoder, in this thread, until the end.

        Args:
            config: a configuration, or the name of a preset; empty: the defaults.
            overrides: see ``configurations.pretrain_config``; with a preset only.
            name: of the run, for people.
            progress: told how it goes on, see ``progress_reports.Watcher``.

        Returns:
            The run; its ``status`` is ``finished``, or ``stopped`` where somebody asked it to.

        Raises:
            ConfigError: a setting is wrong; no run is made then.
            UserError: one sentence on what is missing or does not fit; no run is made then.
            TrainingError: it failed after its first step; ``resume`` goes on from its checkpoint.
            KeyboardInterrupt: see the class.

        >>> work.pretrain("quick", {"optim.batch_size": 4})
        Traceback (most recent call last):
        engine.errors.ConfigError: model.bn_splits is 8, which does not divide optim.batch_size ...
        """
        if isinstance(config, str):
            made = pretrain_config(config, overrides)
            return self._start("pretrain", made, name, progress, preset=config)
        _checked_whole(config, overrides)
        return self._start("pretrain", config, name, progress)

    def probe(
        self,
        run: Run | str,
        config: ProbeConfig | Mapping[str, object] | None = None,
        *,
        name: str = "",
        progress: Watcher | None = None,
    ) -> Run:
        """Probe the encoder of a pretraining with few labels, frozen or fine-tuned.

        Args:
            run: the pretraining, see ``open``.
            config: a configuration, or overrides over the defaults.
            name: of the probe, for people.
            progress: told how it goes on.

        Returns:
            The probe; its ``rows`` are the results.

        Raises:
            UserError: as of ``pretrain``.
            KeyboardInterrupt: see the class.
        """
        parent = run if isinstance(run, Run) else self.open(run)
        if parent.path.parent != self.root:
            raise RunError(f"Run {parent.id} lies in {parent.path.parent}, not in {self.root}.")
        made = config if isinstance(config, ProbeConfig) else probe_config(config)
        return self._start("probe", made, name, progress, parent=parent.id)

    def study(
        self,
        config: StudyConfig | str = "",
        overrides: Overrides | None = None,
        *,
        name: str = "",
        progress: Watcher | None = None,
    ) -> Run:
        """Compute a whole study, one run after the other; what is there is not computed again.

        Args:
            config: a configuration, or the name of a preset; empty: the defaults.
            overrides: see ``configurations.study_config``; with a preset only.
            name: of the study, for people.
            progress: told how it goes on; its steps are cells.

        Returns:
            The study; its ``results`` are rows, comparisons and the answer.

        Raises:
            UserError: as of ``pretrain``.
            TrainingError: some of its runs failed.
            KeyboardInterrupt: see the class.
        """
        if isinstance(config, str):
            made = study_config(config, overrides)
            return self._start("study", made, name, progress, preset=config)
        _checked_whole(config, overrides)
        return self._start("study", config, name, progress)

    def _start(
        self,
        kind: str,
        config: AnyConfig,
        name: str,
        progress: Watcher | None,
        *,
        preset: str = "",
        parent: str = "",
    ) -> Run:
        """Checks everything, makes the run and computes it; a mistake leaves no folder behind."""
        check_place(self.root)
        checked_name(name)
        # Given by the caller, who may name code: as what is typed on the command line.
        paths = paths_by_key(config)
        own_code.name_paths(path for _, path in paths)
        for key, path in paths:
            own_code.load(path, key)
        stop = StopOnInterrupt()
        with stop:
            try:
                job = prepare(
                    config,
                    root=self.root,
                    parent=parent,
                    data_dir=self._data,
                    sink=joined(stop, progress),
                )
            except Interrupted:  # while the images were read: there is no run yet
                raise KeyboardInterrupt from None
        folder = create(self.root, kind, config, name=name, preset=preset, parent=parent)
        run = Run(folder, self._data)
        with taken_back_unless_begun(folder):
            run.compute(progress, prepared=job)
        return run

    # ------------------------------------------------------------------------------ looking

    def open(self, run: str | Path) -> Run:
        """A run by its id, its name, the beginning of either, ``latest``, or its folder.

        Raises:
            RunError: when there is none, or more than one.

        >>> work.open("nothing like it")
        Traceback (most recent call last):
        engine.errors.RunError: There is no run nothing like it in ...
        >>> work.open(run.path).id == work.open(run.id).id == run.id
        True
        """
        if isinstance(run, Path) or "/" in run:
            path = Path(run).expanduser().absolute()
            folder = by_id(path.parent, path.name)
            folder.record()
            return Run(folder, self._data)
        return Run(find(self.root, run, listed_by="Workspace.runs"), self._data)

    def runs(
        self, where: str = "", *, sort: str = "-created", limit: int | None = None
    ) -> list[Entry]:
        """The history: what is known of each run, without reading it whole.

        Args:
            where: a filter, as ``moco-tui runs`` takes it: ``kind:pretrain K>1000 tag:good``.
            sort: a column, a setting or a metric; with ``-`` before it the largest first.
            limit: at most so many.

        Returns:
            See ``engine.history.entry.Entry``: ``id``, ``title``, ``status``, ``best``, ``last``,
            ``setting(key)`` and more; ``open(entry.id)`` is the run.

        Raises:
            ConfigError: when the filter or the sort key cannot be understood.

        >>> [entry.title for entry in work.runs("kind:pretrain name:first")]
        ['first']
        >>> work.runs("kind:")
        Traceback (most recent call last):
        engine.errors.ConfigError: ...
        """
        if limit is not None and limit < 0:
            raise ConfigError(f"limit is {limit}; it must be 0 or more.")
        return History(self.root, read_only=True).list(where, sort=sort)[:limit]


def open_run(path: str | Path) -> Run:
    """A run by its folder.

    Raises:
        RunError: when there is none.

    >>> open_run(run.path).id == run.id
    True
    """
    return Workspace().open(Path(path))


def _checked_whole(config: object, overrides: Overrides | None) -> None:
    """Refuses overrides beside a whole configuration: nobody could say which of them wins."""
    if overrides:
        raise ConfigError(
            f"overrides go with the name of a preset; make a {type(config).__name__} with them "
            "instead."
        )
