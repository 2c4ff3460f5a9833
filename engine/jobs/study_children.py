"""The runs of a study: each is trained as any other run is."""

from __future__ import annotations

import gc
from pathlib import Path

import torch

from engine.config.schema import PretrainConfig, ProbeConfig
from engine.errors import RunBusyError, RunError, TrainingError
from engine.jobs.job import Execute, StudyContext
from engine.jobs.nested_sink import NestedSink
from engine.runs import RunFolder, create
from engine.sink import Interrupted, Sink


class StudyChildren:
    """Makes the runs of a study and trains them, one after the other.

    Args:
        study: folder of the study; its runs lie beside it.
        data_dir: where data sets and their caches live.
        sink: that of the study, or of the worker.
        execute: ``engine.jobs.execute.execute``.

    Attributes:
        failed: the sentence of each run that failed in this part of the study, by id.
        busy: runs that are in work in other processes, found since the list was last cleared.
        stopped: id of the run that was asked to stop itself, which stops the study; empty for none.
    """

    def __init__(self, study: RunFolder, data_dir: Path, sink: Sink, execute: Execute) -> None:
        self._study, self._root = study.id, study.path.parent
        self._data_dir, self._sink, self._execute = data_dir, sink, execute
        self.failed: dict[str, str] = {}
        self.busy: list[RunFolder] = []
        self.stopped = ""

    def folder(
        self,
        run: str,
        kind: str,
        config: PretrainConfig | ProbeConfig,
        *,
        name: str,
        parent: str = "",
    ) -> RunFolder:
        """The run to go on with, or a new one where ``run`` is empty."""
        if run:
            return RunFolder(self._root / run)
        return create(self._root, kind, config, name=name, parent=parent, study=self._study)

    def train(
        self, folder: RunFolder, context: StudyContext, *, cells_done: int, announcement: str = ""
    ) -> bool:
        """Trains one run of the study to its end.

        Args:
            folder: the run.
            context: what is loaded already.
            cells_done: step of the study, at which its requests are acknowledged meanwhile.
            announcement: for the log, when the run is begun here.

        Returns:
            True when it is finished; False when it failed or another process works on it.

        Raises:
            Interrupted: the study, or this run itself, was asked to stop.
            RunError: the run is queued in another process, which may be waiting for this one.
        """
        if folder.id in self.failed or self._is_busy(folder):
            return False
        if announcement:
            self._sink.log(f"{announcement}: run {folder.id}")
        # Requests to the study go to the run, which answers within a step; see NestedSink.
        child = NestedSink(self._sink, folder.title(), cells_done)
        try:
            outcome = self._execute(folder, data_dir=self._data_dir, sink=child, study=context)
        except RunBusyError:  # another process took it since _is_busy looked
            self.busy.append(folder)
            return False
        except TrainingError as error:
            self.failed[folder.id] = str(error)
            self._sink.log(f"run {folder.id} failed: {error}")
            return False
        finally:
            if context.encoder is None:  # a pretraining: reference cycles keep its memory
                gc.collect()
                torch.cuda.empty_cache()
        if outcome != "finished":
            if child.ending_request is None:  # the request was one to the run itself
                self.stopped = folder.id
                self._sink.log(f"run {folder.id} was stopped: the study stops with it")
            raise Interrupted(child.ending_request or "stop")
        return True

    def _is_busy(self, folder: RunFolder) -> bool:
        """Whether another process works on a run; the study waits for it at its end.

        Raises:
            RunError: see ``train``.
        """
        if not folder.alive():
            return False
        if folder.record().status == "queued":
            raise RunError(
                f"Run {folder.id}, which the study needs, waits for its turn in another "
                "process; start it there or take it out of the queue, and resume the study."
            )
        self.busy.append(folder)
        return True
