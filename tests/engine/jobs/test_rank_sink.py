"""The sink of rank 0: a rank that is lost goes before every request."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import TrainingError
from engine.jobs.rank_sink import NO_HAND_OVER, RankSink
from engine.runtime.process_group import Ranks
from engine.sink import NullSink, Request


class Asking(NullSink):
    def __init__(self, request: Request | None) -> None:
        self.wanted = request
        self.logged: list[str] = []
        self.answered: list[tuple[Request, int]] = []

    def request(self) -> Request | None:
        return self.wanted

    def log(self, text: str) -> None:
        self.logged.append(text)

    def acknowledge(self, request: Request, step: int) -> None:
        self.answered.append((request, step))


class Watched:
    """Ranks of which one has died; that is noticed at the next look."""

    def __init__(self, dead: bool = False) -> None:
        self.dead = dead
        self.looks: list[bool] = []

    def check(self, *, now: bool = False) -> None:
        self.looks.append(now)
        if self.dead and now:
            raise TrainingError("Rank 1 has ended")


def sink_of(asking: Asking, watched: Any) -> RankSink:
    ranks: Ranks = watched
    return RankSink(asking, ranks)


@pytest.mark.parametrize("request_", ["stop", "pause", "checkpoint", "continue", None])
def test_requests_are_passed_on(request_: Request | None) -> None:
    watched = Watched()
    assert sink_of(Asking(request_), watched).request() == request_
    assert watched.looks == [request_ is not None], "a look at processes is not for every step"


def test_the_signal_of_a_launcher_whose_rank_has_died_is_no_wish_to_stop() -> None:
    with pytest.raises(TrainingError, match="Rank 1 has ended"):
        sink_of(Asking("stop"), Watched(dead=True)).request()


def test_a_hand_over_is_declined_in_words() -> None:
    asking = Asking("hand-over")
    sink = sink_of(asking, Watched())
    sink.checkpointed(12)
    assert sink.request() is None
    assert (asking.logged, asking.answered) == ([NO_HAND_OVER], [("hand-over", 12)])
