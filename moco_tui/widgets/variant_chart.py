"""The training of a study's variants over each other: means over the seeds, with their range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from textual.binding import Binding
from textual.message import Message
from textual.strip import Strip

from engine.config.metrics import metric
from engine.study.study_state import StudyState
from moco_tui.charts.drawing import Curve
from moco_tui.charts.mean_points import MeanPoints
from moco_tui.present import fmt
from moco_tui.present import variant_curves as variantcurves
from moco_tui.present.curves import ASCII_MARKS, MARKS
from moco_tui.present.metric_text import title as metric_title
from moco_tui.session import draws_ascii
from moco_tui.widgets.chart import Chart
from moco_tui.widgets.marked_chart import MarkedChart


def _action(binding: object) -> str:
    """What a binding does, without its arguments."""
    return binding.action.partition("(")[0] if isinstance(binding, Binding) else ""


_NONE: Mapping[str, variantcurves.SeedMean] = {}


class VariantChart(MarkedChart, inherit_bindings=False):
    """Loss or kNN of each variant against steps or epochs.

    Three variants are drawn with their range: the reference, the one that is picked and the best;
    or as many as can be told apart, without it.

    Args:
        root: the runs folder.
    """

    HELP_TITLE = "The training of the variants"
    HELP = """The mean over the seeds of each variant while it is trained; the band is from the
smallest to the largest seed. Drawn are the reference, the variant that Up and Down pick, and the
best; * draws them all. m changes between loss and kNN, U between epochs and steps."""
    BINDINGS = [
        *(binding for binding in Chart.BINDINGS if _action(binding) != "smooth"),
        Binding("m", "metric", "Metric"),
        Binding("asterisk", "every", "Three or all", key_display="*"),
        Binding("up", "pick(-1)", "Variant before", show=False),
        Binding("down", "pick(1)", "Variant behind", show=False),
    ]

    class Wanted(Message):
        """Other values are to be read."""

    def __init__(self, root: Path, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__("training", id=id, classes=classes)
        self.empty = "curves appear when the first pretraining has begun"
        self._logs = variantcurves.VariantLogs(root)
        self._metric = variantcurves.METRICS[0]
        self._in_epochs = True
        self._every = False
        self._picked = ""
        self._reference = ""
        self._read = (self._metric, self._in_epochs, _NONE)
        self._shown: object = None
        self.left_out = 0

    # ---------------------------------------------------------------------------- data

    @property
    def _means(self) -> Mapping[str, variantcurves.SeedMean]:
        return self._read[2]

    def read(self, study_state: StudyState) -> None:
        """Read what the runs have logged since; in a thread, one at a time."""
        self._logs.poll(study_state)
        wanted, epochs = self._metric, self._in_epochs
        self._read = (wanted, epochs, self._logs.means(wanted, epochs=epochs))

    def show_means(self, reference: str) -> None:
        """Draw what was read last; nothing is drawn anew when it is the same.

        Args:
            reference: label of the variant that the others are compared with.
        """
        self._reference = reference
        name, epochs, means = self._read
        known = list(means)
        begun = [label for label, mean in means.items() if mean.x]
        highest = metric(name).direction > 0
        best = variantcurves.ahead(means, highest=highest)
        labels = variantcurves.chosen(
            *(begun, reference, self._picked, best), every=self._every, most=len(MARKS)
        )
        key = [(label, means[label]) for label in labels], best, self._every, name, epochs
        if key == self._shown:
            return
        self._shown = key
        self.left_out = len(begun) - len(labels)
        shown = "loss" if name == "train/loss" else metric_title(name).partition(",")[0]
        self.title = f"{shown}, mean over seeds"
        self.unit = " %" if metric(name).unit == "%" else ""
        marks = ASCII_MARKS if draws_ascii(self) else MARKS
        curves: list[Curve] = []
        for label in labels:
            place = known.index(label)  # a variant keeps its mark when others come and go
            taken = {curve.mark for curve in curves}
            while (mark := marks[place % len(marks)]) in taken:
                place += 1
            mean = means[label]
            points = MeanPoints(mean.x, mean.mean, mean.low, mean.high)
            role = ", ".join(self._roles(label, best))
            called = fmt.clean(f"{label}{role and f' ({role})'}, {mean.seeds_text}")
            curves.append(Curve(called, points, mark, band=not self._every))
        self.show_curves(curves)

    def _roles(self, label: str, best: str) -> Sequence[str]:
        """Why a variant is drawn."""
        return [
            word for word, of in (("reference", self._reference), ("best", best)) if label == of
        ]

    # ---------------------------------------------------------------------------- keys

    def action_metric(self) -> None:
        """Change between loss and kNN."""
        at = variantcurves.METRICS.index(self._metric)
        self._metric = variantcurves.METRICS[(at + 1) % len(variantcurves.METRICS)]
        self.post_message(self.Wanted())

    def action_every(self) -> None:
        """Draw three variants, or as many as can be told apart."""
        self._every = not self._every
        self.show_means(self._reference)

    def action_epochs(self) -> None:
        """Count the axis in steps or in epochs."""
        self._in_epochs = not self._in_epochs
        self.view.low = self.view.high = self.view.cursor = None
        self.post_message(self.Wanted())

    def action_pick(self, by: int) -> None:
        """Draw the next variant as well."""
        begun = [label for label, mean in self._means.items() if mean.x]
        if begun:
            at = begun.index(self._picked) + by if self._picked in begun else 0
            self.pick(begun[at % len(begun)])

    def pick(self, label: str) -> None:
        """Draw a variant beside the reference and the best."""
        if label != self._picked:
            self._picked = label
            self.show_means(self._reference)

    # ---------------------------------------------------------------------------- drawing

    def readout(self) -> str:
        """The place under the cursor, or what the band is; then how the curves are shown."""
        axis = "epochs" if self._read[1] else "steps"
        parts = [f"{self.left_out} more: b"] if self.left_out else []
        if self.view.cursor is not None and self.curves:
            parts = [f"values at {fmt.number(self.view.cursor)} {axis}"]
        elif not self._every:
            parts.append("band: min to max of seeds")
        if self.view.low is not None and self.view.high is not None:
            parts.append(f"zoom {fmt.number(self.view.low)}–{fmt.number(self.view.high)}")
        return " · ".join([*parts, *["log"] * self.view.log, axis])

    def legend(self, width: int, height: int) -> list[Strip]:
        """Marks, names, seeds and values, in as few lines as they take."""
        if height < 5 or not self.curves:
            return []
        texts = [f" {curve.mark} {curve.name}: {self._value(curve)} " for curve in self.curves]
        # An axis and a canvas of four lines are left.
        return self.legend_lines(texts, width, max(height - 6, 1))

    def _value(self, curve: Curve) -> str:
        """The mean under the cursor, or the last one."""
        series = curve.series
        at = len(series) - 1 if self.view.cursor is None else series.nearest(self.view.cursor)
        return "" if at is None or at < 0 else fmt.number(series.value(at)) + self.unit
