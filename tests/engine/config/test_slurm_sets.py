"""Settings of a job: what Slurm would not understand is refused before anything is made."""

from __future__ import annotations

import pytest

from engine.config.slurm_schema import SlurmOptions
from engine.config.slurm_sets import parted_sets, slurm_options
from engine.errors import ConfigError

# Every form that sbatch(1) lists under --time.
TIMES = ("90", "90:30", "4:00:00", "1-12", "1-12:30", "1-12:30:05", "UNLIMITED")


def test_what_is_of_the_job_is_parted_from_what_is_of_the_run() -> None:
    own, of_job = parted_sets(["epochs=3", "slurm.time=10", " slurm.cpus=2", "slurmish=1"])
    assert own == ("epochs=3", "slurmish=1")
    assert of_job == ("slurm.time=10", " slurm.cpus=2")


@pytest.mark.parametrize("time", TIMES)
def test_every_form_of_a_time_that_slurm_knows_is_taken(time: str) -> None:
    assert slurm_options([f"slurm.time={time}"]).time == time


@pytest.mark.parametrize(
    "time", ["soon", "4h", "1:2:3:4", "-1", "1-", "10\n#SBATCH --wrap=x", "1.5"]
)
def test_any_other_time_is_one_sentence(time: str) -> None:
    with pytest.raises(
        ConfigError, match=r"slurm\.time is .*; it must be the time limit of one part"
    ):
        slurm_options([f"slurm.time={time}"])


@pytest.mark.parametrize(
    "text",
    [
        "slurm.partition=main --wrap=id",
        "slurm.partition=main\n#SBATCH --wrap=id",
        "slurm.account=$(id)",
        "slurm.qos=a b",
        "slurm.gpus=many",
        "slurm.mem=16 GB",
        "slurm.cpus=-1",
        "slurm.max_jobs=no",
        "slurm.warn=3",
    ],
)
def test_what_could_be_read_as_another_option_is_refused(text: str) -> None:
    key = text.partition("=")[0]
    with pytest.raises(ConfigError) as refused:
        slurm_options([text])
    assert refused.value.key == key
    assert "it must be" in str(refused.value)


def test_a_setting_that_there_is_not_names_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"not a setting of a Slurm job; did you mean slurm\.partition"
    ):
        slurm_options(["slurm.partitoin=main"])


def test_later_settings_change_what_was_asked_for() -> None:
    before = SlurmOptions(partition="gpu", time="60", gpus="a100:2", mem="8G", cpus=4)
    after = slurm_options(["slurm.time=2-0"], before)
    assert after == SlurmOptions(partition="gpu", time="2-0", gpus="a100:2", mem="8G", cpus=4)
