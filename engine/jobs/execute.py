"""The one path by which every kind of run is trained, resumed and ended, whoever starts it."""

from __future__ import annotations

import contextlib
import gc
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from engine.config.schema import (
    KINDS,
    AnyConfig,
    DataConfig,
    ModelConfig,
    PretrainConfig,
    ProbeConfig,
    StudyConfig,
)
from engine.data.dataset import Dataset, load_dataset
from engine.errors import RunError, TrainingError, UserError
from engine.evaluate.tasks import Material, prepare_material
from engine.history.index import note_change
from engine.models.encoder import Encoder, build_encoder
from engine.pretrain import checkpoint as checkpoints
from engine.pretrain.loop import Outcome, check_batch, pretrain
from engine.probe.feature_sources import FeaturesForManyProbes, FeaturesForOneProbe
from engine.probe.head import load_head
from engine.probe.probe_run import probe_sources, steps_kept
from engine.runs import Record, RunFolder, RunOwner, find, own
from engine.runs.export import with_events
from engine.runtime.device import Runtime, apply_runtime, resolve_runtime
from engine.runtime.device_lock import DeviceLock, device_key
from engine.sink import Interrupted, Plan, Request, Sink, Tee

Heir = Callable[[int, int | None], bool]
"""Starts the process that goes on with a run: gets the descriptors of the run's lock and of the
device's (None when there is none), says whether the process has taken over."""


class _OwnerSink:
    """The owner of the run as the trainer's sink: acknowledgements become states."""

    def __init__(self, owner: RunOwner, card: DeviceLock) -> None:
        self._owner, self._card = owner, card
        self.began = False

    def plan(self, plan: Plan) -> None:
        self.began = True
        self._owner.plan(plan)

    def metrics(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        self._owner.metrics(step, epoch, values)

    def progress(self, stage: str, done: int, total: int) -> None:
        self._owner.progress(stage, done, total)

    def log(self, text: str) -> None:
        self._owner.log(text)

    def checkpointed(self, step: int) -> None:
        self._owner.checkpointed(step)
        self._card.touch()

    def result(self, values: Mapping[str, Any]) -> None:
        self._owner.result(values)

    def request(self) -> Request | None:
        return self._owner.request()

    def acknowledge(self, request: Request, step: int) -> None:
        self._owner.acknowledge(request, step)
        if request == "pause":
            self._owner.transition("paused")
        elif request == "continue" and self._owner.record.status == "paused":
            self._owner.transition("running")


@dataclass(frozen=True)
class LoadedEncoder:
    """A pretrained query encoder with what it needs to see images as it was trained to.

    Attributes:
        encoder: in eval mode, on the CPU.
        config: the configuration of its pretraining.
        mean, std: ``(3,)`` float32, of the channels in [0, 1].
        step: steps of pretraining behind it.
    """

    encoder: Encoder
    config: PretrainConfig
    mean: Tensor
    std: Tensor
    step: int


def config_of(record: Record) -> AnyConfig:
    """The configuration in a record.

    Raises:
        RunError: when it does not fit this version.
    """
    try:
        return msgspec.convert(record.config, KINDS[record.kind], strict=False)
    except (KeyError, msgspec.ValidationError) as error:
        raise RunError(
            f"The record of run {record.id} holds a configuration that this version does not "
            f"know ({error})."
        ) from error


def load_encoder(folder: RunFolder) -> LoadedEncoder:
    """The query encoder of a pretraining, from its last checkpoint.

    Raises:
        RunError: when the run is no pretraining, has no checkpoint, or it cannot be read.
    """
    record = folder.record()
    config = config_of(record)
    if not isinstance(config, PretrainConfig):
        raise RunError(f"Run {record.id} is a {record.kind}; a probe needs a pretraining.")
    state = checkpoints.load(folder.checkpoint_path)
    try:
        model = msgspec.convert(state["model_config"], ModelConfig)
        encoder = build_encoder_quietly(model)
        prefix = "encoder_q."
        encoder.load_state_dict(
            {k[len(prefix) :]: v for k, v in state["model"].items() if k.startswith(prefix)}
        )
        return LoadedEncoder(
            encoder.eval(), config, state["mean"], state["std"], int(state["step"])
        )
    except (KeyError, TypeError, RuntimeError, msgspec.ValidationError) as error:
        raise RunError(
            f"The checkpoint of run {record.id} does not hold the encoder that its record "
            "describes."
        ) from error


def build_encoder_quietly(model: ModelConfig) -> Encoder:
    """An encoder whose initialisation leaves torch's default generator as it was."""
    with torch.random.fork_rng(devices=[]):
        return build_encoder(model)


@dataclass(frozen=True)
class Prepared:
    """Everything a run needs before its first step, found and checked.

    Attributes:
        config: the configuration.
        runtime: the resolved device, precision and threads; already applied to the process.
        dataset: the images.
        parent: the encoder that a probe is about; None for other runs.
        sources: makes the features of a probe; None for other runs.
        material: the labels of a probe; None for other runs.
    """

    config: AnyConfig
    runtime: Runtime
    dataset: Dataset
    parent: LoadedEncoder | None = None
    sources: FeaturesForOneProbe | FeaturesForManyProbes | None = None
    material: Material | None = None


@dataclass(frozen=True)
class Shared:
    """What the runs of a study have in common.

    Attributes:
        dataset: the images.
        parent: the encoder of its probes.
        sources: makes their features, once for all.
        material: the labels of the next of these probes.
    """

    dataset: Dataset
    parent: LoadedEncoder | None = None
    sources: FeaturesForManyProbes | None = None
    material: Material | None = None


def prepare(
    config: AnyConfig,
    *,
    root: Path,
    parent: str,
    data_dir: Path,
    sink: Sink,
    recorded: Mapping[str, Any] | None = None,
    shared: Shared | None = None,
) -> Prepared:
    """Finds the device, the images and the encoder, and checks that they fit the configuration.

    A command calls it before it makes a run folder, so that a mistake leaves nothing behind.

    Args:
        config: what is to run.
        root: folder of the run folders.
        parent: id of the pretraining, for a probe.
        data_dir: where data sets and their caches live.
        sink: hears the progress of reading.
        recorded: facts of an earlier part of the same run.
        shared: what is there already.

    Raises:
        UserError: one sentence on what is missing or does not fit.
    """
    asked = config.pretrain.runtime if isinstance(config, StudyConfig) else config.runtime
    runtime = resolve_runtime(asked, recorded=dict(recorded or {}))
    if runtime.notice:
        sink.log(runtime.notice)
    apply_runtime(runtime, deterministic=asked.deterministic)

    def images(data: DataConfig) -> Dataset:
        return shared.dataset if shared else load_dataset(data, data_dir=data_dir, sink=sink)

    if isinstance(config, StudyConfig):
        from engine.jobs.study_run import (
            check_study,  # not at the top: it executes the runs of a study
        )

        resolve_runtime(config.probe.runtime)
        dataset = images(config.pretrain.data)
        check_batch(config.pretrain, len(dataset.train))
        check_study(config, dataset)
        return Prepared(config, runtime, dataset)
    if isinstance(config, PretrainConfig):
        dataset = images(config.data)
        check_batch(config, len(dataset.train))
        return Prepared(config, runtime, dataset)
    encoder = shared.parent if shared and shared.parent else load_encoder(find(root, parent))
    dataset = images(encoder.config.data)
    load_head(config)
    material = shared.material if shared else None
    if material is None:
        material = prepare_material(config, dataset)
    sources: FeaturesForOneProbe | FeaturesForManyProbes | None = shared.sources if shared else None
    if sources is None:
        sources = FeaturesForOneProbe(
            encoder.encoder,
            encoder.config.model,
            dataset,
            encoder.mean,
            encoder.std,
            runtime.device,
        )
    return Prepared(config, runtime, dataset, encoder, sources, material)


def execute(
    folder: RunFolder,
    *,
    data_dir: Path,
    sink: Sink | None = None,
    lock_fd: int | None = None,
    device_fd: int | None = None,
    prepared: Prepared | None = None,
    heir: Heir | None = None,
    shared: Shared | None = None,
) -> Outcome:
    """Trains, resumes or probes a run in the calling thread until it ends or is asked to.

    Args:
        folder: a run that was created; with a checkpoint it goes on from there.
        data_dir: where data sets and their caches live.
        sink: hears everything beside the run folder and may ask too (its requests come first).
        lock_fd: the run's lock, inherited from the process that handed the run over, or taken
            in this one.
        device_fd: the lock of the device, inherited likewise.
        prepared: what ``prepare`` gave for this run, if it was called already.
        heir: starts whoever goes on with the run after a hand-over. Called when the resume point
            is on disk and the memory of the device is free, while the run is still locked.
            Without one, whoever asked for the hand-over has to resume the run.
        shared: what a run of a study finds ready.

    Returns:
        ``finished``, ``stopped`` or ``handed-over``; the record says the same. A run that the
        heir did not take over is stopped.

    Raises:
        RunBusyError: a living process owns the run.
        TrainingError: it failed after its first step could begin; the record says failed.
        UserError: it could not begin; the record says failed and why.
    """
    card = DeviceLock(device_fd)
    with contextlib.closing(card), own(folder, lock_fd=lock_fd, on_change=note_change) as owner:
        inner = _OwnerSink(owner, card)
        both: Sink = inner if sink is None else Tee([sink, inner])
        try:
            outcome = _run(owner, card, folder, data_dir, both, prepared, shared)
        except Interrupted as interrupted:  # asked to leave outside the loop over steps
            both.acknowledge(interrupted.request, owner.record.step)
            outcome = "stopped" if interrupted.request == "stop" else "handed-over"
        except UserError as error:
            _fail(owner, str(error), str(error))
            if inner.began and not isinstance(error, TrainingError):
                raise TrainingError(str(error)) from error
            raise
        except BaseException as error:
            reason = f"{type(error).__name__}: {error}".strip(": ")
            _fail(owner, reason, traceback.format_exc())
            if isinstance(error, Exception):
                raise TrainingError(
                    f"Run {owner.record.id} failed ({reason}); the traceback is in "
                    f"{folder.log_path}."
                ) from error
            raise
        paused = owner.record.status == "paused"
        owner.transition(outcome)
        if outcome == "handed-over":
            if paused:
                folder.request("pause")  # whoever takes over finds it and pauses again
            if heir is not None:
                outcome = _hand_over(owner, card, heir)
        return outcome


def _hand_over(owner: RunOwner, card: DeviceLock, heir: Heir) -> Outcome:
    # What the trainer left in cycles still holds memory of the device, which the heir may need.
    gc.collect()
    torch.cuda.empty_cache()  # does nothing where CUDA is not in use
    problem = "the process that was to go on with the run ended at once"
    try:
        if heir(owner.lock_fd, card.fd):
            return "handed-over"
    except UserError as error:
        problem = str(error)
    owner.transition("stopped")
    owner.log(f"{problem}; the run is stopped and can be resumed")
    return "stopped"


def _fail(owner: RunOwner, reason: str, details: str) -> None:
    """Records a failure where the folder can still be written; else the run shows as lost."""
    with contextlib.suppress(RunError):
        owner.log(details)
        owner.transition("failed", error=reason)


def _run(
    owner: RunOwner,
    card: DeviceLock,
    folder: RunFolder,
    data_dir: Path,
    sink: Sink,
    prepared: Prepared | None,
    shared: Shared | None,
) -> Outcome:
    record = owner.record
    config = config_of(record)
    state = _resume_point(folder, record)
    owner.transition("running")
    if prepared is None:
        prepared = prepare(
            config,
            root=folder.path.parent,
            parent=record.parent,
            data_dir=data_dir,
            sink=sink,
            # both parts of a run, and all rows of a probe, with the same threads and precision
            recorded=record.facts if state is not None or record.kind == "probe" else None,
            shared=shared,
        )
    for name in prepared.dataset.skipped[:20]:
        sink.log(f"skipped a broken image: {name}")
    if isinstance(config, StudyConfig):  # its runs take the device, each for itself
        return _study(config, owner, folder, data_dir, sink, prepared)
    card.acquire(
        device_key(prepared.runtime.device),
        name=prepared.runtime.name,
        holder=f"run {record.id} (process {record.pid})",
        sink=sink,
    )
    if isinstance(config, PretrainConfig):
        if state is not None:
            owner.resume_at(int(state["step"]))
            sink.log(f"resuming after step {state['step']}")
        elif record.started is not None:  # it ended before its first checkpoint: from the beginning
            owner.resume_at(0)
        events = folder.path / "tensorboard" if config.log.tensorboard else None
        with with_events(sink, events) as heard:
            return pretrain(
                config,
                dataset=prepared.dataset,
                runtime=prepared.runtime,
                sink=heard,
                checkpoint=folder.checkpoint_path,
                state=state,
            )
    if record.started is not None:
        owner.resume_at(_probe_steps(config, record, prepared))
    return _probe(config, record, prepared, sink)


def _study(
    config: StudyConfig,
    owner: RunOwner,
    folder: RunFolder,
    data_dir: Path,
    sink: Sink,
    prepared: Prepared,
) -> Outcome:
    from engine.jobs.study_run import (  # not at the top: it executes runs itself
        cells_done,
        run_study,
    )

    root = folder.path.parent
    if owner.record.step:
        owner.resume_at(cells_done(config, root))
    run_study(
        config,
        root=root,
        data_dir=data_dir,
        dataset=prepared.dataset,
        sink=sink,
        device=prepared.runtime.name,
    )
    return "finished"


def _probe_steps(config: ProbeConfig, record: Record, prepared: Prepared) -> int:
    """Steps of an interrupted probe that its next part keeps."""
    parent = prepared.parent
    assert parent is not None
    return steps_kept(
        record.result,
        config,
        dataset=prepared.dataset,
        pretrained=parent.encoder,
        mean=parent.mean,
    )


def _resume_point(folder: RunFolder, record: Record) -> dict[str, Any] | None:
    if record.kind != "pretrain" or not folder.checkpoint_path.exists():
        return None
    return checkpoints.load(folder.checkpoint_path)


def _probe(config: ProbeConfig, record: Record, prepared: Prepared, sink: Sink) -> Outcome:
    assert prepared.sources is not None
    try:
        result = probe_sources(
            config,
            prepared.sources,
            material=prepared.material,
            sink=sink,
            done=record.result or None,
        )
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"The memory of {prepared.runtime.name} ran out during the probe; lower "
            "linear.batch_size or supervised.batch_size, or free the device."
        ) from error
    sink.result(result)
    return "finished"
