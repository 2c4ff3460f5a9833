"""The command that stops a run."""

from moco_tui.cli.run_request import request_command

stop = request_command(
    "stop",
    "Stop RUN after its current step, with a checkpoint. Resume goes on from there.",
    "stopping after step {step}",
)
