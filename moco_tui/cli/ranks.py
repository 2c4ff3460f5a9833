"""One pretraining by several processes: those that torchrun has started, or that are started here.

A process that torchrun has started is a rank: rank 0 does what the command does otherwise, the
others follow it. With ``--devices ... --parallel`` this process starts the ranks, which are the
same command again.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
import msgspec

from engine.config.device_list import ALL, parse_devices
from engine.config.schema import AnyConfig, PretrainConfig
from engine.errors import ConfigError, TrainingError, UserError
from engine.machine.rank_place import RankPlace, rank_place, several_ranks
from moco_tui.cli.options import Settings, option_group
from moco_tui.cli.output import clean, say
from moco_tui.training import detached

if TYPE_CHECKING:
    from engine.runtime.process_group import Ranks

ALONE = ("probe", "study", "demo", "extend", "fork")
"""Commands that train in one process, or start others themselves."""


@dataclass(frozen=True)
class RankOptions:
    """What was said of ranks.

    Attributes:
        devices: a list of devices as typed; None: not given.
        parallel: whether they compute the run together.
    """

    devices: str | None = None
    parallel: bool = False

    @property
    def given(self) -> bool:
        """Whether anything was said."""
        return self.parallel or self.devices is not None

    def asked(self) -> dict[str, bool]:
        """What asks for ranks, by its name, and whether it was given."""
        return {
            "--devices": self.devices is not None,
            "--parallel": self.parallel,
            "torchrun": several_ranks(),
        }

    @property
    def typed(self) -> str:
        """The list as it was typed; empty: none was."""
        return self.devices or ""

    def device_setting(self) -> dict[str, str]:
        """``runtime.device``: the kind of the devices, since each rank has one of its own."""
        if self.devices is None:
            return {}
        named = _devices_of_a_kind(self.devices)
        if len(named) == 1 and named != (ALL,):
            return {"runtime.device": named[0]}
        return {"runtime.device": "cpu" if named[0] == "cpu" else "cuda"}

    def named(self, settings: Settings, place: RankPlace | None) -> tuple[str, ...]:
        """The devices for the ranks of this machine, one each; empty: nothing was said.

        Raises:
            ConfigError: when the options do not fit together or the launcher.
        """
        if self.devices is None:
            if self.parallel:
                raise ConfigError(
                    "--parallel needs --devices, which says where the ranks are: all, "
                    "cuda:0,cuda:1 or cpu:2."
                )
            return ()
        devices = _devices_of_a_kind(self.devices)
        if settings.device:
            raise ConfigError(
                "--device and --devices were both given; --devices names the devices of several "
                "ranks, --device that of a single process."
            )
        if place is None and not self.parallel:
            raise ConfigError(
                "--devices names devices for several ranks; add --parallel to compute this run "
                "on them together, or name one device with --device."
            )
        if place is not None and devices != (ALL,) and len(devices) != place.local_world:
            raise ConfigError(
                f"--devices names {len(devices)} device{'s' * (len(devices) != 1)}, but the "
                f"launcher has started {place.local_world} ranks here; name one for each."
            )
        return devices


def _devices_of_a_kind(text: str) -> tuple[str, ...]:
    """The devices of a list, on which ranks can exchange tensors.

    Raises:
        ConfigError: when it is no list, or names devices of two kinds, or an Apple GPU.
    """
    devices = parse_devices(text)
    kinds = {device.partition(":")[0] for device in devices}
    if len(kinds) > 1 or "mps" in kinds:
        raise ConfigError(
            f"--devices is {clean(text)}; the ranks of one run need cards as in cuda:0,cuda:1, or "
            "processes on the CPU as in cpu:2, not both.",
            "devices",
        )
    return devices


RANKS = option_group(
    "ranks",
    RankOptions,
    click.option(
        "--devices",
        metavar="LIST",
        help="Devices for --parallel: all, cuda:0,cuda:1 or cpu:2 (two processes).",
    ),
    click.option(
        "--parallel", is_flag=True, help="Compute the run on all of --devices, a rank on each."
    ),
)


def check_alone(command: str) -> None:
    """Refuses a command that several ranks cannot share.

    Raises:
        ConfigError: under torchrun.
    """
    if command in ALONE and several_ranks():
        instead = {
            "study": "a study shares its runs among processes of its own (--workers N)",
            "probe": "a probe computes in one process",
        }.get(command, "only pretrain and resume share their steps")
        raise ConfigError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE'][:9]}: torchrun started several processes of "
            f"moco-tui {command}, but {instead}; call it without torchrun."
        )


def check_shared(config: AnyConfig, ranks: int) -> None:
    """Refuses what several ranks cannot compute; before anything is read or started.

    Raises:
        ConfigError: in a sentence.
    """
    if not isinstance(config, PretrainConfig):
        raise ConfigError("Several ranks compute a pretraining only; call this without them.")
    from engine.pretrain.rank_step import check_ranks

    check_ranks(config, ranks)


def ranks_to_start(config: AnyConfig, devices: Sequence[str]) -> int:
    """How many ranks are to be started for a run; 0 where this process computes it.

    Args:
        config: of the run.
        devices: one for each; empty: nothing was said.

    Raises:
        ConfigError: a device is not there, or so many ranks cannot share the run.
    """
    if not devices:
        return 0
    from engine.runtime.named_devices import check_there, named_devices

    found = named_devices(devices)
    for device in dict.fromkeys(found):
        check_there(device)
    count = len(found)
    if count == 1:
        return 0
    check_shared(config, count)
    return count


def start_ranks(count: int) -> int:
    """Starts this command again as several ranks, and waits for them.

    Returns:
        The exit code.

    Raises:
        RunError: the ranks cannot be started.
    """
    from engine.runtime.rank_launch import launch

    os.environ.update(detached.child_environment())
    return launch([*detached.child_command()[1:], *sys.argv[1:]], count)


def as_rank(place: RankPlace, config: PretrainConfig, devices: Sequence[str]) -> Ranks:
    """This process as one of the ranks; to be used as a context manager while it computes.

    Args:
        place: of this process.
        config: of the run.
        devices: of the ranks of this machine; empty: as the configuration says.

    Raises:
        ConfigError: the ranks do not fit together.
    """
    if place.rank:  # rank 0 hears of signals, and tells the others what becomes of the run
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    # Before torch is imported: it would print a stack where the store of a rank that died is gone.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    check_shared(config, place.world)
    from engine.runtime.rank_device import device_of_rank
    from engine.runtime.rank_meeting import join

    digest = hashlib.blake2b(msgspec.json.encode(config), digest_size=6).hexdigest()
    device = device_of_rank(place, devices, config.runtime.device)
    facts = {"configuration": f"the configuration {digest}"}
    return join(place, device, facts)


def following(ranks: Ranks, config: PretrainConfig, settings: Settings) -> int:
    """Computes the part of a rank that is not the first.

    Returns:
        The exit code. What is wrong, rank 0 says; where it has died, the record says it.
    """
    from engine.jobs.rank_follower import follow_run, record_loss

    try:
        with ranks:
            follow_run(config, ranks, root=settings.root, data_dir=settings.data)
    except TrainingError as error:
        if record_loss(ranks, str(error)):
            say(f"moco-tui: {error}")
        return 1
    except UserError:
        return 2
    return 0


Work = Callable[["Ranks | None"], int]


def over_ranks(
    settings: Settings, options: RankOptions, config: AnyConfig, work: Work, *, detach: bool
) -> int:
    """Does the work of a command in this process, in ranks that it starts, or as a rank.

    Args:
        settings: of the command.
        options: what was said of ranks.
        config: of the run.
        work: trains here; it is given the ranks where this process is the first of several.
        detach: whether the run is to be trained in a process of its own.

    Returns:
        The exit code.

    Raises:
        ConfigError: when the options do not fit together, or the ranks.
    """
    place = rank_place()
    devices = options.named(settings, place)
    if place is None:
        count = ranks_to_start(config, devices)
        # Detached, the process of its own starts them.
        return start_ranks(count) if count and not detach else work(None)
    if detach:
        raise ConfigError(
            "--detach under torchrun: each rank would leave its launcher; start torchrun itself "
            "in the background, or use --devices LIST --parallel --detach without it."
        )
    if not isinstance(config, PretrainConfig):
        raise ConfigError("torchrun computes a pretraining only; call this without torchrun.")
    ranks = as_rank(place, config, devices)
    if not ranks.is_first:
        return following(ranks, config, settings)
    with ranks:
        return work(ranks)
