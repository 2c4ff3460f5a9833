"""The table of commands: each stands where it says, and a new one is a module and a line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import moco_tui.cli
from moco_tui.cli.command_table import COMMANDS, CommandEntry, listed_commands, load_command

from ..environment import with_packages
from .conftest import Call, trained


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_has_each_command_with_its_first_sentence(name: str) -> None:
    command = load_command(name)
    text = " ".join((command.help or "").split("\n\n")[0].split())
    assert text.startswith(COMMANDS[name].help)
    assert COMMANDS[name].help.endswith(".")
    assert command.hidden is name.startswith("_")
    assert command.hidden is (name not in listed_commands())


def test_a_new_command_is_one_module_and_one_line(
    call: Call, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Called, listed, completed, and counted among the near misses, with nothing else changed."""
    (tmp_path / "count_runs.py").write_text(
        "import click\n\n"
        "from engine.runs import folder_names\n"
        "from moco_tui.cli.options import Settings, shared_options\n\n\n"
        "@click.command()\n"
        "@shared_options\n"
        "@click.pass_obj\n"
        "def count_runs(settings: Settings) -> None:\n"
        '    """Count the runs."""\n'
        "    print(len(folder_names(settings.root)))\n"
    )
    monkeypatch.setattr(moco_tui.cli, "__path__", [*moco_tui.cli.__path__, str(tmp_path)])
    monkeypatch.setitem(COMMANDS, "count-runs", CommandEntry("count_runs", "Count the runs."))
    assert "  count-runs  Count the runs.\n" in call("--help").out
    assert "moco_tui.cli.count_runs" not in sys.modules
    trained(root)
    assert call("count-runs").out == "1\n"
    assert call("count-runs", "--runs-dir", str(tmp_path / "none")).out == "0\n"
    assert "Did you mean count-runs?" in call("count-run").err
    monkeypatch.delitem(sys.modules, "moco_tui.cli.count_runs")


@pytest.mark.parametrize("shell", [False, True])
def test_help_and_completion_import_no_command(root: Path, shell: bool) -> None:
    code = (
        "import sys\n"
        "from moco_tui.cli import COMMANDS, main\n"
        "try:\n"
        f"    main({[] if shell else ['--help']!r})\n"
        "except SystemExit as left:\n"
        "    assert not left.code, left.code\n"
        "modules = {f'moco_tui.cli.{entry.module}' for entry in COMMANDS.values()}\n"
        "sys.exit(' '.join(modules & set(sys.modules)) or 0)\n"
    )
    environment = with_packages()
    if shell:
        environment["_MOCO_TUI_COMPLETE"] = "zsh_complete"
        environment |= {"COMP_WORDS": "moco-tui ", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    for name in listed_commands():
        assert name in done.stdout.split()
    assert "_train" not in done.stdout
