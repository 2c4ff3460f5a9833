"""The command that runs a whole study, goes on with it, and prints its table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from engine.config.data import source_path, sources_in_words
from engine.config.fields import fields
from engine.config.presets import resolve as resolve_config
from engine.config.schema import GRID_KEYS, StudyConfig
from engine.errors import ConfigError, RunBusyError, RunError, TrainingError, UserError
from engine.history.entry import Entry
from engine.history.history import History
from engine.runs import RunFolder, create
from engine.runs.record import ACTIVE
from engine.sink import Interrupted
from engine.study.formats import CSV_PARTS, CsvPart, to_csv, to_json, to_markdown
from engine.study.report import Report, report
from engine.study.result_keys import plain, pretraining_key
from engine.study.study_state import state_from_entries
from engine.study.table import Dimension, Pivot, dimension, key_text, values
from moco_tui.cli.annotate import say_notices
from moco_tui.cli.common import Settings, complete_run, say, shared_options, terminal_width
from moco_tui.cli.progress import say_outcome, terminal
from moco_tui.cli.study_report import config_of_study, report_text
from moco_tui.cli.train import (
    CONFIG,
    DETACH,
    NAME,
    SETS,
    data_source,
    start_detached,
    train_here,
)

_FREE_OF_PROBES = ("runtime.device", "runtime.threads")


@click.command()
@click.argument("run", required=False, shell_complete=complete_run)
@click.option("--preset", metavar="P", help="Where the settings start from.")
@CONFIG
@SETS
@click.option("--data", metavar="D", help=f"{sources_in_words(notes=False)}.")
@NAME
@DETACH
@click.option("--dry-run", is_flag=True, help="Print what is left to do, its time and disk.")
@click.option("--show", is_flag=True, help="Compute nothing; print what is done so far.")
@click.option("--rows", metavar="DIM", help="source, task, fraction or head. [default: source]")
@click.option("--columns", metavar="DIM", help="The same for columns. [default: fraction]")
@click.option(
    "--only", multiple=True, metavar="DIM=VALUE,...", help="Show only these; may be repeated."
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option(
    "--csv",
    "csv_part",
    type=click.Choice(CSV_PARTS),
    is_flag=False,
    flag_value="cells",
    help="Print CSV: a line for each cell; or --csv=estimates, --csv=comparisons.",
)
@click.option("--markdown", is_flag=True, help="Print Markdown.")
@shared_options
@click.pass_obj
def study(
    settings: Settings,
    run: str | None,
    preset: str | None,
    toml: Path | None,
    sets: tuple[str, ...],
    data: str | None,
    name: str,
    detach: bool,
    dry_run: bool,
    show: bool,
    rows: str | None,
    columns: str | None,
    only: tuple[str, ...],
    as_json: bool,
    csv_part: CsvPart | None,
    markdown: bool,
) -> int:
    """Run the whole experiment: queue sizes, label fractions, tasks, heads, seeds; one table.

    What the history has already is not computed again, whoever computed it, so the same command
    goes on after an interruption, and once everything is done it only prints. RUN takes the
    settings from a study that was begun.
    """
    if run is not None:
        if preset or toml or sets or data:
            raise UserError(
                f"Study {run} has its settings; --preset, --config, --set and --data are for a "
                "study that is described anew."
            )
        config = config_of_study(settings.find(run).record())
    else:
        config = configure(settings, preset=preset, toml=toml, sets=sets, data=data)
    form = Form(_pivot(config, rows, columns, only), as_json, csv_part, markdown)
    form.check(detach=detach, dry_run=dry_run)
    looking = show or dry_run
    if not looking:
        settings.writable()
    history = History(settings.root, read_only=settings.read_only)
    entries = history.list()
    say_notices(history)
    now = report(config, state_from_entries(config, entries))
    if dry_run:
        from moco_tui.cli.study_plan import print_plan

        return print_plan(settings, now, as_json=as_json)
    left = sum(found.state != "done" for found in now.study_state.cells.values())
    if looking or not left:
        if not looking:
            say(f"everything is done: {len(now.study_state.cells):,} cells")
        form.print(now)
        return 0
    say(f"{len(now.study_state.cells) - left:,} of {len(now.study_state.cells):,} cells are done")
    folder = unfinished(settings, config, entries)
    return _run(settings, config, folder, form, name=name, preset=preset or "", detach=detach)


# --------------------------------------------------------------------------------------------
# What is asked


def configure(
    settings: Settings,
    *,
    preset: str | None,
    toml: Path | None,
    sets: Sequence[str],
    data: str | None,
) -> StudyConfig:
    """The configuration that the options make.

    Raises:
        ConfigError: one sentence on the first thing that is wrong.
    """
    for text in sets:
        _refuse_grid_key(text.partition("=")[0].strip())
    extra: dict[str, Any] = {}
    if data is not None:
        extra["pretrain.data.source"] = data
    if settings.device:
        extra |= dict.fromkeys(("pretrain.runtime.device", "probe.runtime.device"), settings.device)

    def resolved() -> StudyConfig:
        return resolve_config(StudyConfig, preset_name=preset, toml=toml, sets=sets, extra=extra)

    config = resolved()
    source = config.pretrain.data.source
    if source_path(source) is not None:
        extra["pretrain.data.source"] = data_source(source)
        config = resolved()
    return config


def _refuse_grid_key(key: str) -> None:
    """Names the key of the grid where one of a single run was meant, also when it is short."""
    known = fields(StudyConfig)
    meant = [name for name in known if name == key or name.endswith("." + key)]
    its_own = key in known and key not in GRID_KEYS
    if its_own or not meant or not GRID_KEYS.keys() >= set(meant):
        return
    if meant == ["probe.task.name"]:  # goes with groups of one's own
        return
    grid_key = GRID_KEYS[meant[0]]
    default = ",".join(str(item) for item in known[grid_key].default)
    raise ConfigError(
        f"{key} cannot be set for a study: its grid does, as in --set {grid_key}={default}.", key
    )


def _pivot(
    config: StudyConfig, rows: str | None, columns: str | None, only: Sequence[str]
) -> Pivot:
    row = dimension(rows) if rows is not None else None
    column = dimension(columns) if columns is not None else None
    if row is None:
        row = "source" if column != "source" else "fraction"
    if column is None:
        column = "fraction" if row != "fraction" else "source"
    if row == column:
        raise ConfigError(f"--rows and --columns are both {row}; they must be different.")
    keep: dict[Dimension, tuple[Any, ...]] = {}
    for text in only:
        name, equals, listed = text.partition("=")
        if not equals:
            raise ConfigError(f"--only {text}: it must be DIM=VALUE, as in task=ten.")
        which = dimension(name.strip())
        keep[which] = tuple(_value(config, which, part.strip()) for part in listed.split(","))
    return Pivot(row=row, column=column, keep=keep)


def _value(config: StudyConfig, which: Dimension, text: str) -> Any:
    known = values(config)[which]
    for value in known:
        names = {key_text(which, value), key_text(which, value).replace(" ", ""), str(value)}
        if text in names:
            return value
    there = ", ".join(key_text(which, value) for value in known)
    raise ConfigError(f"--only {which}={text[:40]}: the study has no such {which}; it has {there}.")


# --------------------------------------------------------------------------------------------
# The run of it


def study_key(config: StudyConfig) -> tuple[Any, ...]:
    """Equal for studies that differ in nothing that changes a number."""
    probe = {k: v for k, v in plain(config.probe).items() if k not in _FREE_OF_PROBES}
    grid = {k: v for k, v in plain(config).items() if not k.startswith(("pretrain.", "probe."))}
    return pretraining_key(plain(config.pretrain)), probe, grid


def unfinished(
    settings: Settings, config: StudyConfig, entries: Sequence[Entry]
) -> RunFolder | None:
    """The newest study of the same configuration that can be gone on with; None for none.

    Raises:
        RunBusyError: when one is being computed by another process.
    """
    key = study_key(config)
    for entry in sorted(entries, key=lambda e: e.created, reverse=True):
        if entry.kind != "study" or entry.status == "finished":
            continue
        folder = settings.find(entry.id)
        try:
            same = study_key(config_of_study(folder.record())) == key
        except RunError:  # of another version, or damaged: it stays as it is
            continue
        if not same:
            continue
        if folder.alive() or entry.status in ACTIVE:
            raise RunBusyError(
                f"Study {entry.id} of this configuration is in the hands of another process; "
                f"moco-tui watch {entry.id} follows it, and --show prints what is done."
            )
        return folder
    return None


def _run(
    settings: Settings,
    config: StudyConfig,
    folder: RunFolder | None,
    form: Form,
    *,
    name: str,
    preset: str,
    detach: bool,
) -> int:
    with terminal("study", hands_over=True) as sink:
        prepared = None
        if folder is None:
            from engine.jobs.prepare import prepare

            try:
                prepared = prepare(
                    config, root=settings.root, parent="", data_dir=settings.data, sink=sink
                )
            except Interrupted:  # while the images were read: there is no run yet
                say("interrupted")
                return 130
            folder = create(settings.root, "study", config, name=name, preset=preset)
            say(f"study {folder.id} in {folder.path}")
        else:
            say(f"going on with study {folder.id} in {folder.path}")
            device = config_of_study(folder.record()).pretrain.runtime.device
            if settings.device not in (None, device):
                say(f"it stays on the device it was begun for: {device}")
        if detach:
            return start_detached(folder, settings.data, as_json=form.as_json)
        try:
            outcome = train_here(folder, settings.data, sink, prepared)
        except TrainingError:  # of some of its runs: the others have their numbers
            sink.close()
            form.print(now_of(settings, config), run=folder.id)
            raise
    return print_outcome(settings, config, folder, outcome, form)


def print_outcome(
    settings: Settings, config: StudyConfig, folder: RunFolder, outcome: str, form: Form
) -> int:
    """Prints the table after the study has ended here; the exit code."""
    if outcome != "handed-over":
        form.print(now_of(settings, config), run=folder.id)
    say_outcome(outcome, folder.id, resumable=True)
    return 130 if outcome == "stopped" else 0


def now_of(settings: Settings, config: StudyConfig) -> Report:
    """What the study says now."""
    history = History(settings.root, read_only=settings.read_only)
    return report(config, state_from_entries(config, history.list()))


class Form:
    """What is printed: text, or one of the formats for programs."""

    def __init__(
        self,
        pivot: Pivot | None = None,
        as_json: bool = False,
        csv_part: CsvPart | None = None,
        markdown: bool = False,
    ) -> None:
        self.pivot, self.as_json, self.csv_part, self.markdown = pivot, as_json, csv_part, markdown

    def check(self, *, detach: bool, dry_run: bool) -> None:
        """Refuses what goes against each other."""
        if self.as_json + self.markdown + (self.csv_part is not None) > 1:
            raise UserError("--json, --csv and --markdown are three formats; give one of them.")
        for flag, given in (("--detach", detach), ("--dry-run", dry_run)):
            if given and (self.markdown or self.csv_part is not None):
                raise UserError(f"{flag} prints no table; of the formats it takes --json alone.")

    def print(self, now: Report, *, run: str = "") -> None:
        """The report on stdout; ``run`` is the id of the study that was computed."""
        if self.as_json:
            sys.stdout.write(to_json(now, run=run))
        elif self.csv_part is not None:
            sys.stdout.write(to_csv(now, self.csv_part))
        elif self.markdown:
            sys.stdout.write(to_markdown(now, self.pivot))
        else:
            print(report_text(now, width=terminal_width(), pivot=self.pivot))
