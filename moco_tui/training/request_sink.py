"""Requests to the trainer from another thread of the same process."""

from __future__ import annotations

from engine.sink import NullSink, Plan, Request


class RequestSink(NullSink):
    """Asks the trainer for something from another thread of this process.

    Needs no lock: each attribute is one value, which is replaced as a whole.

    Attributes:
        wanted: the request that waits for its answer.
        began: the trainer has its data and its model, and looks for requests.
    """

    def __init__(self) -> None:
        self.wanted: Request | None = None
        self.began = False

    def plan(self, plan: Plan) -> None:
        """See ``Sink.plan``."""
        self.began = True

    def request(self) -> Request | None:
        """See ``Sink.request``."""
        return self.wanted

    def acknowledge(self, request: Request, step: int) -> None:
        """See ``Sink.acknowledge``."""
        if request == self.wanted:
            self.wanted = None
