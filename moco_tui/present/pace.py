"""How fast a run goes on and when it will be done, from its record and metric log alone."""

from __future__ import annotations

from bisect import bisect_right

from msgspec import Struct

from engine.runs import MetricLog, Record
from moco_tui.present import fmt

WINDOW_SECONDS = 30.0
"""Seconds of the log over which the pace is measured."""


class RunPace(Struct, frozen=True):
    """The pace of a run; all None while it does not train or nothing can be said yet.

    Attributes:
        steps_per_second: over the last seconds of the log.
        pairs_per_second: the same in pairs of views, of a pretraining.
        eta_seconds: to the last step at this pace.
    """

    steps_per_second: float | None = None
    pairs_per_second: float | None = None
    eta_seconds: float | None = None


def run_pace(record: Record, status: str, log: MetricLog) -> RunPace:
    """The pace of a run.

    A run that is paused has none. Nor has a study: its steps are cells, of which one takes a second
    and another waits for a pretraining.

    Args:
        record: of the run.
        status: its state, as shown.
        log: read as far as it goes.
    """
    goes_on = status == "running" and record.kind != "study"
    rate = steps_per_second(log, since=record.running_since) if goes_on else None
    if not rate:
        return RunPace()
    left = max(record.total_steps - record.step, 0)
    return RunPace(
        steps_per_second=rate,
        pairs_per_second=rate * record.pairs_per_step if record.pairs_per_step else None,
        eta_seconds=left / rate if record.total_steps else None,
    )


def steps_per_second(
    log: MetricLog, window: float = WINDOW_SECONDS, since: float | None = None
) -> float | None:
    """Steps a second over the last seconds of the log; None while two steps are not known.

    Measured on the metric that is written most often, so that a probe, which has no
    ``train/loss``, has a pace too. Only steps since the run last went on count. The log of version
    0.1 does not tell a pause from a slow step: hence half a minute and not more, and point by
    point, since a search that skips points can land on the far side of a pause of any length. Where
    steps take longer than the window, the last of them is the measure.

    Args:
        log: read as far as it goes.
        window: seconds.
        since: unix seconds at which the run last went on. While it reads its images, the log says
            nothing of that yet.
    """
    name = max(log.names(), key=lambda n: len(log.series(n)[0]), default="")  # "": no points
    steps, times = log.series(name)[0], log.times(name)
    # The first step after a break is left out: it has the time before it in its own.
    begin = bisect_right(steps, log.breaks[-1].step) if log.breaks else 0
    first = len(times) - 2
    if first < begin or (since is not None and times[-1] < since):
        return None
    # A clock that was set back ends the window as well.
    while (
        first > begin
        and times[-1] - times[first - 1] <= window
        and times[first - 1] <= times[first]
    ):
        first -= 1
    elapsed, done = times[-1] - times[first], steps[-1] - steps[first]
    return done / elapsed if elapsed > 0 and done > 0 else None


def pace_texts(pace: RunPace) -> list[str]:
    """The pace and the time left, as they stand in a line of progress."""
    texts = []
    if pace.pairs_per_second:
        texts.append(f"{fmt.count(pace.pairs_per_second)} pairs/s")
    elif pace.steps_per_second:
        texts.append(f"{fmt.number(pace.steps_per_second, 3)} steps/s")
    if pace.eta_seconds:
        texts.append(f"ETA {fmt.duration(pace.eta_seconds)}")
    return texts
