"""What of the manual is made from the code.

A page has it between two comments, of which the first says what is made:

    <!-- made: settings pretrain moco -->
    <!-- end -->

``python -m tests.manual_pages --write`` brings all pages up to date; without ``--write`` it names
those that are not. A test does the same.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

import moco_tui.app
from engine.config.augment import AUGMENTATIONS
from engine.config.baselines import BASELINES
from engine.config.data import DATA_SETS
from engine.config.fields import Field, fields
from engine.config.heads import HEADS
from engine.config.metrics import METRICS, Metric
from engine.config.models import ENCODERS
from engine.config.presets import PRESETS, STUDY_PRESETS
from engine.config.schema import KINDS
from engine.config.slurm_schema import SlurmSettings
from engine.history.keys import COLUMNS as KEYS
from engine.machine.device_series import CARD_SERIES, SERIES
from moco_tui.cli import cli
from moco_tui.cli.command_table import listed_commands, load_command
from moco_tui.present.diagnoses import DIAGNOSES, NO_FAULT
from moco_tui.present.run_columns import WORDS
from moco_tui.screens.help_screen import key_text
from moco_tui.screens.key_table import BoundKey, bound_keys
from moco_tui.user.user_schema import UserConfig

FOLDER = Path(moco_tui.app.__file__).parent / "manual"
WIDTH = 72
"""Columns of what is made: the app draws it between the frames of an 80 columns wide screen."""
_MADE = re.compile(r"(<!-- made: (?P<what>[^\n]*) -->\n).*?(<!-- end -->\n)", re.DOTALL)

SCOPES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "everywhere": (("app", ""), ("base", "")),
    "runs": (("runs", ""), ("run-table", "In the list")),
    "form": (
        *(("new-run", ""), ("run-form", "Between the fields"), ("section-head", "On a section")),
        *(("chooser", "In a choice"), ("several", "In a choice of several")),
        *(("checkbox", "In a box"), ("add-axis", "On the line that adds an axis")),
    ),
    "monitor": (
        *(("monitor", ""), ("watch", "Of the run"), ("chart", "In a chart")),
        *(("log-panel", "In the log"), ("text-panel", "In text")),
        ("probe-confusions", "In the confusions of a probe"),
    ),
    "compare": (("compare", ""),),
    "study": (
        *(("study", ""), ("study-table", "In the table"), ("label-chart", "In the curves")),
        ("variant-chart", "In the training of the variants"),
    ),
    "look": (
        *(("look", ""), ("look-map", "In the map"), ("picture-shelves", "In the images")),
        ("confusion-grid", "In the confusions"),
    ),
    "devices": (("devices", ""),),
    "trash": (("trash", ""),),
    "manual": (("manual", ""), ("manual-viewer", "In the page")),
}
"""The bindings of each screen: the beginning of their ids, and a heading."""


def _fence(lines: Iterable[str], kind: str = "text") -> str:
    shown = "\n".join(line.rstrip() for line in lines)
    return f"```{kind}\n{shown}\n```\n"


def _wrapped(text: str, indent: int = 4) -> list[str]:
    blank = " " * indent
    return textwrap.wrap(
        text, WIDTH, initial_indent=blank, subsequent_indent=blank, break_on_hyphens=False
    )


def _defined(term: str, *texts: str) -> Iterator[str]:
    """A term, and below it what it means."""
    yield term
    for text in texts:
        yield from _wrapped(text) if text else ()


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "; ".join(
            f"{key} ({_value(item)})" if isinstance(item, dict) else f"{key} {_value(item)}"
            for key, item in value.items()
        )
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value)) or "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value) or "none"


def _setting(field: Field) -> Iterator[str]:
    line = f"{field.key} = {'' if field.kind == 'table' else _value(field.default)}".rstrip()
    line = f"{line} {field.unit}".rstrip()
    first, *rest = _wrapped(line, 0)
    yield first
    yield from (f"  {part}" for part in rest)
    yield from _wrapped(field.help)
    if field.kind != "bool" and field.registry is None and not field.pattern:
        yield from _wrapped(f"({field.expectation()})")


def settings(kind: str, section: str = "") -> str:
    """The settings of a kind of run, of a section or all; of ``slurm`` and ``user`` theirs."""
    types = {**KINDS, "slurm": SlurmSettings, "user": UserConfig}
    type_ = types[kind]
    found = [
        field
        for field in fields(type_).values()
        if (section == "-" and not field.section)
        or (section != "-" and f"{field.key}.".startswith(f"{section}." if section else ""))
    ]
    # A study's dotted keys are the settings of its runs.
    found = [field for field in found if kind != "study" or not field.section]
    assert found, f"{kind} {section}"
    return _fence(line for field in found for line in _setting(field))


def presets(kind: str) -> str:
    """The presets of pretrainings, or those that studies alone have."""
    own = {name: preset for name, preset in STUDY_PRESETS.items() if name not in PRESETS}
    found = PRESETS if kind == "pretrain" else own
    lines: list[str] = []
    for preset in found.values():
        values = [f"{key} = {_value(value)}" for key, value in preset.values.items()]
        lines += _defined(preset.name, preset.summary, *values)
    return _fence(lines)


def parts(registry: str) -> str:
    """What a registry names, with one line on each."""
    known: dict[str, Iterable[Any]] = {
        "augmentations": AUGMENTATIONS.values(),
        "data": DATA_SETS.values(),
        "encoders": ENCODERS.values(),
        "heads": HEADS.values(),
    }
    lines: list[str] = []
    for part in known[registry]:
        lines += _defined(getattr(part, "spelling", part.name), part.summary)
    return _fence(lines)


def tasks() -> str:
    """The tasks that data sets have of their own."""
    lines: list[str] = []
    for part in DATA_SETS.values():
        for name, groups in part.tasks.items():
            each = "; ".join(
                label if classes == (label,) else f"{label}: {', '.join(classes)}"
                for label, classes in groups.items()
            )
            lines += _defined(f"{part.name}, {name}", each)
    return _fence(lines)


def baselines() -> str:
    """The baselines of a probe."""
    lines: list[str] = []
    for baseline in BASELINES.values():
        words = baseline.protocol.replace(" ({budget}; {subsets} only)", "")
        lines += _defined(f"{baseline.name} ({baseline.label})", words.partition(" is ")[2])
    return _fence(lines)


def metrics(group: str) -> str:
    """The metrics of a group: ``measures``, or ``others``."""
    found = [m for m in METRICS.values() if bool(m.group) == (group == "measures")]
    return _fence(line for metric in found for line in _metric(metric))


def _metric(metric: Metric) -> Iterator[str]:
    better = {1: "higher is better", -1: "lower is better", 0: ""}[metric.direction]
    key = f"in filters: {metric.key}" if metric.key else ""
    said = "; ".join(word for word in (metric.unit, better, key) if word)
    yield from _defined(f"{metric.name}{f'  ({said})' if said else ''}", metric.title)
    yield from _wrapped(metric.meaning) if metric.meaning else ()


def devices() -> str:
    """What is recorded of the machine while a run is trained."""
    lines: list[str] = []
    for before, known in (("", SERIES), ("cardN/", CARD_SERIES)):
        for series in known.values():
            unit = {"B": "bytes", "W": "watts", "\N{DEGREE SIGN}C": "degrees Celsius"}.get(
                series.unit, series.unit
            )
            unit = f" ({unit})" if unit else ""
            lines.append(f"{before + series.name:<22}{series.label}{unit}")
    return _fence(lines)


def diagnoses() -> str:
    """What can be said of the curves of a pretraining, the most important first."""
    lines: list[str] = []
    for name, judge in DIAGNOSES.items():
        summary = (judge.__doc__ or "").partition("\n")[0].replace("``", "")
        no_fault = "No fault." if name in NO_FAULT and "No fault" not in summary else ""
        lines += _defined(name, summary, no_fault)
    return _fence(lines)


def columns() -> str:
    """The columns of the list of runs."""
    width = max(map(len, WORDS)) + 2
    return _fence(f"{name:<{width}}{words}" for name, words in WORDS.items())


def filter_keys() -> str:
    """The keys of filters that are neither a setting nor a metric."""
    return _fence(_wrapped(", ".join(KEYS), 0))


def keys(screen: str) -> str:
    """The keys of a screen and of what lies on it; ``others``: of what ``SCOPES`` does not name."""
    known: dict[str, list[BoundKey]] = {}
    for key in bound_keys().values():
        known.setdefault(key.id.partition(".")[0], []).append(key)
    named = {scope for found in SCOPES.values() for scope, _ in found}
    others = [(scope, scope) for scope in known if scope not in named]
    lines: list[str] = []
    for scope, heading in others if screen == "others" else SCOPES[screen]:
        if heading:
            lines += [""] * bool(lines) + [f"{heading}:"]
        for key in known.get(scope, []):
            shown = key_text(key.keys)
            lines += textwrap.wrap(
                f"{shown:<20}  {key.description}", WIDTH, subsequent_indent=" " * 22
            )
    if screen == "others":
        return f"## Elsewhere\n\n{_fence(lines)}" if lines else ""
    return _fence(lines)


def command(name: str) -> str:
    """What a command does, its arguments and its options; of ``-`` the options before it.

    Written here and not by click, whose versions write it differently.
    """
    if name == "-":
        return _fence(_options(cli.params))
    found = load_command(name)
    blocks = [_command(found, name)]
    if isinstance(found, click.Group):
        blocks += [_command(each, f"{name} {own}") for own, each in found.commands.items()]
    return _fence("\n\n\n".join("\n".join(block) for block in blocks).splitlines())


def _command(found: click.Command, words: str) -> list[str]:
    lines = _wrapped(f"moco-tui {words}{_arguments(found)} [OPTIONS]", 0)
    for paragraph in (found.help or "").split("\n\n"):
        lines += ["", *_wrapped(" ".join(paragraph.split()), 2)]
    # Those that every command takes stand at the top of the page.
    own = [option for option in found.params if option.name not in {p.name for p in cli.params}]
    options = _options(own)
    return [*lines, "", *options] if options else lines


def _arguments(found: click.Command) -> str:
    """The arguments of a command as its usage has them."""
    text = ""
    for argument in found.params:
        if isinstance(argument, click.Argument):
            word = argument.metavar or str(argument.name).rstrip("_").upper()
            many = "..." if argument.nargs == -1 and "..." not in word else ""
            text += f" {word}{many}" if argument.required else f" [{word}{many}]"
    return text


def _options(found: Iterable[click.Parameter]) -> list[str]:
    lines: list[str] = []
    for option in found:
        if not isinstance(option, click.Option) or option.hidden:
            continue
        names = ", ".join(option.opts)
        if not option.is_flag:
            choices = getattr(option.type, "choices", ())
            names += f" {option.metavar or '|'.join(map(str, choices)) or option.type.name.upper()}"
        default = f" [default: {option.default}]" if option.show_default else ""
        first, *rest = _wrapped(names, 2)
        lines += [first, *(f"    {part.strip()}" for part in rest)]
        lines += _wrapped(f"{option.help}{default}", 6)
    return lines


def commands() -> str:
    """The help of every command, each under a heading."""
    return "\n".join(f"## {name}\n\n{command(name)}" for name in listed_commands())


MAKERS: Mapping[str, Callable[..., str]] = {
    "settings": settings,
    "presets": presets,
    "parts": parts,
    "tasks": tasks,
    "baselines": baselines,
    "metrics": metrics,
    "devices": devices,
    "diagnoses": diagnoses,
    "columns": columns,
    "filter-keys": filter_keys,
    "keys": keys,
    "command": command,
    "commands": commands,
}


def renewed(text: str) -> str:
    """The text of a page with everything made anew that is made from the code."""

    def make(found: re.Match[str]) -> str:
        name, *arguments = found["what"].split()
        text = MAKERS[name](*arguments)
        return f"{found[1]}\n{text}\n{found[3]}" if text else f"{found[1]}{found[3]}"

    return _MADE.sub(make, text)


def main(arguments: list[str]) -> int:
    """Bring the pages up to date, or say which are not."""
    stale = 0
    for path in sorted(FOLDER.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        if (new := renewed(text)) != text:
            stale += 1
            print(path.name)
            if "--write" in arguments:
                path.write_text(new, encoding="utf-8")
    return 0 if "--write" in arguments or not stale else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
