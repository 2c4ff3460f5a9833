"""What a run asks of Slurm: settings of the job, which no digest of a run counts."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

# Python's $ matches before a last line feed as well.
_NAME = r"^[A-Za-z0-9_.@+-]*\Z"
_TIME = r"^([0-9]{1,6}(:[0-9]{1,2}){0,2}|[0-9]{1,5}-[0-9]{1,2}(:[0-9]{1,2}){0,2}|UNLIMITED)?\Z"


class SlurmOptions(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of ``sbatch`` (https://slurm.schedmd.com/sbatch.html); empty or 0: the cluster's own.

    None of them changes what a run computes, so they stand beside its configuration and not in it.
    """

    partition: Annotated[
        str, Meta(pattern=_NAME, description="the name of a partition (e.g. gpu); sinfo lists them")
    ] = ""
    account: Annotated[
        str,
        Meta(
            pattern=_NAME,
            description="the name of an account that the job is charged to (e.g. lab)",
        ),
    ] = ""
    qos: Annotated[
        str, Meta(pattern=_NAME, description="the name of a quality of service (e.g. low)")
    ] = ""
    time: Annotated[
        str,
        Meta(
            pattern=_TIME,
            description="the time limit of one part of the run, as Slurm writes it: MINUTES, "
            "MINUTES:SECONDS, HOURS:MINUTES:SECONDS, DAYS-HOURS, DAYS-HOURS:MINUTES or "
            "DAYS-HOURS:MINUTES:SECONDS (e.g. 4:00:00)",
        ),
    ] = ""
    gpus: Annotated[
        str,
        Meta(
            pattern=r"^([A-Za-z0-9_.-]+:)?[0-9]{0,4}\Z",
            description="a number of cards, or type:number (e.g. a100:1)",
        ),
    ] = ""
    cpus: Annotated[int, Meta(ge=0, le=4096, description="cores; 0: the cluster's default")] = 0
    mem: Annotated[
        str,
        Meta(
            pattern=r"^([0-9]{1,9}[KMGTkmgt]?)?\Z",
            description="an amount of memory in megabytes, or with K, M, G or T behind it "
            "(e.g. 16G)",
        ),
    ] = ""
    max_jobs: Annotated[
        int,
        Meta(ge=0, le=100_000, description="jobs of a study that run at once; 0: all of them"),
    ] = 0
    warn: Annotated[
        int,
        Meta(
            ge=10,
            le=65_535,
            description="how long before its time limit a run saves and is queued again",
            extra={"unit": "s"},
        ),
    ] = 120


class SlurmSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The settings of ``--submit slurm``, under the keys that ``--set`` takes."""

    slurm: SlurmOptions = SlurmOptions()
