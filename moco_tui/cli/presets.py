"""The command that shows the presets and every setting."""

from __future__ import annotations

from typing import Any

import click

from engine.config.fields import fields
from engine.config.presets import PRESETS, STUDY_PRESETS, Preset, preset
from engine.config.resolve import build, to_toml
from engine.config.schema import PretrainConfig, ProbeConfig, StudyConfig
from engine.config.slurm_schema import SlurmSettings
from moco_tui.cli.options import JSON, shared_options
from moco_tui.cli.output import print_json, table


@click.command()
@click.argument("name", required=False)
@click.option("--settings", "show_settings", is_flag=True, help="List every setting.")
@JSON
@shared_options
def presets(name: str | None, show_settings: bool, as_json: bool) -> None:
    """List the presets; with a NAME, its whole configuration as TOML."""
    if show_settings:
        _settings(as_json)
    elif name is not None:
        type_ = StudyConfig if name in _of_studies() else PretrainConfig
        config = build(type_, preset(name, type_).values)
        if as_json:
            import msgspec

            print_json(msgspec.to_builtins(config))
        else:
            print(to_toml(config), end="")
    elif as_json:
        print_json(
            [
                {"name": p.name, "kind": kind, "summary": p.summary, "values": p.values}
                for kind, p in _all()
            ]
        )
    else:
        rows = [[p.name, kind, p.summary] for kind, p in _all()]
        print(table(["preset", "of", "what it is for"], rows))


def _of_studies() -> list[str]:
    """Presets that a study alone takes; it takes most of those of pretrainings too."""
    return [name for name in STUDY_PRESETS if name not in PRESETS]


def _all() -> list[tuple[str, Preset]]:
    return [
        *(("pretrain", p) for p in PRESETS.values()),
        *(("study", STUDY_PRESETS[name]) for name in _of_studies()),
    ]


def _settings(as_json: bool) -> None:
    rows: list[dict[str, Any]] = []
    for kind, type_ in (
        ("pretrain", PretrainConfig),
        ("probe", ProbeConfig),
        ("study", StudyConfig),
        ("slurm", SlurmSettings),  # of the job that --submit slurm makes
    ):
        for field in fields(type_).values():
            # A study's dotted keys are the settings of its runs, which are listed above.
            if type_ is StudyConfig and "." in field.key:
                continue
            rows.append(
                {
                    "kind": kind,
                    "key": field.key,
                    "default": field.default,
                    "unit": field.unit,
                    "expects": field.expectation(),
                    "help": field.help,
                }
            )
    if as_json:
        print_json(rows)
        return
    print(
        table(
            ["kind", "setting", "default", "unit", "what it is"],
            [[r["kind"], r["key"], _short(r["default"]), r["unit"], r["help"]] for r in rows],
        )
    )


def _short(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(_short(item) for item in value) or "-"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
