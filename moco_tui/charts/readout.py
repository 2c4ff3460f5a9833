"""What the top line of a chart says: the values at the cursor, and how the curves are shown."""

from __future__ import annotations

from collections.abc import Sequence

from moco_tui.charts.axes import step_limits
from moco_tui.charts.drawing import Curve, Drawing, View
from moco_tui.present import fmt


def fitted_words(values: Sequence[str], how: Sequence[Sequence[str]], room: int) -> str:
    """The values, and how they are shown, in the words that there is room for.

    How they are shown comes first where there is no room for both: the end is cut.

    Args:
        values: the same in fewer and fewer words; empty for none.
        how: the same parts, likewise.
        room: cells.
    """
    for value in values:
        for parts in how:
            text = " · ".join([*([value] if value else []), *parts])
            if len(text) <= room:
                return text
    kept = next((parts for parts in how if len(" · ".join(parts)) <= room), how[-1])
    return " · ".join([*kept, *(value for value in values[-1:] if value)])


def how_shown(view: View, curves: Sequence[Curve], *, short: bool = False) -> list[str]:
    """Range of the view, scale, smoothing, gaps, and what the axis counts.

    Args:
        view: what part is drawn, and how.
        curves: that are drawn.
        short: in few words, and without what goes without saying.
    """
    parts: list[str] = []
    unit = view.per_epoch or 1
    if view.low is not None:
        low, high = step_limits(view, curves)
        ends = f"{low / unit:.1f}–{high / unit:.1f}" if unit > 1 else ""
        ends = ends or f"{fmt.count(low)}–{fmt.count(high)}"
        parts.append(ends if short else f"zoom {ends}")
    if view.log:
        parts.append("log")
    window = max((curve.series.window for curve in curves), default=1)
    if window > 1:
        parts.append(f"mean {window}" if short else f"mean of {window}")
    masked = sum(curve.series.masked for curve in curves)
    if masked:
        parts.append(f"{masked} not finite")
    if view.per_epoch:
        return [*parts, "epochs"]
    if short or view.cursor is not None:
        return parts  # the cursor's step says it
    return [*parts, "steps"]


def values_at(
    curves: Sequence[Curve],
    drawing: Drawing | None,
    step: float,
    *,
    per_epoch: int,
    unit: str,
    short: bool = False,
) -> str:
    """A step, and the value of each curve at it; of one without a point there, where it has.

    Args:
        curves: that are drawn.
        drawing: of them.
        step: where the cursor is.
        per_epoch: steps of an epoch; 0: not known.
        unit: of the values.
        short: without the epoch, and of smoothed curves without the mean.
    """
    shown = common_step(curves, drawing, step)
    if shown is None:
        return ""
    parts = [f"step {fmt.count(shown)}"]
    if per_epoch and not short:
        parts[0] += f"  epoch {shown / per_epoch:.2f}"
    for curve in curves:
        series = curve.series
        index = series.nearest(shown)
        if index is None:
            continue
        text = fmt.number(series.raw.values[index]) + unit
        if series.window > 1 and not short:
            text += f" (mean {fmt.number(series.value(index))})"
        if series.steps[index] != shown:
            text += f" (step {fmt.count(series.steps[index])})"
        parts.append(f"{curve.mark} {text}".strip())
    return "  ".join(parts)


def common_step(curves: Sequence[Curve], drawing: Drawing | None, step: float) -> float | None:
    """The step near another at which most curves have a point; None where none has any.

    Near is what falls into the same cell of the chart; of equally many the nearest counts.
    Where no point lies in that cell it is the nearest of all.
    """
    rows = [curve.series for curve in curves]
    found = ((series, series.nearest(step)) for series in rows)
    steps = {series.steps[index] for series, index in found if index is not None}
    here = {s for s in steps if drawing is not None and drawing.cell_of(s) == drawing.cell_of(step)}

    def rank(candidate: float) -> tuple[int, float]:
        have = sum(series.has(candidate) for series in rows) if here else 0
        return -have, abs(candidate - step)

    return min(here or steps, key=rank, default=None)
