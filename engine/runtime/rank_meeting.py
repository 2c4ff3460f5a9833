"""How the ranks of a run meet, and find out that they can compute it together."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store

from engine.errors import ConfigError, described
from engine.machine.rank_place import RankPlace
from engine.runs.heartbeat import host_name
from engine.runtime.process_group import Ranks, enter
from engine.runtime.rank_facts import compare, versions_of
from engine.runtime.rank_watch import Peer, RankWatch

JOIN_SECONDS = 300.0
"""How long ranks wait for each other at the start."""
_LEAVE_SECONDS = 5.0
# A rank waits as long as another needs for a kNN, a checkpoint or a pause.
_FOR_EVER = datetime.timedelta(days=3650)


def join(place: RankPlace, device: torch.device, facts: Mapping[str, str]) -> Ranks:
    """Meets the other ranks, and checks that they can compute one run together.

    Args:
        place: of this process, see ``rank_place``.
        device: that it computes on; one of a kind on all ranks.
        facts: what else has to be the same on all ranks, in words.

    Raises:
        ConfigError: a rank does not come, or runs something else.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    store, own_store = (_connected(place, owner=owner) for owner in (True, False))
    introduction = {
        "facts": {**versions_of(device), **facts},
        "error": "",
        "host": host_name(),
        "pid": os.getpid(),
        "node": place.node,
    }
    store.set(f"join/{place.rank}", json.dumps(introduction))
    met = [json.loads(_met(store, rank)) for rank in range(place.world)]
    try:
        compare(met, place.rank)
    except ConfigError:
        _leave_together(store, place)
        raise
    peers = [
        Peer(rank, each["pid"], each["host"], here=each["node"] == place.node)
        for rank, each in enumerate(met)
    ]
    watch = RankWatch(
        own_store,
        place.rank,
        [peers[0]] if place.rank else peers[1:],
        store_of_first=not place.launcher_has_store,
        on_failure=_end_operations_of_cards,
    )
    # The watch ends operations when a rank is lost. Left to NCCL, it would end this process, and
    # nobody would write down why.
    os.environ["TORCH_NCCL_ASYNC_ERROR_HANDLING"] = "0"
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
        store=PrefixStore("group", store),
        rank=place.rank,
        world_size=place.world,
        timeout=_FOR_EVER,
    )
    watch.start()
    return enter(Ranks(place, device, store, watch))


def _connected(place: RankPlace, *, owner: bool) -> Store:
    """A connection to the store by which the ranks find each other.

    Args:
        place: of this process.
        owner: rank 0 makes the store, unless the launcher has.
    """
    owner = owner and place.rank == 0 and not place.launcher_has_store
    try:
        store: Store = dist.TCPStore(  # type: ignore[attr-defined] # it is public all the same
            place.address,
            place.port,
            place.world,
            owner,
            datetime.timedelta(seconds=JOIN_SECONDS),
            wait_for_workers=False,
        )
    except RuntimeError as error:
        raise ConfigError(
            f"The ranks cannot meet at MASTER_ADDR {place.address}, MASTER_PORT {place.port} "
            f"({described(error).splitlines()[0]}); start them with torchrun, all with the same "
            "address, at a port that is free."
        ) from error
    return PrefixStore(f"moco-tui/{place.attempt}", store)


def _met(store: Store, rank: int) -> bytes:
    try:
        return bytes(store.get(f"join/{rank}"))  # waits
    except RuntimeError as error:
        raise ConfigError(
            f"Rank {rank} did not come within {JOIN_SECONDS:.0f} s; every process that WORLD_SIZE "
            "counts has to be started."
        ) from error


def _leave_together(store: Store, place: RankPlace) -> None:
    """Has rank 0, with which the store may end, wait until all have read why."""
    with contextlib.suppress(RuntimeError):
        store.set(f"left/{place.rank}", "")
        if place.rank == 0:
            keys = [f"left/{rank}" for rank in range(place.world)]
            store.wait(keys, datetime.timedelta(seconds=_LEAVE_SECONDS))


def _end_operations_of_cards() -> None:
    """Ends operations of NCCL that wait for a rank that is lost; gloo ends its own."""
    if torch.cuda.is_available() and dist.is_initialized():
        with contextlib.suppress(Exception):  # one that failed already
            dist.group.WORLD.abort()  # type: ignore[union-attr]
