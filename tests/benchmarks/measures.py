"""Times what a pretraining measures of itself: steps with the measures and the online probe.

    python tests/benchmarks/measures.py                  the ConvNet, and ResNet-18 with 64 pairs
    python tests/benchmarks/measures.py notebook --device cuda
    python tests/benchmarks/measures.py notebook --set runtime.capture=fused --device cuda

The ways take turns, each with a pretraining of its own: bare steps, with the online probe, with the
measures, and with both, as a run has them. A turn is an epoch of ``--steps`` steps, at whose end
the measures are taken; a run takes them every 100 steps, and on CUDA every 1,000
(``monitor.measure_every``), so their cost is given for a run as well. A figure is
the median of the repeats with its smallest and largest. Ratios are taken turn by turn, against the
bare steps that stood next to them. Processor time stands first: other programs disturb it less. On
CUDA it is that of the host, and the cost in a run is that in wall time.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from engine.config.schema import PretrainConfig
from engine.config.values import parse_sets
from engine.data.dataset import Dataset, Split
from engine.pretrain.measures import USUAL_EVERY, Measures
from engine.pretrain.online_probe import OnlineProbe, probe_beside
from tests.benchmarks.speed import ours, timing

CLASSES = 10
CASES: dict[str, dict[str, Any]] = {
    "notebook": {},
    "resnet18": {
        "model.encoder": "resnet18",
        "model.dim": 128,
        "optim.batch_size": 64,
        "moco.queue_size": 1024,
    },
}
"""Settings over the notebook preset, by the name of a case."""
WAYS = {
    "bare steps": (False, False),
    "online probe": (True, False),
    "measures": (False, True),
    "both": (True, True),
}
"""Whether there is an online probe, and whether there are measures."""


class Beside:
    """Steps of a pretraining and what is measured beside them, as the loop has it.

    Args:
        values: settings over the notebook preset.
        dataset: the images and their labels.
    """

    def __init__(self, values: dict[str, Any], dataset: Dataset) -> None:
        self.training, _ = ours.start(values, dataset.train.images)
        state = self.training.state
        self.device = state.runtime.device
        probe = probe_beside(state, dataset)
        self.beside: list[OnlineProbe | Measures] = [] if probe is None else [probe]
        if state.config.monitor.measures:
            self.beside.append(Measures(state, total=1 << 40))
        self.training.prepare()
        self.seconds = dict.fromkeys(("step", *(type(each).__name__ for each in self.beside)), 0.0)
        """Processor time, all in all, of the steps and of what runs beside them."""

    def open(self) -> None:
        """Nothing runs beside the steps."""

    def step(self) -> None:
        """One step, and what is due after it."""
        before = time.process_time()
        loss = self.training.advance()
        if self.device.type == "cpu":
            float(loss)
        now = time.process_time()
        self.seconds["step"] += now - before
        for each in self.beside:
            before = now
            each.after_step()
            each.read()
            now = time.process_time()
            self.seconds[type(each).__name__] += now - before

    def shares(self) -> str:
        """What each takes of a step, by its own clock: ratios of turns drown it in their noise."""
        step = self.seconds["step"]
        parts = [(name, s / step) for name, s in self.seconds.items() if name != "step"]
        return ", ".join(f"{name} {100 * share:.2f} %" for name, share in parts)

    def close(self) -> None:
        """Nothing was started."""


def measure(name: str, options: argparse.Namespace) -> str:
    """The table of a case."""
    values = {**ours.settings(options.device, options.threads), **CASES[name]}
    values |= parse_sets(PretrainConfig, options.set)
    values["monitor.measure_every"] = options.steps
    batch = int(values.get("optim.batch_size", PretrainConfig().optim.batch_size))
    images = ours.pictures(batch * options.steps)
    labels = torch.arange(len(images)) % CLASSES
    names = tuple(f"class {number}" for number in range(CLASSES))
    dataset = Dataset("pictures", Split(images, labels), None, names)
    ways = {
        way: Beside(
            {**values, "monitor.online_probe": probe, "monitor.measures": measured}, dataset
        )
        for way, (probe, measured) in WAYS.items()
    }
    first = next(iter(ways.values()))
    for each in ways.values():  # and a whole epoch: measures make what they keep in their first
        timing.lap(each.step, first.device, seconds=0.0, least=options.steps)
    laps = timing.take_turns(
        ways, first.device, repeats=options.repeats, seconds=0.0, least=options.steps, say=say
    )
    bare = laps["bare steps"]
    rows = []
    for way, of_way in laps.items():
        spent = timing.ratios(bare, of_way, timing.work)
        passed = timing.ratios(bare, of_way, timing.wall)
        kind_of_device = first.device.type
        ratio = (spent if kind_of_device == "cpu" else passed).median
        in_a_run = in_run(ratio, way, options.steps / USUAL_EVERY[kind_of_device])
        rows.append(
            (
                way,
                timing.Figure.of([1000 * timing.work(lap) for lap in of_way]),
                spent,
                passed,
                "" if in_a_run is None else f"{100 * in_a_run:+.2f} %",
            )
        )
    counted = ways["both"].shares()
    for each in ways.values():
        each.training.close()
    kind = f"{name}, {batch} pairs, {first.training.compute_step.kind}"
    head = (f"a step ({kind})", "processor ms", "to bare steps", "in wall time", "in a run")
    table = timing.table(head, rows)
    return f"{table}\n\nOf the processor time of a step, each by its own clock: {counted}."


def in_run(ratio: float, way: str, turns: float) -> float | None:
    """By how much a run's time grows; None where a ratio is of no one kind of cost.

    Args:
        ratio: of the time of a turn to that of bare steps.
        way: one of ``WAYS``.
        turns: of the steps of a turn to those between the measures of a run.
    """
    probe, measured = WAYS[way]
    if probe == measured:
        return None
    return (ratio - 1.0) * (turns if measured else 1.0)


def say(text: str) -> None:
    """Progress, apart from the figures."""
    print(f"  {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Measures the cases and prints a table each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], help="all when none is named")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, default=0, help="of a CPU; 0: one for each core")
    parser.add_argument("--steps", type=int, default=100, help="of a turn")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    for name in options.cases or CASES:
        print(measure(name, options), flush=True)
        print()
    print(timing.machine(torch.device(options.device)))


if __name__ == "__main__":
    main()
