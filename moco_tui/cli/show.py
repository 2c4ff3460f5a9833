"""The command that prints everything known of one run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import click
import msgspec

from engine.config import own_code
from engine.config.metrics import metric
from engine.config.missing_settings import read_config
from engine.config.schema import PretrainConfig
from engine.errors import RunError
from engine.history.history import History
from engine.history.shown import encoder_step
from engine.runs import Record, RunFolder, UserNotes, by_id
from engine.runs.checkpoint_ref import with_checkpoint
from engine.runs.data_identity import described, last_identity
from engine.runs.encoder_step import EncoderStep, encoder_words
from engine.runs.folder_size import size_of
from engine.runs.log_summary import gains
from engine.runs.ownership import owned_ids, users_of
from engine.runs.record import branch_words
from engine.runs.training_time import seconds_trained
from engine.study import formats
from engine.study.epoch_curves import EpochCurve
from engine.study.report import Report, report
from engine.study.study_state import state_from_entries
from moco_tui.cli.devices_text import devices_table, read_devices
from moco_tui.cli.measures_text import findings_text, measures_table, read_measures
from moco_tui.cli.options import ALLOW_CODE, Settings, run_argument, shared_options
from moco_tui.cli.output import clean, print_json, print_text, say, table, terminal_width
from moco_tui.cli.study_report import config_of_study, report_text
from moco_tui.present import checkpoint_rows, fmt
from moco_tui.present.device_charts import device_facts
from moco_tui.present.epoch_curve_table import curve_facts, curves_of, epoch_rows
from moco_tui.present.metric_text import difference_text, value_text
from moco_tui.present.provenance_rows import provenance_rows
from moco_tui.present.run_settings import data_source, differences, settings_of
from moco_tui.present.slurm_jobs import submission_words


@click.command()
@run_argument(checkpoints=True)
@click.option("--model", is_flag=True, help="The encoder: layers, shapes, parameters.")
@click.option(
    "--log",
    "log_lines",
    type=click.IntRange(min=0),
    metavar="N",
    help="Also the log's last N lines.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@ALLOW_CODE
@shared_options
@click.pass_obj
def show(settings: Settings, run: str, model: bool, log_lines: int | None, as_json: bool) -> None:
    """Print what is known of RUN: state, settings, metrics, results."""
    folder, which = settings.find_checkpoint(run)
    if model:
        _print_model(settings, folder, as_json)
        return
    record = folder.record()
    if which:
        _print_checkpoint(settings, folder, record, which, as_json)
        return
    notes, problem = _notes(folder)
    status = folder.status(record)
    log = folder.log_tail(log_lines) if log_lines else []
    if problem:  # on stderr, and what else is known is printed all the same
        say(clean(problem))
    if as_json:
        facts = msgspec.to_builtins(record)
        facts |= {"gain": gains(record.best, record.untrained)}
        facts |= {"size": size_of(folder.path)}
        facts |= {"status": status, "path": str(folder.path), "differs": differences(record)}
        facts["user"] = {"name": notes.name, "tags": list(notes.tags), "note": notes.note}
        if record.kind == "pretrain":
            rows = checkpoint_rows.checkpoint_rows(folder, record)
            facts["checkpoints"] = [checkpoint_rows.facts(row) for row in rows]
            facts["epoch_curves"] = curve_facts(_curves(settings, record))
            findings = read_measures(folder, record)[1]
            facts["diagnoses"] = [{"name": one.name, "text": one.text} for one in findings]
        if record.kind != "study":
            facts["devices"] = device_facts(read_devices(folder))
        if record.kind == "study":
            facts["study"] = formats.facts(_study(settings, record), run=record.id)
        print_json(facts | ({"log": log} if log_lines is not None else {}))
        return
    print_text(_text(folder, record, notes, status))
    if record.kind == "pretrain":
        for part in _checkpoint_tables(settings, folder, record):
            print_text("\n" + part)
    if record.kind == "study":
        print_text("\n" + report_text(_study(settings, record), width=terminal_width()))
    if log:
        print_text("\nlog\n" + "\n".join(f"  {line}" for line in log))


def _study(settings: Settings, record: Record) -> Report:
    """What a study says now: from the runs, not from its own record."""
    history = History(settings.root, read_only=settings.read_only)
    config, entries = config_of_study(record), history.list()
    first = owned_ids(entries, settings.root, users_of(settings.root / record.id))
    return report(
        config, state_from_entries(config, entries, last_identity(record.data), first=first)
    )


def _curves(settings: Settings, record: Record) -> Sequence[EpochCurve]:
    """Accuracy against epochs, from the probes of the run's checkpoints."""
    history = History(settings.root, read_only=settings.read_only)
    return curves_of(history.list(), record)


def _checkpoint_tables(settings: Settings, folder: RunFolder, record: Record) -> list[str]:
    """What a pretraining has kept beside its last checkpoint, and the probes of these."""
    rows = checkpoint_rows.checkpoint_rows(folder, record)
    parts = []
    if len(rows) > 1:
        cells = [checkpoint_rows.cells(row) for row in rows]
        parts.append(table(checkpoint_rows.HEADER, cells, (1, 2, 3, 4)))
    curves = _curves(settings, record)
    if curves:
        head, lines = epoch_rows(curves)
        parts.append("top-1 % of its probes\n" + table(head, lines, range(len(head))))
    return parts


def _print_checkpoint(
    settings: Settings, folder: RunFolder, record: Record, which: str, as_json: bool
) -> None:
    row = checkpoint_rows.checkpoint_row(folder, record, which)
    history = History(settings.root, read_only=settings.read_only)
    entries = [entry for entry in history.list() if entry.parent == record.id]
    probes = [entry.id for entry in entries if row.step and encoder_step(entry) == row.step]
    if as_json:
        print_json(
            {
                "run": record.id,
                **checkpoint_rows.facts(row),
                "schedule_epochs": settings_of(record).get("optim.epochs"),
                "probes": probes,
            }
        )
        return
    epochs = settings_of(record).get("optim.epochs")
    facts = [
        ("checkpoint", f"{record.id}@{row.name}"),
        ("run", clean(folder.title())),
        ("epoch", "" if row.epoch is None else f"{row.epoch:.4g} of {fmt.value(epochs)}"),
        ("step", "" if row.step is None else f"{row.step:,}"),
        ("kNN", "" if row.knn is None else fmt.accuracy(row.knn)),
        ("size", fmt.size(row.size)),
        ("probes", " ".join(probes)),
        ("file", clean(row.path)),
    ]
    widest = max(len(label) for label, _ in facts)
    print_text("\n".join(f"{label:<{widest}}  {text}" for label, text in facts if text))


def _notes(folder: RunFolder) -> tuple[UserNotes, str]:
    """The name, tags and note of the run, and why they cannot be read (empty when they can)."""
    try:
        return folder.user(), ""
    except RunError as error:
        return UserNotes(), str(error)


def _text(folder: RunFolder, record: Record, notes: UserNotes, status: str) -> str:
    name = notes.name or record.name
    parts = ["  ".join([record.id, clean(name)] if name else [record.id])]
    rows = [row for row in _facts(folder, record, notes, status) if row[1]]  # those with a text
    widest = max(len(row[0]) for row in rows)
    parts.append("\n".join(f"{label:<{widest}}  {text}" for label, text in rows))
    log, findings = read_measures(folder, record)
    if findings:
        parts.append(findings_text(findings))
    parts.append(_settings(record))
    parts.append(_provenance(record))
    if record.last or record.best:
        parts.append(_metrics(record))
    if record.kind == "pretrain":
        parts += filter(None, [measures_table(log)])
    if record.result and record.kind != "study":
        parts.append(result_text(record.result, record.config))
    if record.started is not None and record.kind != "study":
        parts.append(devices_table(read_devices(folder)))
    return "\n\n".join(parts)


def _provenance(record: Record) -> str:
    """Program, code, command, packages and machine."""
    rows = provenance_rows(record)
    widest = max(len(label) for label, _ in rows)
    lines = [f"  {label:<{widest}}  {text}" for label, text in rows]
    return "\n".join(["where it came from", *lines])


def _metrics(record: Record) -> str:
    """The newest and the best value of every metric, beside that of the untrained encoder."""
    # The measures have a table of their own.
    names = [n for n in dict.fromkeys([*record.last, *record.best]) if not metric(n).group]
    before, gained = record.untrained or {}, gains(record.best, record.untrained)
    head = ["metric", "last", "best", *(["untrained", "best over untrained"] if before else [])]
    cells = []
    for name in names:
        # Of a metric without a best nothing is missing: its cell is empty.
        best = _value(name, record.best) if metric(name).best else ""
        row = [clean(name), _value(name, record.last), best]
        if before:
            row.append(_value(name, before) if name in before else "")
            row.append(difference_text(name, gained.get(name)))
        cells.append(row)
    return table(head, cells, range(1, len(head)))


def _value(name: str, values: Mapping[str, float]) -> str:
    return value_text(name, values[name]) if name in values else "-"


def result_text(result: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """The outcome of a probe as its table, anything else as lines of keys and values."""
    from moco_tui.cli.outcome import result_table

    try:
        return result_table(result, config)
    except (
        ArithmeticError,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ):  # a probe that has not ended, or another version
        return "\n".join(f"{clean(k)}  {clean(fmt.value(v))}" for k, v in result.items())


def _facts(
    folder: RunFolder, record: Record, notes: UserNotes, status: str
) -> list[tuple[str, str]]:
    """What is known of a run, as labels and texts; a text is empty where there is nothing to say.

    Texts out of the record are cleaned: the folder may have come from another person.
    """
    done = f"step {record.step}"
    if record.total_steps:
        share = 100 * record.step / record.total_steps
        done += f" of {record.total_steps} ({share:.1f} %)"
    if record.steps_per_epoch:
        done += f", epoch {record.epoch:.2f}"
        if record.total_steps:
            done += f" of {record.total_steps / record.steps_per_epoch:.4g}"
    checkpoint = ""
    if record.checkpoint_step is not None:
        checkpoint = f"step {record.checkpoint_step}, {_ago(record.checkpoint_time)}"
    where = f"{clean(record.host)}, process {record.pid}" if record.host else ""
    stage = record.stage if status == "running" else None  # of a lost run it stays in the record
    took = seconds_trained(record, time.time() if status in ("running", "paused") else None)
    began = record.kind == "probe" and bool(record.result)
    data = data_source(settings_of(record).get) or ""
    return [
        ("state", status + (f": {clean(record.error)}" if record.error else "")),
        (
            "kind",
            clean(record.kind) + (f", preset {clean(record.preset)}" if record.preset else ""),
        ),
        (
            "encoder of",
            clean(with_checkpoint(record.parent, record.checkpoint))
            + (f", {encoder_words(record.result)}" if began else ""),
        ),
        (
            "weights",
            clean(at.fingerprint) if began and (at := EncoderStep.of(record.result)) else "",
        ),
        ("went on from", _branch(record)),
        ("origin", clean(record.origin)),
        ("data", clean(str(data))),
        ("images", clean(described(record.data, _of_encoder(folder, record)))),
        ("progress", done),
        ("now", f"{clean(stage['name'])} {stage['done']}/{stage['total']}" if stage else ""),
        ("checkpoint", checkpoint),
        ("created", _when(record.created)),
        ("started", _when(record.started)),
        ("ended", _when(record.ended)),
        ("took", "" if took is None else fmt.duration(took)),
        ("device", clean(record.device)),
        ("where", where),
        ("slurm", submission_words(folder, status)),
        ("chance", f"{record.chance:.3f}" if record.chance else ""),
        ("asked", _asked(record)),
        ("tags", clean(" ".join(notes.tags))),
        ("note", clean(notes.note)),
        ("size", fmt.size(size_of(folder.path))),
        ("folder", clean(str(folder.path))),
        *[(clean(str(key)), clean(fmt.value(value))) for key, value in record.facts.items()],
    ]


def _of_encoder(folder: RunFolder, record: Record) -> Sequence[Mapping[str, Any]]:
    """The data of the pretraining that a probe is about; empty where that is gone."""
    if not record.parent:
        return ()
    try:
        return RunFolder(folder.path.with_name(record.parent)).record().data
    except RunError:
        return ()


def _branch(record: Record) -> str:
    """Where a run went on from another one's checkpoint."""
    branch = record.began_from
    if branch is None:
        return ""
    how = {"extend": "extended", "fork": "forked"}.get(branch["how"], "from")
    at = f"step {branch['step']:,}, epoch {branch['epoch']:.4g}"
    return f"{clean(branch_words(branch))}, {how} at {at}"


def _asked(record: Record) -> str:
    if record.ack is None:
        return ""
    return f"{clean(record.ack['request'])}, answered at step {record.ack['step']}"


def _when(moment: float | None) -> str:
    if moment is None:
        return ""
    try:
        shown = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
    except (ValueError, OverflowError, OSError):  # no year that a calendar has
        return f"{moment:.6g} s after 1970"
    return f"{shown} ({_ago(moment)})"


def _ago(moment: float | None) -> str:
    return fmt.ago(None if moment is None else time.time() - moment)


def _settings(record: Record) -> str:
    differs = differences(record)
    base = f"preset {clean(record.preset)}" if record.preset else "the defaults"
    if not differs:
        return f"settings: those of {base}"
    rows = [
        [clean(key), clean(fmt.value(pair["value"])), _before(pair["preset"])]
        for key, pair in differs.items()
    ]
    return table([f"differs from {base}", "here", "there"], rows)


def _before(value: Any) -> str:
    return "-" if value is None else clean(fmt.value(value))


def _print_model(settings: Settings, folder: RunFolder, as_json: bool) -> None:
    record = folder.record()
    if record.kind == "probe":  # its encoder is that of the pretraining
        folder = by_id(settings.root, record.parent)
        record = folder.record()
    if record.kind != "pretrain":
        raise RunError(f"Run {record.id} is a {record.kind}; it has no encoder of its own.")
    config = read_config("pretrain", record.config, f"The record of run {record.id}")
    assert isinstance(config, PretrainConfig)
    model = config.model
    # An encoder of the user's own may be imported when the record is theirs as well.
    own_code.name_if_own([model.encoder], folder.record_path)
    from engine.models.encoder import build_encoder  # imports torch
    from engine.models.summary import format_summary, summary

    size = config.data.size
    rows = summary(build_encoder(model, size), (3, size, size))
    if as_json:
        print_json([msgspec.structs.asdict(row) for row in rows])
    else:
        print_text(format_summary(rows))
