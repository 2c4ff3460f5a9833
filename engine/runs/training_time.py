"""How long a run was trained: the time in which it neither stood still nor was paused."""

from __future__ import annotations

from typing import Protocol

from engine.runs.heartbeat import Heartbeat
from engine.runs.record import Record

_SET_SECONDS = 1.0
"""A clock that is off by more than this was set."""


class Timed(Protocol):
    """A record, or what an index has of it; see ``Record`` for the attributes."""

    @property
    def started(self) -> float | None:
        """Unix seconds of the first start."""

    @property
    def ended(self) -> float | None:
        """Unix seconds of the end."""

    @property
    def trained_seconds(self) -> float | None:
        """Seconds up to ``running_since``."""

    @property
    def running_since(self) -> float | None:
        """Unix seconds."""


def seconds_trained(run: Timed, now: float | None = None) -> float | None:
    """Seconds in which a run was running; None where that is not known.

    Of a run of version 0.1, which kept no account, the time from its first start to its end.

    Args:
        run: its record, or its entry in the index.
        now: unix seconds, for a run that is running; None: its time is not known yet.
    """
    if run.trained_seconds is None:
        ended = run.ended or now
        return ended - run.started if ended and run.started and ended >= run.started else None
    if run.running_since is None:
        return run.trained_seconds
    return None if now is None else run.trained_seconds + max(now - run.running_since, 0.0)


def begin(record: Record, now: float) -> None:
    """The run is running from now on (unix seconds)."""
    end(record, now)
    if record.trained_seconds is None:  # of version 0.1, or never started
        record.trained_seconds = seconds_trained(record) or 0.0
    record.running_since = now


class RunningSince:
    """Keeps ``running_since`` right where the clock is set while the run is running.

    For the process that owns the run: it has a clock that is never set. Without this an hour by
    which the clock is put forward would count as an hour of training.
    """

    def __init__(self) -> None:
        self._since = 0.0

    def begin(self, monotonic: float) -> None:
        """The state has just changed, at this time of the clock that is never set (seconds)."""
        self._since = monotonic

    def follow(self, record: Record, now: float, monotonic: float) -> bool:
        """Date the time at which the run went on by what the clock says today.

        Called before each change of state, and now and then while the run is running.

        Args:
            record: changed in place.
            now: unix seconds.
            monotonic: seconds of the clock that is never set.

        Returns:
            True when the clock was set since the last call.
        """
        if record.running_since is None:
            return False
        since = now - max(monotonic - self._since, 0.0)
        # Less is the drift that a time server corrects, and the time between two looks at a clock.
        if abs(since - record.running_since) < _SET_SECONDS:
            return False
        record.running_since = since
        return True


def end(record: Record, now: float) -> None:
    """The run is running no more (unix seconds)."""
    if record.running_since is not None:
        record.trained_seconds = seconds_trained(record, now)
        record.running_since = None


def end_of_killed(record: Record, heartbeat: Heartbeat | None, logged: float | None) -> None:
    """The same for a run whose process was killed: its last sign of life was the end.

    Args:
        record: as the killed process left it; changed in place.
        heartbeat: the last one in the run's folder. On a busy machine it may be late.
        logged: unix seconds of the last line of the metric log.
    """
    if record.running_since is None:
        return
    signs = [record.running_since]
    if heartbeat is not None and (heartbeat.host, heartbeat.pid) == (record.host, record.pid):
        signs.append(heartbeat.time)
    if logged is not None:
        signs.append(logged)
    end(record, max(signs))
