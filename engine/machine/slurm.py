"""Slurm, as its own programs tell of it: what waits, why, and what partitions there are.

No accounting is needed (``sacct``): many small clusters have none. ``squeue`` and ``scontrol show
job`` know the jobs that wait or run, and that is what is asked.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from engine.errors import RunError
from engine.text import clean_text

ANSWER_SECONDS = 20.0
"""How long a program of Slurm may take; a busy controller answers late."""
_FIELDS = "%F|%K|%T|%r|%N|%j"
_UNKNOWN_JOB = "Invalid job id"
# Variables that change what these programs list or how they write it.
_OWN_FORMATS = ("SQUEUE_", "SINFO_", "SCANCEL_", "SLURM_TIME_FORMAT")
_SHOWN = re.compile(r"\b(JobState|Reason|Restarts|PreemptTime)=(\S+)")
_ENDED = frozenset({"CANCELLED", "COMPLETING"})  # of a cancelled job whose processes are ending
Fate = Literal["runs", "queued", "cancelled"]
_MOST_PLACES = 100_000


class QueueLine(Struct, frozen=True):
    """A job, or some tasks of an array, in the queue.

    Attributes:
        job: number of the job, of an array that of the array.
        tasks: how many tasks of an array the line stands for; 1 for a job.
        state: as Slurm writes it: ``PENDING``, ``RUNNING``, ``COMPLETING`` and so on.
        reason: why it waits, one word of Slurm's such as ``Resources``; ``None`` where it runs.
        nodes: where it runs; empty while it waits.
        name: of the job.
    """

    job: str
    tasks: int
    state: str
    reason: str
    nodes: str
    name: str


def is_installed() -> bool:
    """Whether jobs can be submitted from this machine."""
    return shutil.which("sbatch") is not None


def queue_lines(
    jobs: Iterable[str], *, seconds: float = ANSWER_SECONDS
) -> dict[str, list[QueueLine]]:
    """What the queue holds of some jobs, by their number; one that has left it is missing.

    Args:
        jobs: their numbers.
        seconds: how long Slurm may take.

    Raises:
        RunError: when Slurm gives no answer.
    """
    wanted = sorted(set(jobs))
    if not wanted:
        return {}
    try:
        answer = ask_slurm(
            "squeue", "--noheader", "-o", _FIELDS, "-j", ",".join(wanted), seconds=seconds
        )
    except RunError as error:
        if _UNKNOWN_JOB in str(error):  # said of a single job that has left the queue
            return {}
        raise
    found: dict[str, list[QueueLine]] = {}
    for text in answer.splitlines():
        line = _line_of(text)
        if line is not None and line.job in wanted:
            found.setdefault(line.job, []).append(line)
    return found


def _line_of(text: str) -> QueueLine | None:
    parts = [clean_text(part) for part in text.split("|", 5)]
    if len(parts) < 6 or not parts[0].isdecimal():
        return None
    job, tasks, state, reason, nodes, name = parts
    return QueueLine(job, _count(tasks), state, reason.strip("()"), nodes, name)


def _count(tasks: str) -> int:
    """How many tasks ``2``, ``2-7%2`` or ``1,4-6`` are; 1 for ``N/A``."""
    count = 0
    for part in tasks.partition("%")[0].split(","):
        first, _, last = part.partition("-")
        if first.isdecimal():
            count += int(last) - int(first) + 1 if last.isdecimal() else 1
    return min(max(count, 1), _MOST_PLACES)


def partitions() -> list[str]:
    """The names of all partitions.

    Raises:
        RunError: when Slurm gives no answer.
    """
    names = ask_slurm("sinfo", "--noheader", "-o", "%R").split()
    return [clean_text(name) for name in dict.fromkeys(names)]


def submit(script: str, environment: Mapping[str, str]) -> str:
    """Hands a script to ``sbatch``; the number of the job.

    Args:
        script: with its ``#SBATCH`` lines. Slurm keeps a copy, so no file of it is needed.
        environment: of the job.

    Raises:
        RunError: when Slurm refuses it, with its words.
    """
    answer = ask_slurm("sbatch", "--parsable", text=script, environment=environment)
    job = answer.strip().partition(";")[0]
    if not job.isdecimal():
        raise RunError(f"sbatch gave no number of a job, but: {clean_text(answer)}.")
    return job


def cancel(job: str, name: str, *, waiting_only: bool = False) -> None:
    """Cancels a job, if it still has this name: numbers of jobs are given out anew one day.

    Args:
        job: its number.
        name: its name.
        waiting_only: leave those tasks alone that run.

    Raises:
        RunError: when Slurm refuses, with its words.
    """
    which = ["--state=PENDING"] if waiting_only else []
    try:
        ask_slurm("scancel", f"--name={name}", *which, job)
    except RunError as error:
        if _UNKNOWN_JOB not in str(error):  # it has left the queue: there is nothing to cancel
            raise


def requeue(job: str) -> None:
    """Ends a job that runs and puts it back into the queue; the number stays.

    Raises:
        RunError: when Slurm refuses, with its words.
    """
    ask_slurm("scontrol", "requeue", job)


def fate_of(job: str) -> Fate:
    """What becomes of the job of this process, which got a signal.

    Returns:
        ``queued``: Slurm has put it back into the queue itself, as it does with what it preempts;
        ``cancelled``: somebody has cancelled it; ``runs``: neither, as where its time is over, or
        where there is a time of grace.

    Raises:
        RunError: when Slurm gives no answer.
    """
    shown = ask_slurm("scontrol", "--oneliner", "show", "job", job)
    found = dict(_SHOWN.findall(shown))
    again = found.get("Restarts", "0")
    if again.isdecimal() and int(again) > restarts():
        return "queued"
    states = set(found.get("JobState", "").split(","))
    preempted = found.get("PreemptTime", "None") not in ("None", "Unknown", "(null)")
    if not states <= _ENDED or preempted or found.get("Reason") == "TimeLimit":
        return "runs"
    return "cancelled"


def own_job(environment: Mapping[str, str] = os.environ) -> str:
    """The job that this process works for, ``17`` or ``17_3`` of an array; empty for none."""
    array, task = (environment.get(f"SLURM_ARRAY_{name}", "") for name in ("JOB_ID", "TASK_ID"))
    # The number of a single task is, of one of them, that of the whole array.
    job = f"{array}_{task}" if array and task else environment.get("SLURM_JOB_ID", "")
    return job if re.fullmatch(r"[0-9]+(_[0-9]+)?", job) else ""


def restarts(environment: Mapping[str, str] = os.environ) -> int:
    """How often Slurm has started this job again."""
    text = environment.get("SLURM_RESTART_COUNT", "")
    return int(text) if text.isdecimal() else 0


def ask_slurm(
    program: str,
    *arguments: str,
    text: str = "",
    environment: Mapping[str, str] | None = None,
    seconds: float = ANSWER_SECONDS,
) -> str:
    """What a program of Slurm prints.

    Args:
        program: its name.
        arguments: its arguments.
        text: its standard input.
        environment: None: that of this process.
        seconds: how long it may take.

    Raises:
        RunError: when it is not there, refuses, or gives no answer in time; one sentence.
    """
    given = os.environ if environment is None else environment
    known = {key: value for key, value in given.items() if not key.startswith(_OWN_FORMATS)}
    try:
        done = subprocess.run(
            [program, *arguments],
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            env={**known, "LC_ALL": "C"} if environment is None else known,
        )
    except FileNotFoundError:
        raise RunError(
            f"{program} is not on PATH, so Slurm cannot be asked; log in to a machine of the "
            "cluster that has it."
        ) from None
    except subprocess.TimeoutExpired:
        raise RunError(
            f"{program} gave no answer within {seconds:g} s; is the controller of Slurm up?"
        ) from None
    except OSError as error:
        raise RunError(f"{program} cannot be started: {error.strerror or error}.") from error
    if done.returncode:
        raise RunError(f"{program} refused: {_words(done.stderr or done.stdout)}.")
    return done.stdout


def _words(said: str) -> str:
    """What a program complains of, in one line without its prefixes."""
    lines: Sequence[str] = [
        re.sub(r"^(\w+: )?(error: )?", "", line.strip()) for line in said.splitlines()
    ]
    told = [line for line in lines if line]
    return clean_text("; ".join(dict.fromkeys(told[-2:])) or "it gave no reason", 400).rstrip(".")
