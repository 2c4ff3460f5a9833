"""Commands that train: pretrain, probe, resume, and the two that the app calls."""

from __future__ import annotations

import contextlib
import sys
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.config.data import absolute_source, source_path, sources_in_words
from engine.config.presets import resolve as resolve_config
from engine.config.schema import PretrainConfig, ProbeConfig
from engine.errors import ConfigError, RunBusyError, RunError, TrainingError, UserError
from engine.runs import RunFolder, create
from engine.sink import Interrupted
from moco_tui.cli.common import Settings, clean, print_json, say, shared_options, table
from moco_tui.cli.progress import Terminal, say_outcome, terminal
from moco_tui.training import detached

if TYPE_CHECKING:
    from engine.jobs.job import Job

JSON = click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
SETS = click.option(
    "--set", "sets", multiple=True, metavar="KEY=VALUE", help="One setting; may be repeated."
)
CONFIG = click.option("--config", "toml", type=click.Path(path_type=Path), help="A TOML file.")
NAME = click.option("--name", default="", help="A name for the run.")
DETACH = click.option("--detach", is_flag=True, help="Train in a process of its own; return now.")


def data_source(text: str) -> str:
    """``folder:PATH`` with an absolute path: a run outlives the working directory."""
    with contextlib.suppress(RuntimeError):  # no such home; the data set says so
        return absolute_source(text)
    return text


@click.command()
@click.option("--preset", metavar="P", help="Where the settings start from; see moco-tui presets.")
@CONFIG
@SETS
@click.option("--data", metavar="D", help=f"{sources_in_words(notes=False)}.")
@NAME
@DETACH
@JSON
@shared_options
@click.pass_obj
def pretrain(
    settings: Settings,
    preset: str | None,
    toml: Path | None,
    sets: tuple[str, ...],
    data: str | None,
    name: str,
    detach: bool,
    as_json: bool,
) -> int:
    """Pretrain an encoder with MoCo."""
    settings.writable()
    extra: dict[str, Any] = {}
    if data is not None:
        extra["data.source"] = data
    if settings.device:
        extra["runtime.device"] = settings.device
    config = resolve_config(PretrainConfig, preset_name=preset, toml=toml, sets=sets, extra=extra)
    if source_path(config.data.source) is not None:
        extra["data.source"] = data_source(config.data.source)
        config = resolve_config(
            PretrainConfig, preset_name=preset, toml=toml, sets=sets, extra=extra
        )
    return start(
        settings,
        "pretrain",
        config,
        name=name,
        preset=preset or "notebook",
        parent="",
        detach=detach,
        as_json=as_json,
    )


@click.command()
@click.argument("run")
@click.option("--task", metavar="T", help="binary, five, ten or all.")
@click.option("--label-fraction", metavar="F", help="Share of the labels, in (0, 1].")
@click.option("--head", metavar="H", help="linear or logistic.")
@CONFIG
@SETS
@NAME
@DETACH
@JSON
@shared_options
@click.pass_obj
def probe(
    settings: Settings,
    run: str,
    task: str | None,
    label_fraction: str | None,
    head: str | None,
    toml: Path | None,
    sets: tuple[str, ...],
    name: str,
    detach: bool,
    as_json: bool,
) -> int:
    """Probe the frozen encoder of RUN with few labels, beside its baselines."""
    settings.writable()
    parent = settings.find(run).record()
    given = {"task.name": task, "label_fraction": label_fraction, "head": head}
    extra = {key: value for key, value in given.items() if value is not None}
    if settings.device:
        extra["runtime.device"] = settings.device
    config = resolve_config(ProbeConfig, toml=toml, sets=sets, extra=extra)
    return start(
        settings,
        "probe",
        config,
        name=name,
        preset="",
        parent=parent.id,
        detach=detach,
        as_json=as_json,
    )


def start(
    settings: Settings,
    kind: str,
    config: PretrainConfig | ProbeConfig,
    *,
    name: str,
    preset: str,
    parent: str,
    detach: bool,
    as_json: bool,
) -> int:
    """Checks everything, makes the run folder, and trains here or in a process of its own.

    Returns:
        The exit code: 0, or 130 after a signal.
    """
    with terminal(kind, hands_over=True) as sink:
        from engine.jobs.prepare import prepare

        try:
            prepared = prepare(
                config, root=settings.root, parent=parent, data_dir=settings.data, sink=sink
            )
        except Interrupted:  # while the images were read: there is no run yet
            say("interrupted")
            return 130
        folder = create(settings.root, kind, config, name=name, preset=preset, parent=parent)
        say(f"run {folder.id} in {folder.path}")
        if detach:
            return start_detached(folder, settings.data, as_json=as_json)
        outcome = train_here(folder, settings.data, sink, prepared)
    return report(settings, folder, outcome, as_json=as_json)


def train_here(
    folder: RunFolder, data_dir: Path, sink: Terminal, prepared: Job | None = None
) -> str:
    """Trains in this process until the end, a signal, or the loss of the terminal.

    Returns:
        The outcome; after ``handed-over`` a detached process goes on with the run.
    """
    from engine.jobs.execute import execute

    def begun(pid: int) -> None:
        say(f"run {folder.id} goes on in the background, as process {pid}")

    return execute(
        folder,
        data_dir=data_dir,
        sink=sink,
        prepared=prepared,
        successor=detached.successor(folder, data_dir, begun=begun),
    )


def start_detached(folder: RunFolder, data_dir: Path, *, as_json: bool) -> int:
    """Trains in a process of its own, and returns once it has given a sign of life.

    Raises:
        RunError: when it could not be started or ended before it began.
    """
    process = detached.start(folder, data_dir=data_dir)
    if not detached.took_over(process, folder):
        raise RunError(
            f"The detached process for run {folder.id} ended before it began; what it said is "
            f"in {folder.log_path}."
        )
    say(f"detached as process {process.pid}; moco-tui watch {folder.id} follows it")
    if as_json:
        print_json({"id": folder.id, "path": str(folder.path), "pid": process.pid})
    return 0


def report(settings: Settings, folder: RunFolder, outcome: str, *, as_json: bool) -> int:
    """Prints what came out of a run; the exit code."""
    record = folder.record()
    if record.kind == "study":
        from moco_tui.cli.study import Form, print_outcome
        from moco_tui.cli.study_report import config_of_study

        form = Form(as_json=as_json)
        return print_outcome(settings, config_of_study(record), folder, outcome, form)
    if as_json:
        print_json(
            {
                "id": record.id,
                "path": str(folder.path),
                "status": outcome,
                "step": record.step,
                "last": record.last,
                "best": record.best,
                "result": record.result,
            }
        )
    elif record.result:
        print(result_table(record.result))
    say_outcome(outcome, record.id, resumable=True)
    return 130 if outcome == "stopped" else 0


def result_table(result: dict[str, Any]) -> str:
    """The accuracies of a probe as plain text, best explained by its protocol below."""
    rows = [
        [
            row["source"],
            f"{row['top1']:.1f}",
            f"{row['low']:.1f} - {row['high']:.1f}",
            f"{row['balanced']:.1f}",
            f"{row['majority']:.1f}",
        ]
        for row in result["rows"]
    ]
    head = (
        f"{clean(result['task'])}, {result['head']}, {100 * result['label_fraction']:g} % of the "
        f"labels ({result['labels']} images), {result['test_images']} test images"
    )
    body = table(
        ["encoder", "top-1 %", "95 % interval", "balanced %", "majority %"], rows, (1, 3, 4)
    )
    return f"{head}\n\n{body}\n\n{clean(result['protocol'])}"


@click.command()
@click.argument("run")
@DETACH
@JSON
@shared_options
@click.pass_obj
def resume(settings: Settings, run: str, detach: bool, as_json: bool) -> int:
    """Go on with a run that was stopped, failed or lost, from its last checkpoint."""
    settings.writable()
    folder = settings.find(run)
    record = folder.record()
    check_resumable(folder)
    if detach:
        return start_detached(folder, settings.data, as_json=as_json)
    with terminal(record.kind, hands_over=True) as sink:
        outcome = train_here(folder, settings.data, sink)
    return report(settings, folder, outcome, as_json=as_json)


def check_resumable(folder: RunFolder) -> None:
    """Refuses a run that is finished or alive.

    Raises:
        RunError: with the reason.
    """
    record = folder.record()
    if folder.alive():
        if record.status == "queued":
            raise RunBusyError(
                f"Run {record.id} waits for its turn in another process; there is nothing to "
                "resume."
            )
        raise RunBusyError(
            f"Run {record.id} is being trained by process {record.pid} on {record.host}; "
            "there is nothing to resume."
        )
    if record.status == "finished":
        raise RunError(f"Run {record.id} is finished; there is nothing to resume.")


@click.command(hidden=True)
@click.argument("paths", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--lock-fd", "lock_fds", type=int, multiple=True)
@click.option("--device-fd", type=int, default=None)
@shared_options
@click.pass_obj
def train(
    settings: Settings, paths: tuple[Path, ...], lock_fds: tuple[int, ...], device_fd: int | None
) -> int:
    """Trains the runs in PATHS in turn, without a terminal: the detached process."""
    detached.accept_signals()
    runs = [(RunFolder(path), fd) for path, fd in zip_longest(paths, lock_fds)]
    if lock_fds:
        detached.write_first_heartbeat(runs[0][0])
    code = 0
    with terminal("", quiet=True) as sink:
        from engine.jobs.execute import execute

        while runs and not sink.interrupted:
            folder, lock_fd = runs.pop(0)
            handed: list[int] = []
            successor = detached.successor(folder, settings.data, begun=handed.append, waiting=runs)
            try:
                execute(
                    folder,
                    data_dir=settings.data,
                    sink=sink,
                    lock_fd=lock_fd,
                    device_fd=device_fd,
                    successor=successor,
                )
            except UserError as error:  # the record says it too; those that wait have their turn
                say(str(error))
                code = 1 if isinstance(error, TrainingError) else 2
            if handed:
                break
            device_fd = None
            if runs:
                detached.redirect_output(runs[0][0].log_path)
    return 130 if sink.interrupted else code


@click.command(hidden=True)
@click.option("--steps", type=int, default=4)
@shared_options
@click.pass_obj
def estimate(settings: Settings, steps: int) -> None:
    """Reads a pretraining's TOML from stdin, times a few steps, prints JSON: the dry run."""
    import tempfile

    detached.accept_signals()
    from engine.jobs.estimate import estimate as measure

    with tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as file:
        file.write(sys.stdin.read())
        file.flush()
        config = resolve_config(PretrainConfig, toml=Path(file.name))
    if steps < 1:
        raise ConfigError(f"--steps is {steps}; it must be a whole number of at least 1.")
    print_json(measure(config, data_dir=settings.data, steps=steps))
