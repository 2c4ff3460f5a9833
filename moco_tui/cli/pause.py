"""The command that pauses a run."""

from moco_tui.cli.run_request import request_command

pause = request_command(
    "pause", "Pause RUN after its current step, with a checkpoint.", "paused after step {step}"
)
