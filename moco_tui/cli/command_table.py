"""The commands: for each its name, the module that defines it, and one line of help.

A new command is one module and one line here. Help and completion are made from these lines, so
neither imports a command.
"""

from __future__ import annotations

import importlib
import keyword
from typing import NamedTuple

import click


class CommandEntry(NamedTuple):
    """Where a command is defined, and the first sentence of its help.

    Attributes:
        module: its module in ``moco_tui.cli``. The command stands there under its own name, dashes
            as underscores, with an underscore behind a keyword of the language.
        help: the first sentence of its docstring.
    """

    module: str
    help: str


COMMANDS: dict[str, CommandEntry] = {
    "pretrain": CommandEntry("pretrain", "Pretrain an encoder with MoCo."),
    "probe": CommandEntry(
        "probe",
        "Probe the encoder of RUN with few labels, frozen or fine-tuned, beside its baselines.",
    ),
    "study": CommandEntry(
        "study",
        "Run a whole experiment: variants of a pretraining, several seeds, probes; one table.",
    ),
    "resume": CommandEntry(
        "resume", "Go on with a run that was stopped, failed or lost, from its last checkpoint."
    ),
    "extend": CommandEntry(
        "extend", "Go on with a finished pretraining to N epochs, as a new run."
    ),
    "fork": CommandEntry(
        "fork", "Go on from a checkpoint of a pretraining with other settings, as a new run."
    ),
    "demo": CommandEntry(
        "demo", "Pretrain on the embedded images, probe with 10 % of the labels, print the table."
    ),
    "presets": CommandEntry(
        "presets", "List the presets; with a NAME, its whole configuration as TOML."
    ),
    "runs": CommandEntry("runs", "List the runs, the newest first."),
    "show": CommandEntry("show", "Print what is known of RUN: state, settings, metrics, results."),
    "compare": CommandEntry("compare", "Compare runs: settings that differ, metrics side by side."),
    "look": CommandEntry(
        "look",
        "Look at what encoders make of images: neighbours, confusions, a map, side by side.",
    ),
    "serve": CommandEntry(
        "serve", "Show the app in a browser, through an SSH tunnel from anywhere."
    ),
    "watch": CommandEntry("watch", "Print the progress of RUN until it ends."),
    "pause": CommandEntry("pause", "Pause RUN after its current step, with a checkpoint."),
    "continue": CommandEntry("continue_", "Go on with a paused RUN."),
    "stop": CommandEntry("stop", "Stop RUN after its current step, with a checkpoint."),
    "checkpoint": CommandEntry("checkpoint", "Write a checkpoint of RUN now."),
    "tag": CommandEntry("tag", "Add (+TAG or TAG) and remove (-TAG) tags of RUN."),
    "note": CommandEntry("note", "Write a note on RUN, or print it."),
    "rename": CommandEntry("rename", "Call RUN by another NAME."),
    "delete": CommandEntry("delete", "Move runs to the trash; restore brings them back."),
    "restore": CommandEntry("restore", "Bring runs back from the trash, or list what is in it."),
    "trash": CommandEntry(
        "trash", "List what lies in the trash and what it takes, or empty it for good."
    ),
    "export": CommandEntry("export", "Write RUN, its encoder or its features for other programs."),
    "import": CommandEntry("import_", "Make a run of an encoder that was trained elsewhere."),
    "reindex": CommandEntry("reindex", "Make the index of the runs anew from their folders."),
    "config": CommandEntry("config", "Print your own configuration: what is in force, and why."),
    "notify": CommandEntry(
        "notify", "Try the notifications of runs that end, fail, are lost or show a fault."
    ),
    "manual": CommandEntry("manual", "Read the manual: the list of its pages, or a PAGE."),
    "doctor": CommandEntry("doctor", "Describe this machine and installation, for a bug report."),
    "completion": CommandEntry("completion", "Print the completion script of a shell."),
    # Other commands and the app start these; a name that begins with an underscore is not listed.
    "_train": CommandEntry("_train", "Trains the runs in PATHS in turn, without a terminal."),
    "_slurm_job": CommandEntry(
        "_slurm_job",
        "Trains the run in PATH as the process of a Slurm job, from its last checkpoint on.",
    ),
    "_estimate": CommandEntry(
        "_estimate", "Times parts of the pretraining, or of the study, on stdin."
    ),
    "_look": CommandEntry("_look", "Looks at the encoders named on stdin, for the app."),
    "_served": CommandEntry(
        "_served", "Draws the app on stdout in the packets of a web driver, for the server."
    ),
}


def listed_commands() -> list[str]:
    """The names of the commands that people call, in the order of the help."""
    return [name for name in COMMANDS if not name.startswith("_")]


def load_command(name: str) -> click.Command:
    """A command of the table; its module is imported now if it was not before."""
    module = importlib.import_module(f"moco_tui.cli.{COMMANDS[name].module}")
    # ``continue`` cannot be the name of a variable: it is ``continue_`` in its module.
    attribute = name.replace("-", "_") + "_" * keyword.iskeyword(name)
    command: click.Command = getattr(module, attribute)
    return command
