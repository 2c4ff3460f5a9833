"""What ``options`` and ``output`` hold, under the name of the module that held both."""

from moco_tui.cli.options import Settings, complete_run, shared_options
from moco_tui.cli.output import (
    age,
    clean,
    cut,
    figure,
    print_json,
    say,
    table,
    terminal_width,
    width_of,
)

__all__ = [
    "Settings",
    "age",
    "clean",
    "complete_run",
    "cut",
    "figure",
    "print_json",
    "say",
    "shared_options",
    "table",
    "terminal_width",
    "width_of",
]
