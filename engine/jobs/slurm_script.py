"""The script of a Slurm job: submitit writes it, and its one command is that of this program.

submitit knows the options of ``sbatch``, of arrays and of the signal before a time limit. What it
does beside that is left aside: it would have the job run a function from a pickle in a shared
folder, and here nothing runs code from a file that others may write. So the job's command is
``python -m moco_tui``, and the shell is replaced by it, which thereby gets the signals itself.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.config.slurm_schema import SlurmOptions
from engine.errors import RunError

EXTRA = "slurm"


def check_submitit() -> None:
    """Refuses where submitit is not installed.

    Raises:
        RunError: it names the extra that brings it.
    """
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise RunError(
            "--submit slurm needs submitit, which is not installed: "
            f"pip install 'moco-tui[{EXTRA}]'."
        ) from None


def job_script(
    options: SlurmOptions, command: Sequence[str], *, name: str, output: Path, tasks: int = 0
) -> str:
    """The script to hand to ``sbatch``.

    Args:
        options: what is asked for.
        command: what the job executes.
        name: of the job.
        output: a file for what Slurm and the command print; lines are added at its end.
        tasks: of an array, each of which executes the command; 0: a single job.

    Raises:
        RunError: when submitit, or ``srun``, which it looks for, is not there.
    """
    check_submitit()
    from submitit import SlurmExecutor

    try:
        executor = SlurmExecutor(folder=output.parent)  # it makes nothing there
    except RuntimeError as error:
        raise RunError(f"Nothing can be submitted to Slurm from here: {error}") from error
    executor.update_parameters(**_parameters(options, name, output, tasks))
    if tasks:
        executor.parameters["map_count"] = tasks
    # One of the functions that an executor of submitit's consists of (``submitit.core.core``).
    return executor._make_submission_file_text(f"exec {shlex.join(command)}", uid="")


def _parameters(options: SlurmOptions, name: str, output: Path, tasks: int) -> dict[str, Any]:
    """The options under submitit's names; None leaves one to the cluster."""
    return {
        "job_name": name,
        "partition": options.partition or None,
        "account": options.account or None,
        "qos": options.qos or None,
        "time": options.time or None,
        "cpus_per_task": options.cpus or None,
        "gpus_per_node": options.gpus or None,
        "mem": options.mem.upper() or None,
        "array_parallelism": options.max_jobs or max(tasks, 1),
        "wckey": None,
        "stderr_to_stdout": True,
        "use_srun": False,
        # Nothing of the shell's may end at the signal before Python takes it.
        "setup": ["trap '' USR1"],
        "additional_parameters": {
            "output": str(output).replace("%", "%%"),  # % begins a pattern of Slurm's
            # B: to the shell of the job alone, whose place the command takes.
            "signal": f"B:USR1@{options.warn}",
            "requeue": True,
            "chdir": "/",
        },
    }
