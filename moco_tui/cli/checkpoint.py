"""The command that asks a run for a checkpoint."""

from moco_tui.cli.run_request import request_command

checkpoint = request_command(
    "checkpoint", "Write a checkpoint of RUN now.", "checkpoint of step {step} written"
)
