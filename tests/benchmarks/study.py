"""Times all logistic probes of one finished encoder, as a study runs them, beside scikit-learn.

    python tests/benchmarks/study.py RUN_FOLDER [--data-dir DIR] [--repeats 3]
        [--fractions 0.1 0.2 0.3 0.4 0.5] [--tasks binary five ten] [--subsets 0 1 2]
        [--peer-fractions 0.1 0.3] [--peer-tasks ...] [--peer-subsets 0] [--peer-repeats 1]
        [--peer-tol 1e-4]

RUN_FOLDER is that of a finished pretraining. Ours is the study's own path: every probe is a run
with its folder, record and metrics (in a temporary folder), the heads are fitted on features that
one pass has made, the strength is chosen inside the labelled part and the whole of it is fitted
again. The feature pass is timed apart.

The peer solves the same problems one by one: the same features, labels and split, standardised
likewise, scikit-learn's LogisticRegression on the same objective. It follows the same procedure:
strengths from strong to weak, three at a time, until the validation loss rises, then a fit of the
chosen one on all labels; so neither side solves a problem that the other is spared. scikit-learn
stops at its usual tolerance (1e-4) unless --peer-tol says otherwise, ours at the study's (1e-6 in
the largest gradient entry). A probe's seconds hold its run folder, record and test images too.

Wall seconds and processor seconds; medians, with the lowest and highest of the repeats. Start it
with OMP_NUM_THREADS set to the threads that both sides may use.
"""

from __future__ import annotations

import argparse
import functools
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sklearn
import torch
import torch.nn.functional as F
from msgspec.structs import replace
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from engine.config.heads.logistic import LogisticConfig
from engine.config.schema import ProbeConfig, StudyConfig, head_settings
from engine.data.dataset import load_dataset
from engine.evaluate.features import Standardiser
from engine.evaluate.tasks import Material, prepare_material
from engine.jobs.execute import execute
from engine.jobs.job import StudyContext
from engine.jobs.trained_encoder import load_encoder
from engine.probe.feature_sources import FeaturesForManyProbes, FeaturesForOneProbe
from engine.runs import RunFolder, create
from engine.sink import NullSink
from engine.study.grid import ProbePoint, probe_config, probe_points, variants

_TOGETHER = 3  # strengths that are solved before it is decided whether to try more


class Times:
    """Wall and processor seconds of one thing, repeated."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def add(self, work: Callable[[], Any]) -> Any:
        """Does the work and notes what it took."""
        wall, cpu = time.perf_counter(), time.process_time()
        done = work()
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)
        return done

    def text(self) -> str:
        """Median and range of both."""
        return "; ".join(
            f"{name} {statistics.median(times):.1f} s ({min(times):.1f} to {max(times):.1f})"
            for name, times in (("wall", self.wall), ("processor", self.cpu))
        )


def peer(
    raw: Tensor, material: Material, strengths: list[float], tol: float
) -> tuple[float, int, Any]:
    """One problem by scikit-learn: the strength chosen, how many were tried, and the model."""
    warnings.simplefilter("ignore")
    x, y = Standardiser.fit(raw)(raw), material.targets
    # See ``peer`` in probes.py: one vector of weights for two classes, where ours has two.
    twice = 2.0 if len(material.task.groups) == 2 else 1.0
    fit, held = material.fit.numpy(), material.validate

    def model(rows: Any, l2: float) -> Any:
        made = LogisticRegression(C=twice / (len(rows) * l2), max_iter=5000, tol=tol)
        return made.fit(x.numpy()[rows], y.numpy()[rows])

    losses: list[float] = []
    while len(losses) < len(strengths):
        for l2 in strengths[len(losses) : len(losses) + _TOGETHER]:
            scores = torch.from_numpy(model(fit, l2).predict_log_proba(x[held].numpy()))
            losses.append(float(F.nll_loss(scores, y[held])))
        if losses.index(min(losses)) < len(losses) - 1:
            break
    best = strengths[losses.index(min(losses))]
    return best, len(losses), model(torch.arange(len(x)).numpy(), best)


def ours(
    config: StudyConfig,
    wanted: list[ProbePoint],
    parent: Path,
    context: StudyContext,
    times: dict[ProbePoint, Times],
) -> dict[ProbePoint, dict[str, Any]]:
    """Every probe as a run of its own in a temporary folder; their rows."""
    rows = {}
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for place in wanted:

            def one(place: ProbePoint = place) -> dict[str, Any]:
                probe = _probe(config, place)
                folder = create(root, "probe", probe, parent=parent.name)
                execute(folder, data_dir=root, sink=NullSink(), study=context)
                row: dict[str, Any] = folder.record().result["rows"][0]
                return row

            rows[place] = times[place].add(one)
    return rows


def pass_of(sources: FeaturesForManyProbes, union: Tensor) -> None:
    """The features of all images that the probes need."""
    kept = sources.of_encoder("pretrained", sources.pretrained)
    kept.labelled(union, NullSink())
    kept.test(torch.arange(1), NullSink())


def _probe(config: StudyConfig, place: ProbePoint) -> ProbeConfig:
    return probe_config(config, variants(config)[0], config.seeds[0], place)


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.1, 0.2, 0.3, 0.4, 0.5])
    parser.add_argument("--tasks", nargs="+", default=["binary", "five", "ten"])
    parser.add_argument("--subsets", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--peer-fractions", type=float, nargs="*", default=None)
    parser.add_argument("--peer-tasks", nargs="*", default=None)
    parser.add_argument("--peer-subsets", type=int, nargs="*", default=None)
    parser.add_argument("--peer-repeats", type=int, default=1)
    parser.add_argument("--peer-tol", type=float, default=1e-4, help="scikit-learn's tolerance")
    arguments = parser.parse_args()
    threads = torch.get_num_threads()
    print(
        f"torch {torch.__version__}, scikit-learn {sklearn.__version__}, {threads} threads, "
        f"{platform.processor() or platform.machine()}"
    )
    loaded = load_encoder(RunFolder(arguments.run))
    dataset = load_dataset(loaded.config.data, data_dir=arguments.data_dir)
    config = StudyConfig(
        label_fractions=tuple(arguments.fractions),
        tasks=tuple(arguments.tasks),
        heads=("logistic",),
        subset_seeds=tuple(arguments.subsets),
        baselines=(),
    )
    runtime = replace(config.probe.runtime, device="cpu", threads=threads)
    config = replace(config, probe=replace(config.probe, runtime=runtime))
    materials = {p: prepare_material(_probe(config, p), dataset) for p in probe_points(config)}
    # Tasks on the same labels after each other, as the study runs them.
    wanted = sorted(
        probe_points(config),
        key=lambda p: (p.subset_seed, p.fraction, len(materials[p].rows), p.task),
    )
    union = torch.unique(torch.cat([m.rows for m in materials.values()]))
    made = FeaturesForOneProbe(
        loaded.encoder,
        loaded.config.model,
        dataset,
        loaded.mean,
        loaded.std,
        torch.device("cpu"),
    )

    passes, probes = Times(), Times()
    times = {place: Times() for place in wanted}
    rows: dict[ProbePoint, dict[str, Any]] = {}
    sources = FeaturesForManyProbes(made, union, 1)
    for _ in range(arguments.repeats):
        sources = FeaturesForManyProbes(made, union, 1)
        passes.add(functools.partial(pass_of, sources, union))
        context = StudyContext(dataset, loaded, sources)
        rows = probes.add(functools.partial(ours, config, wanted, arguments.run, context, times))
        print(f"  repeat: pass {passes.wall[-1]:.1f} s, probes {probes.wall[-1]:.1f} s", flush=True)
    assert dataset.test is not None
    print(f"feature pass of {len(union):,} + {len(dataset.test):,} images: {passes.text()}")
    print(f"{len(wanted)} logistic probes as runs of their own: {probes.text()}")

    chosen = [
        p
        for p in wanted
        if p.task in (arguments.peer_tasks if arguments.peer_tasks is not None else p.task)
        and (arguments.peer_fractions is None or p.fraction in arguments.peer_fractions)
        and (arguments.peer_subsets is None or p.subset_seed in arguments.peer_subsets)
    ]
    if not chosen:
        return
    print("\ntask\tfraction\tsubset\tlabels\tours_s\tsklearn_s\tours_cpu\tsklearn_cpu\tratio\tl2")
    logistic = head_settings(config.probe, "logistic")
    assert isinstance(logistic, LogisticConfig)
    strengths = sorted(set(logistic.l2), reverse=True)
    everything = sources.of_encoder("pretrained", made.pretrained).raw(union, NullSink())
    ratios, total_ours, total_peer = [], [0.0, 0.0], [0.0, 0.0]
    for place in chosen:
        material = materials[place]
        raw = everything[torch.searchsorted(union, material.rows)]
        theirs = Times()
        for _ in range(arguments.peer_repeats):
            best, _tried, _model = theirs.add(
                functools.partial(peer, raw, material, strengths, arguments.peer_tol)
            )
        a, b = statistics.median(times[place].wall), statistics.median(theirs.wall)
        c, d = statistics.median(times[place].cpu), statistics.median(theirs.cpu)
        total_ours = [total_ours[0] + a, total_ours[1] + c]
        total_peer = [total_peer[0] + b, total_peer[1] + d]
        ratios.append(d / c)
        agree = f"{best:g}" + ("" if best == rows[place]["chosen"]["l2"] else " (ours differs)")
        print(
            f"{place.task}\t{place.fraction:g}\t{place.subset_seed}\t{len(material.rows)}\t{a:.1f}"
            f"\t{b:.1f}\t{c:.1f}\t{d:.1f}\t{d / c:.1f}\t{agree}",
            flush=True,
        )
    print(
        f"total of {len(chosen)}: ours {total_ours[0]:.1f} s wall, {total_ours[1]:.1f} s "
        f"processor; scikit-learn {total_peer[0]:.1f} s wall, {total_peer[1]:.1f} s processor; "
        f"processor time, median ratio {statistics.median(ratios):.1f} "
        f"({min(ratios):.1f} to {max(ratios):.1f})"
    )


if __name__ == "__main__":
    main()
