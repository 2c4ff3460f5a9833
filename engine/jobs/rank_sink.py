"""The sink of rank 0 where several ranks compute a run."""

from __future__ import annotations

from engine.runtime.process_group import Ranks
from engine.sink import PassingSink, Request, Sink

NO_HAND_OVER = (
    "a run of several ranks is not handed over to another process; it goes on here (stop it, and "
    "resume it elsewhere)"
)


class RankSink(PassingSink):
    """Passes everything on, and ends what it is asked in once a rank is lost.

    Requests are looked at between steps, within kNN and while the run is paused: wherever rank 0
    would not meet the other ranks for a while.

    Args:
        sink: the sink to pass everything on to.
        ranks: those of the run.
    """

    def __init__(self, sink: Sink, ranks: Ranks) -> None:
        super().__init__(sink)
        self._ranks, self._step = ranks, 0

    def request(self) -> Request | None:
        """See ``Sink.request``; a hand-over is declined.

        Raises:
            TrainingError: a rank is lost.
        """
        request = self._sink.request()
        # A launcher ends all ranks when one has died: its signal is no wish of a person.
        self._ranks.check(now=request is not None)
        if request == "hand-over":
            self._sink.log(NO_HAND_OVER)
            self._sink.acknowledge(request, self._step)
            return None
        return request

    def checkpointed(self, step: int) -> None:
        """See ``Sink.checkpointed``."""
        self._step = step
        self._sink.checkpointed(step)
