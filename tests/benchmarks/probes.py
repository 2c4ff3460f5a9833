"""Times logistic probes beside scikit-learn, which solves the same problems one by one.

    python tests/benchmarks/probes.py [--fractions 0.1 0.3 0.5] [--tasks binary five ten]
        [--seeds 1] [--images FOLDER] [--full]

The features are those of a random ConvNet (its cost does not depend on what it learned) on the
embedded shapes, repeated with other seeds up to 50,000 images, or on an image folder. A problem is
one subset: a fit for every strength on the part that is fitted on while choosing, and a refit of
the chosen one on the whole. Both sides get the same standardised float32 features and solve every
strength; ours is also timed as a probe runs it (``fit_logistic``), which stops at the strengths
that lose.

Seconds are of the processor with OMP_NUM_THREADS=1 and of the wall otherwise. Both solve to their
usual tolerance (ours: ``LogisticConfig``, scikit-learn: 1e-4 and, for the accuracy of the
objective, 1e-6); the last columns say how far each objective is above the lowest of all.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import sklearn
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from engine.config.data.shapes import CLASSES
from engine.config.heads.logistic import LogisticConfig
from engine.config.schema import DataConfig, ModelConfig, ProbeConfig, TaskConfig
from engine.data.dataset import Dataset, Split, channel_statistics, load_dataset
from engine.data.shapes import generate
from engine.evaluate.features import Standardiser, extract
from engine.evaluate.random_init import random_encoder
from engine.evaluate.tasks import Material, prepare_material
from engine.probe.logistic import Problem, solve_logistic, solve_many
from engine.probe.logistic_choice import fit_logistic
from engine.probe.principal_directions import Spectrum

CPU = torch.device("cpu")


def clock() -> float:
    """Seconds: of the processor with one thread (whatever else runs), of the wall with more."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def images(folder: str) -> Dataset:
    """The images of a folder, or 50,000 generated ones."""
    if folder:
        return load_dataset(DataConfig(source=f"folder:{folder}"), data_dir=Path("/tmp"))
    train, test = generate(50_000, seed=0), generate(2_000, seed=1)
    return Dataset("shapes", Split(*train), Split(*test), CLASSES)


def features_of(dataset: Dataset) -> tuple[Tensor, Tensor]:
    """Backbone features of the training and the test images, and the seconds they took."""
    mean, std = channel_statistics(dataset.train.images)
    options: dict[str, Any] = {"mean": mean, "std": std, "device": CPU}
    encoder = random_encoder(ModelConfig(), dataset.train.images, seed=0, **options)
    assert dataset.test is not None
    began = clock()
    train = extract(encoder, dataset.train.images, what="backbone", **options)
    test = extract(encoder, dataset.test.images, what="backbone", **options)
    seconds = clock() - began
    print(f"feature pass: {len(train) + len(test):,} images in {seconds:.1f} s")
    return train, test


def objective(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor, l2: float) -> float:
    """The objective in float64."""
    scores = x.double() @ weight.T + bias
    return float(F.cross_entropy(scores, y) + 0.5 * l2 * weight.square().sum())


def peer(x: Tensor, y: Tensor, classes: int, l2: float, tol: float) -> tuple[Tensor, Tensor]:
    """scikit-learn's solution of the same problem.

    Returns:
        Weights ``(classes, features)`` and biases ``(classes,)``, float64.
    """
    # scikit-learn minimises C * (sum of losses) + |w|^2 / 2, ours the mean loss + l2 * |w|^2 / 2:
    # C = 1 / (n * l2). Of two classes it has one vector w, ours w / 2 and -w / 2, whose squares sum
    # to |w|^2 / 2: there C is twice that.
    twice = 2.0 if classes == 2 else 1.0
    model = LogisticRegression(C=twice / (len(x) * l2), tol=tol, max_iter=5000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of not having converged: the objectives are compared
        model.fit(x.numpy(), y.numpy())
    weight = torch.from_numpy(model.coef_).double()
    bias = torch.from_numpy(model.intercept_).double()
    if classes == 2:
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    return weight, bias


def compare(features: Tensor, material: Material, config: LogisticConfig, full: bool) -> list[Any]:
    """Seconds of each way over one subset, and the excess of the objectives."""
    x = Standardiser.fit(features)(features)
    y, classes, fit = material.targets, len(material.task.groups), material.fit
    strengths = sorted(config.l2, reverse=True)

    began = clock()
    chosen = fit_logistic(x, y, classes, config, fit=fit, validate=material.validate)
    probe = clock() - began

    part, targets = x[fit], y[fit]
    options: dict[str, Any] = {"max_iter": config.max_iter, "tolerance": config.tolerance}
    began = clock()
    spectrum = Spectrum.of(x)
    problems = [Problem(targets, classes, l2) for l2 in strengths]
    together = solve_many(part, problems, spectrum=spectrum, **options)
    solve_logistic(x, y, classes, chosen.l2, spectrum=spectrum, **options)
    batched = clock() - began

    began = clock()
    start = None
    for l2 in strengths:
        start = solve_logistic(
            part, targets, classes, l2, spectrum=spectrum, start=start, **options
        )
    solve_logistic(x, y, classes, chosen.l2, spectrum=spectrum, start=start, **options)
    path = clock() - began

    began = clock()
    theirs = [peer(part, targets, classes, l2, 1e-4) for l2 in strengths]
    peer(x, y, classes, chosen.l2, 1e-4)
    loose = clock() - began

    exact: list[tuple[Tensor, Tensor]] = []
    began = clock()
    if full:
        exact = [peer(part, targets, classes, l2, 1e-6) for l2 in strengths]
        peer(x, y, classes, chosen.l2, 1e-6)
    tight = clock() - began if full else float("nan")

    ours_above, theirs_above = 0.0, 0.0
    for i, l2 in enumerate(strengths):
        values = [objective(part, targets, together[i].weight, together[i].bias, l2)]
        values += [objective(part, targets, *pair, l2) for pair in (theirs[i], *exact[i : i + 1])]
        ours_above = max(ours_above, values[0] / min(values) - 1)
        theirs_above = max(theirs_above, values[1] / min(values) - 1)
    converged = all(solution.converged for solution in together)
    return [probe, batched, path, loose, tight, ours_above, theirs_above, converged]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.1, 0.3, 0.5])
    parser.add_argument("--tasks", nargs="+", default=["binary", "five", "ten"])
    parser.add_argument("--seeds", type=int, default=1, help="subset seeds")
    parser.add_argument("--images", default="", help="an image folder in place of shapes")
    parser.add_argument("--full", action="store_true", help="also scikit-learn at tol 1e-6 (slow)")
    arguments = parser.parse_args()
    print(
        f"torch {torch.__version__}, scikit-learn {sklearn.__version__}, "
        f"{torch.get_num_threads()} threads, {platform.processor() or platform.machine()}"
    )
    dataset = images(arguments.images)
    train, _ = features_of(dataset)
    config = LogisticConfig()
    print(f"{len(config.l2)} strengths from {max(config.l2):g} to {min(config.l2):g}")
    columns = "task fraction labels probe_s batched_s one_by_one_s sklearn_s sklearn_1e-6_s "
    print((columns + "ratio ours_above sklearn_above converged").replace(" ", "\t"))
    totals: list[list[float]] = []
    for task in arguments.tasks:
        for fraction in arguments.fractions:
            for seed in range(arguments.seeds):
                probe = ProbeConfig(
                    task=TaskConfig(name=task), label_fraction=fraction, subset_seed=seed
                )
                material = prepare_material(probe, dataset)
                row = compare(train[material.rows], material, config, arguments.full)
                totals.append(row[:5])
                cells = [task, f"{fraction:g}", f"{len(material.rows)}"]
                cells += [f"{seconds:.2f}" for seconds in row[:5]]
                cells += [f"{row[3] / row[1]:.1f}", f"{row[5]:.1e}", f"{row[6]:.1e}", str(row[7])]
                print("\t".join(cells), flush=True)
    sums = [sum(column) for column in zip(*totals, strict=True)]
    print("total\t\t\t" + "\t".join(f"{seconds:.2f}" for seconds in sums))
    ratio = statistics.median(row[3] / row[1] for row in totals)
    print(f"scikit-learn (tol 1e-4) over batched, same strengths: median {ratio:.1f}x")


if __name__ == "__main__":
    main()
