"""The command that describes this machine and installation, to paste into a bug report."""

from __future__ import annotations

from typing import Any

import click

from moco_tui.cli.options import JSON, Settings, shared_options
from moco_tui.cli.output import clean, print_json


@click.command()
@JSON
@shared_options
@click.pass_obj
def doctor(settings: Settings, as_json: bool) -> None:
    """Describe this machine and installation, for a bug report.

    Versions, device, terminal, folders, and what happens to detached runs at logout. Nothing of
    it leaves this machine.
    """
    from moco_tui.cli.checkup import checkup

    report = checkup(settings.root, settings.data, settings.device, write=not settings.read_only)
    if as_json:
        print_json(report)
    else:
        print(as_text(report))


def as_text(report: dict[str, Any]) -> str:
    """The report as plain text: a block a section, what is wrong below all of them."""
    blocks = []
    for section, facts in report.items():
        if section == "problems":
            continue
        width = max(len(key) for key in facts)
        lines = [f"  {key:<{width}}  {_value(value)}" for key, value in facts.items()]
        blocks.append("\n".join([section, *lines]))
    problems = [f"  - {clean(problem)}" for problem in report["problems"]]
    blocks.append("\n".join(["problems", *(problems or ["  none found"])]))
    return "\n\n".join(blocks)


def _value(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_value(item) for item in value) or "none"
    return clean(str(value)) or "-"
