"""The processes that compute one run together, on torch.distributed: one rank each.

Rank 0 decides and tells the others what comes next (``announce``); they follow (``next_command``).
What they exchange is cut by rank and put together here; what it means is in
``engine.pretrain.rank_step``.
"""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import Store

from engine.errors import TrainingError, UserError, described
from engine.machine.rank_place import RankPlace
from engine.runs.heartbeat import host_name
from engine.runtime.rank_facts import compare
from engine.runtime.rank_watch import RankWatch
from engine.sink import Interrupted, NullSink, Sink, check_interrupt

Command = Literal["share", "step", "end"]
_COMMANDS: tuple[Command, ...] = ("share", "step", "end")

_VERDICT_SECONDS = 25.0  # that a broken connection waits to be told which rank it was
_POLL_SECONDS = 0.05


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
        self._met = self._ended = False

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
        if error is not None and not self._met:
            self._post_ready({}, _words(error))
            if self.is_first:  # some may have read that it is ready, and wait for more
                self._watch.fail(f"Rank 0 left before the run began: {_words(error)}")
        elif error is not None and not self.is_first:
            self._watch.fail(f"Rank {self.rank} failed: {_words(error)}")
        self.end()
        if self.is_first and self._watch.verdict:
            self._watch.linger()
        self._watch.close()

    def end(self) -> None:
        """Lets the other ranks leave; on those nothing is to be told."""
        if self._ended:
            return
        self._ended = True
        if self.is_first and self._met and not self._watch.verdict:
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
        if self._met:
            return
        self._post_ready(facts, "")
        entries = [self._await(f"ready/{rank}", sink) for rank in range(self.world)]
        compare([json.loads(entry) for entry in entries], self.rank)
        self._met = True

    def _post_ready(self, facts: Mapping[str, str], error: str) -> None:
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


def enter(ranks: Ranks) -> Ranks:
    """Makes this process one of these ranks, until it ends."""
    _joined.append(ranks)
    return ranks


def _words(error: BaseException) -> str:
    """An error for the other ranks."""
    if isinstance(error, Interrupted):
        return f"it was asked to {error.request}"
    return str(error) if isinstance(error, UserError) else described(error)
