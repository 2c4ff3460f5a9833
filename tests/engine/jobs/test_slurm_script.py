"""The script of a job: one command of this program, no pickle, no option that nobody wants."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from engine.config.slurm_schema import SlurmOptions
from engine.errors import RunError
from engine.jobs.slurm_script import job_script

from ...stand_in_slurm import StandInSlurm

COMMAND = ["/opt/my python/bin/python", "-m", "moco_tui", "_slurm_job", "/runs of $USER/k7xw2m"]


def options_of(script: str) -> dict[str, str]:
    """The ``#SBATCH`` lines as a shell would split them."""
    found = {}
    for line in script.splitlines():
        if line.startswith("#SBATCH "):
            (word,) = shlex.split(line.removeprefix("#SBATCH "))
            key, _, value = word.removeprefix("--").partition("=")
            found[key] = value
    return found


def commands_of(script: str) -> list[str]:
    return [line for line in script.splitlines() if line.strip() and not line.startswith("#")]


def test_without_options_the_cluster_decides(slurm: StandInSlurm, tmp_path: Path) -> None:
    script = job_script(SlurmOptions(), COMMAND, name="moco-tui-k7xw2m", output=tmp_path / "o")
    assert options_of(script) == {
        "job-name": "moco-tui-k7xw2m",
        "nodes": "1",
        "open-mode": "append",
        "output": str(tmp_path / "o"),
        "signal": "B:USR1@120",
        "requeue": "",
        "chdir": "/",
    }


def test_every_option_is_that_of_sbatch(slurm: StandInSlurm, tmp_path: Path) -> None:
    options = SlurmOptions(
        partition="gpu",
        account="lab",
        qos="low",
        time="1-12:00:00",
        gpus="a100:1",
        cpus=8,
        mem="16g",
        max_jobs=3,
        warn=300,
    )
    script = job_script(options, COMMAND, name="n", output=tmp_path / "100 %j", tasks=8)
    found = options_of(script)
    expected = {
        "partition": "gpu",
        "account": "lab",
        "qos": "low",
        "time": "1-12:00:00",
        "gpus-per-node": "a100:1",
        "cpus-per-task": "8",
        "mem": "16G",
        "array": "0-7%3",
        "signal": "B:USR1@300",
        "output": f"{tmp_path}/100 %%j",  # %j would be the number of the job
    }
    assert {key: found[key] for key in expected} == expected
    assert (
        options_of(job_script(SlurmOptions(), COMMAND, name="n", output=tmp_path, tasks=5))["array"]
        == "0-4%5"
    )


def test_the_command_takes_the_place_of_the_shell(slurm: StandInSlurm, tmp_path: Path) -> None:
    script = job_script(SlurmOptions(), COMMAND, name="n", output=tmp_path / "o")
    *before, last = commands_of(script)
    assert shlex.split(last) == ["exec", *COMMAND]
    assert before == ["trap '' USR1", "export SUBMITIT_EXECUTOR=slurm"]
    assert "pkl" not in script
    assert list(tmp_path.glob("*")) == [slurm.folder]  # nothing was written for it


def test_submitit_that_is_missing_is_named_with_its_extra(
    slurm: StandInSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(RunError, match=r"needs submitit, .* pip install 'moco-tui\[slurm\]'"):
        job_script(SlurmOptions(), COMMAND, name="n", output=tmp_path / "o")


def test_a_machine_without_srun_is_one_sentence(
    slurm: StandInSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RunError, match="Nothing can be submitted to Slurm from here"):
        job_script(SlurmOptions(), COMMAND, name="n", output=tmp_path / "o")
