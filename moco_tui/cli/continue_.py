"""The command that lets a paused run go on."""

from moco_tui.cli.run_request import request_command

continue_ = request_command("continue", "Go on with a paused RUN.", "going on after step {step}")
