"""The processes that compute one run together, on torch.distributed: one rank each.

Rank 0 decides and tells the others what comes next (``announce``); they follow (``next_command``).
What they exchange is cut by rank and put together here; what it means is in
``engine.pretrain.rank_step``.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from types import TracebackType
from typing import Any, Literal, Self

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store

from engine.errors import ConfigError, TrainingError, UserError, described
from engine.machine.rank_place import RankPlace
from engine.runs.heartbeat import host_name
from engine.runtime.rank_watch import Peer, RankWatch
from engine.sink import NullSink, Sink, check_interrupt

Command = Literal["share", "step", "end"]
_COMMANDS: tuple[Command, ...] = ("share", "step", "end")

JOIN_SECONDS = 300.0
"""How long ranks wait for each other at the start."""
_VERDICT_SECONDS = 25.0  # that a broken connection waits to be told which rank it was
_POLL_SECONDS = 0.05
# A rank waits as long as another needs for a kNN, a checkpoint or a pause.
_FOR_EVER = datetime.timedelta(days=3650)


class Ranks:
    """The ranks of a run, as one of them sees them. Use as a context manager, once a process.

    Args:
        place: of this process.
        device: that it computes on.
        store: of the process group.
        watch: that of this process, started.

    Attributes:
        rank: of this process, from 0.
        world: how many there are.
        device: that this process computes on.
        folder: of the run; empty until rank 0 has told it.
    """

    def __init__(
        self, place: RankPlace, device: torch.device, store: Store, watch: RankWatch
    ) -> None:
        self.place, self.device = place, device
        self.rank, self.world = place.rank, place.world
        self.folder = ""
        self._store, self._watch = store, watch
        self._ready = self._ended = False

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which decides, and writes the run folder."""
        return self.rank == 0

    @property
    def backend(self) -> str:
        """What carries the tensors: ``nccl`` between cards, ``gloo`` between CPUs."""
        return "nccl" if self.device.type == "cuda" else "gloo"

    def facts(self) -> dict[str, Any]:
        """What the record says of the ranks."""
        return {"ranks": self.world, "nodes": self.place.nodes, "backend": self.backend}

    # ------------------------------------------------------------------------------- lifetime

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Tells the others that this rank leaves, and why."""
        if error is not None and not self._ready:
            words = str(error) if isinstance(error, UserError) else described(error)
            self._post_ready({}, words)
        elif error is not None and not self.is_first and not self._watch.verdict:
            words = str(error) if isinstance(error, UserError) else described(error)
            self._watch.fail(f"Rank {self.rank} failed: {words}")
        self.end()
        if self.is_first and self._watch.verdict:
            self._watch.linger()
        self._watch.close()

    def end(self) -> None:
        """Lets the other ranks leave; on those nothing is to be told."""
        if self._ended:
            return
        self._ended = True
        if self.is_first and self._ready and not self._watch.verdict:
            with contextlib.suppress(TrainingError):
                self._announce("end", 0)
        if not self._watch.verdict:  # from here on, a rank may end as it likes
            self._watch.close()

    def check(self, *, now: bool = False) -> None:
        """Refuses to go on once a rank is lost.

        Args:
            now: look at the processes of this node once more, which takes a moment.

        Raises:
            TrainingError: naming it.
        """
        if self._ended:
            return
        if now:
            self._watch.look_here()
        if self._watch.verdict:
            raise TrainingError(self._watch.verdict)

    # ---------------------------------------------------------------------- before the first step

    @contextlib.contextmanager
    def in_turn(self) -> Iterator[None]:
        """Lets the first rank of each node go through the block before the others of the node.

        It downloads and caches what they then read.
        """
        key = f"turn/{self.place.node}"
        if self.place.local_rank:
            self._await(key, NullSink())
        try:
            yield
        finally:
            if not self.place.local_rank:
                self._store.set(key, "done")

    def ready(self, facts: Mapping[str, str], sink: Sink) -> None:
        """Waits until every rank is ready to train, and compares what has to be the same.

        Args:
            facts: what all ranks need alike, in words.
            sink: of this rank; asked whether to stop.

        Raises:
            ConfigError: a rank has something else, or cannot train.
            Interrupted: the sink asked to stop.
        """
        if self._ready:
            return
        self._post_ready(facts, "")
        entries = [self._await(f"ready/{rank}", sink) for rank in range(self.world)]
        _compare([json.loads(entry) for entry in entries], self.rank)

    def _post_ready(self, facts: Mapping[str, str], error: str) -> None:
        self._ready = not error
        entry = json.dumps({"facts": dict(facts), "error": error, "host": host_name()})
        with contextlib.suppress(RuntimeError):
            self._store.set(f"ready/{self.rank}", entry)

    def _await(self, key: str, sink: Sink) -> str:
        while not self._stored(key):
            check_interrupt(sink)
            self.check()
            time.sleep(_POLL_SECONDS)
        entry: bytes = self._store.get(key)
        return entry.decode()

    def _stored(self, key: str) -> bool:
        try:
            return bool(self._store.check([key]))
        except RuntimeError as error:
            raise self._broken(error) from error

    # ---------------------------------------------------------------------------- while it trains

    def announce_step(self) -> None:
        """On rank 0: the others compute a step, too."""
        self._announce("step", 0)

    def share(self, state: Mapping[str, Any]) -> None:
        """On rank 0: the others continue from this state.

        Args:
            state: tensors, numbers, texts, and lists and dicts of these.
        """
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        content = torch.frombuffer(bytearray(buffer.getbuffer()), dtype=torch.uint8)
        self._announce("share", len(content))
        self._call(lambda: dist.broadcast(content, 0))

    def next_command(self) -> tuple[Command, dict[str, Any]]:
        """On the other ranks: what rank 0 wants next, for which they wait without an end.

        Returns:
            The command, and of ``share`` the state, with every tensor on the CPU.

        Raises:
            TrainingError: a rank is lost.
        """
        message = torch.zeros(2, dtype=torch.int64)
        self._call(lambda: dist.broadcast(message, 0))
        number, size = message.tolist()
        command = _COMMANDS[number]
        state: dict[str, Any] = {}
        if command == "share":
            content = torch.zeros(size, dtype=torch.uint8)
            self._call(lambda: dist.broadcast(content, 0))
            # From another process of the run, perhaps of another machine: no code of it runs here.
            file = io.BytesIO(content.numpy().tobytes())
            state = torch.load(file, map_location="cpu", weights_only=True)
        elif command == "end":
            self._ended = True
            self._watch.close()
        return command, state

    def _announce(self, command: Command, size: int) -> None:
        message = torch.tensor([_COMMANDS.index(command), size])
        self._call(lambda: dist.broadcast(message, 0))

    def gather(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """The parts of all ranks, in one exchange.

        Args:
            parts: tensors of one dtype on the device, of the same shapes on every rank.

        Returns:
            For each part ``(world, *shape)``, the same bits on every rank.
        """
        flat = torch.cat([part.reshape(-1) for part in parts])
        everything = flat.new_empty(self.world * len(flat))
        self._call(lambda: dist.all_gather(list(everything.view(self.world, -1)), flat))
        sizes = [part.numel() for part in parts]
        columns = torch.split(everything.view(self.world, -1), sizes, dim=1)
        return [
            column.reshape(self.world, *part.shape)
            for column, part in zip(columns, parts, strict=True)
        ]

    def average_(self, tensors: Sequence[Tensor]) -> None:
        """Replaces tensors by their mean over the ranks, in one exchange.

        Args:
            tensors: of one dtype on the device, of the same shapes on every rank. They have the
                same bits on every rank afterwards.
        """
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        self._call(lambda: dist.all_reduce(flat))
        flat /= self.world
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        shaped = [part.view(t.shape) for part, t in zip(parts, tensors, strict=True)]
        torch._foreach_copy_(list(tensors), shaped)

    def _call(self, operation: Callable[[], object]) -> None:
        """Takes part in an operation of all ranks.

        Raises:
            TrainingError: a rank is lost; it is named where that can be found out.
        """
        try:
            operation()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise self._broken(error) from error

    def _broken(self, error: RuntimeError) -> TrainingError:
        words = f"The connection between the ranks broke ({described(error).splitlines()[0]})."
        return TrainingError(self._watch.wait(_VERDICT_SECONDS) or words)


_joined: list[Ranks] = []


def joined_ranks() -> Ranks | None:
    """The ranks that this process is one of; None where it computes alone."""
    return _joined[0] if _joined else None


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
        "facts": {**_versions(device), **facts},
        "error": "",
        "host": host_name(),
        "pid": os.getpid(),
        "node": place.node,
    }
    store.set(f"join/{place.rank}", json.dumps(introduction))
    met = [json.loads(_met(store, rank)) for rank in range(place.world)]
    _compare(met, place.rank)
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
    ranks = Ranks(place, device, store, watch)
    _joined.append(ranks)
    return ranks


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


def _versions(device: torch.device) -> dict[str, str]:
    """What has to be the same for all ranks to keep the same weights, in words."""
    try:
        version = metadata.version("moco-tui")
    except metadata.PackageNotFoundError:
        version = "(not installed)"
    name = f"the device {device.type}"
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    generator = torch.Generator(device).manual_seed(0)
    draws = torch.rand(1024, 64, generator=generator, device=device).cpu().numpy().tobytes()
    return {
        "moco-tui": f"moco-tui {version}",
        "torch": f"torch {torch.__version__}",
        "device": name,
        "instructions": f"the instructions {torch.backends.cpu.get_cpu_capability()}",
        # A card draws otherwise than one with another number of processors.
        "draws": f"the random numbers {hashlib.blake2b(draws, digest_size=4).hexdigest()}",
    }


def _compare(entries: Sequence[Mapping[str, Any]], own: int) -> None:
    """Refuses ranks that differ, or one that cannot train.

    Raises:
        ConfigError: naming the rank and what it has.
    """
    for rank, entry in enumerate(entries):
        if entry["error"]:
            where = "" if rank == own else f"Rank {rank} on {entry['host']}: "
            raise ConfigError(f"{where}{entry['error']}")
    first = entries[0]["facts"]
    for rank, entry in enumerate(entries):
        for name in first:
            if entry["facts"].get(name) != first[name]:
                raise ConfigError(
                    f"Rank {rank} on {entry['host']} has {entry['facts'].get(name, 'no ' + name)}, "
                    f"and rank 0 on {entries[0]['host']} has {first[name]}; all ranks of a run "
                    "need the same."
                )


def _end_operations_of_cards() -> None:
    """Ends operations of NCCL that wait for a rank that is lost; gloo ends its own."""
    if torch.cuda.is_available() and dist.is_initialized():
        with contextlib.suppress(Exception):  # one that failed already
            dist.group.WORLD.abort()  # type: ignore[union-attr]
